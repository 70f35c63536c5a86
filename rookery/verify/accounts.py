"""The accounts of a verification, registered over HTTP once: later runs sign in to the same ones."""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeVar

import httpx
import trio

from rookery.client import Api, Client, Refused, Unreachable, open_api, open_client
from rookery.client.failover import Failover
from rookery.client.live import CONNECT
from rookery.client.reconnector import Transport
from rookery.client.trust import client_tls
from rookery.load.accounts import EXISTING
from rookery.load.sessions import for_each
from rookery.verify.absences import Presence
from rookery.verify.plan import Plan, VerifyError

AT_ONCE = 4
"""Concurrent sign-ins. The server hashes two passwords at a time: more would only wait there."""

REGISTER_DEADLINE = 600.0
"""Seconds to register the accounts: a server allows 60 a minute by default."""

REPORTED_WAIT = 2.0
"""Seconds: waits from this length on are reported as progress."""

Report = Callable[[str], None]
"""Receives lines on the progress of a run."""

Value = TypeVar("Value")


class Accounts:
    """Registers and signs in the accounts of a plan."""

    def __init__(self, plan: Plan, report: Report, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """`transport` carries the HTTP requests."""
        self._plan = plan
        self._transport = transport
        self._report = report
        self._has_reported = False

    async def register(self, names: Sequence[str]) -> None:
        """Register the names, unless the last one exists. Raises VerifyError."""
        with trio.move_on_after(REGISTER_DEADLINE) as scope:
            if names and not await self._exists(names[-1]):
                await for_each(self._register, names, at_once=AT_ONCE)
        if scope.cancelled_caught:
            raise VerifyError(f"{len(names)} accounts could not be registered within {REGISTER_DEADLINE:g} s")

    def open_client(
        self, name: str, number: int, transport: Transport, presence: Presence
    ) -> AbstractAsyncContextManager[Client]:
        """Open a live client of the account. `number` selects its first BFF. Raises RookeryError."""
        http = self._http(number)
        url = self._plan.urls[0]
        return open_client(
            url,
            name,
            self._plan.password,
            client_name="verify",
            transport=transport,
            ca_file=self._plan.ca_file,
            connect=presence.wrap(partial(CONNECT[transport], ca_file=self._plan.ca_file)),
            http_transport=http,
            follow_channels=False,  # a Participant follows them
        )

    def open_api(self, name: str, number: int) -> AbstractAsyncContextManager[Api]:
        """Open the HTTP API for the account, without signing in."""
        plan, transport = self._plan, self._http(number)
        return open_api(
            plan.urls[0], name, plan.password, device_name="verify", ca_file=plan.ca_file, transport=transport
        )

    async def _exists(self, name: str) -> bool:
        try:
            async with self.open_api(name, 0) as api:
                await self._retry(api.sign_in)
        except Refused as refused:
            if refused.code != "unauthenticated":
                raise VerifyError(f"{name} can't sign in: {refused}") from refused
            return False
        return True

    async def _register(self, name: str) -> None:
        async with self.open_api(name, 0) as api:
            try:
                await self._retry(api.register)
            except Refused as refused:
                if refused.code != "name_taken":
                    raise VerifyError(f"{name} can't be registered: {refused} ({EXISTING})") from refused
                if not await self._exists(name):
                    raise VerifyError(f"{name} can't sign in: {EXISTING}") from refused

    async def _retry(self, work: Callable[[], Awaitable[Value]]) -> Value:
        """Do the work, after as many waits as the server asks for. Raises VerifyError without an answer."""
        while True:
            try:
                return await work()
            except Refused as refused:
                if not refused.retryable:
                    raise
                wait = max(refused.retry_after_ms, 100) / 1000
                if wait >= REPORTED_WAIT or not self._has_reported:
                    self._has_reported = True
                    self._report(f"the server delays registrations and sign-ins ({refused.code}) by {wait:.1f} s")
                await trio.sleep(wait)
            except Unreachable as error:
                raise VerifyError(str(error)) from error

    def _http(self, number: int) -> Failover:
        transport = self._transport or httpx.AsyncHTTPTransport(verify=client_tls(self._plan.ca_file, "http/1.1"))
        return Failover(self._plan.urls, number, transport=transport)
