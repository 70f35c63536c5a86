"""The accounts of a verification, made over HTTP like anyone's, once: a later run signs in to the same ones."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import httpx
import trio

from rookery.client import Api, Client, Refused, Unreachable, open_api, open_client
from rookery.client.failover import Failover
from rookery.client.keeper import Transport
from rookery.client.trust import trusted
from rookery.load.sessions import for_each
from rookery.verify.plan import Plan, VerifyError

PASSWORD = "made for a verification"  # noqa: S105 - guards nothing: these users exist to be written to

AT_ONCE = 4
"""Sign-ins side by side. The server hashes two passwords at a time: more would only wait there."""

PATIENCE = 600.0
"""Seconds that making the accounts may take: a server allows 60 a minute if it is not told otherwise."""

SAY_SECONDS = 2.0
"""A wait that is longer is told to whoever watches."""

Say = Callable[[str], None]
"""Tells whoever watches how far it is."""

Value = TypeVar("Value")


class Accounts:
    """Makes and signs in the accounts of a plan."""

    def __init__(self, plan: Plan, say: Say, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """A `transport` replaces how the BFFs are asked."""
        self._plan = plan
        self._transport = transport
        self._say = say
        self._said = False

    async def make(self, names: Sequence[str]) -> None:
        """Have all of these, if the last is not there. Raises VerifyError."""
        with trio.move_on_after(PATIENCE) as scope:
            if names and not await self._is_there(names[-1]):
                await for_each(self._register, names, at_once=AT_ONCE)
        if scope.cancelled_caught:
            raise VerifyError(f"{len(names)} accounts could not be made within {PATIENCE:g} s")

    def open_client(self, name: str, number: int, transport: Transport) -> AbstractAsyncContextManager[Client]:
        """A live client of the account. `number` says which BFF it asks first. Raises RookeryError."""
        http = self._http(number)
        url = self._plan.urls[0]
        return open_client(
            url,
            name,
            PASSWORD,
            client_name="verify",
            transport=transport,
            ca_file=self._plan.ca_file,
            http_transport=http,
        )

    def open_api(self, name: str, number: int) -> AbstractAsyncContextManager[Api]:
        """The HTTP API for the account, which is not signed in yet."""
        return open_api(self._plan.urls[0], name, PASSWORD, device_name="verify", transport=self._http(number))

    async def _is_there(self, name: str) -> bool:
        try:
            async with self.open_api(name, 0) as api:
                await self._patiently(api.sign_in)
        except Refused as refused:
            if refused.code != "unauthenticated":
                raise VerifyError(f"{name} can't sign in: {refused}") from refused
            return False
        return True

    async def _register(self, name: str) -> None:
        async with self.open_api(name, 0) as api:
            try:
                await self._patiently(api.register)
            except Refused as refused:
                if refused.code != "name_taken":
                    raise VerifyError(f"{name} can't be registered: {refused}") from refused

    async def _patiently(self, work: Callable[[], Awaitable[Value]]) -> Value:
        """Do it, as often as the server says to wait first. Raises VerifyError if it does not answer."""
        while True:
            try:
                return await work()
            except Refused as refused:
                if not refused.retryable:
                    raise
                wait = max(refused.retry_after_ms, 100) / 1000
                if wait >= SAY_SECONDS or not self._said:
                    self._said = True
                    self._say(f"the server lets new accounts and sign-ins wait ({refused.code}): {wait:.1f} s")
                await trio.sleep(wait)
            except Unreachable as error:
                raise VerifyError(str(error)) from error

    def _http(self, number: int) -> Failover:
        transport = self._transport or httpx.AsyncHTTPTransport(verify=trusted(self._plan.ca_file, "http/1.1"))
        return Failover(self._plan.urls, number, transport=transport)
