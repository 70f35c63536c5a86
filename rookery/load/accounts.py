"""The users of a load, registered and signed in over HTTP like any user."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import msgspec
import trio

from rookery.client import Api, GatewayAddress, Refused
from rookery.client.errors import reason_of
from rookery.client.trust import trusted
from rookery.load.sessions import LoadError, LoadUser, for_each

PASSWORD = "generated for load"  # noqa: S105 - guards nothing: these users exist to be loaded

SIGN_INS_AT_ONCE = 4
"""The server hashes two passwords at a time: more would only wait there."""


class Bff:
    """The HTTP API of the server under load. `ca_file` says who vouches for one with TLS."""

    def __init__(self, url: str, ca_file: Path | None) -> None:
        self._url = url
        self._tls = trusted(ca_file, "http/1.1")

    async def sign_in(self, count: int) -> list[LoadUser]:
        """Sign in the users, and register them if they are not there yet. Raises LoadError or RookeryError."""
        async with httpx.AsyncClient(base_url=self._url, verify=self._tls, timeout=30) as http:
            apis = [Api(http, account_name(number), PASSWORD, "load") for number in range(count)]
            if not await _is_there(apis[-1]):
                await for_each(lambda api: _patiently(api.register), apis, at_once=SIGN_INS_AT_ONCE)
            await for_each(lambda api: _patiently(api.sign_in), apis, at_once=SIGN_INS_AT_ONCE)
            return in_pairs([(api.me.user_id, api.newest_token) for api in apis])

    async def locate(self, users: Sequence[LoadUser], *, together: bool) -> list[LoadUser]:
        """The users, with where their sessions go: all to the same gateway, if they are together. Raises LoadError."""
        async with httpx.AsyncClient(base_url=self._url, verify=self._tls, timeout=30) as http:
            asked = users[:1] if together else users
            gateways = await for_each(lambda user: self._gateway_of(http, user), asked)
        return [replace(user, gateway=gateways[0 if together else number]) for number, user in enumerate(users)]

    async def _gateway_of(self, http: httpx.AsyncClient, user: LoadUser) -> GatewayAddress:
        try:
            response = await http.get("/v1/me/gateway", headers={"Authorization": f"Bearer {user.token}"})
            response.raise_for_status()
            return msgspec.json.decode(response.content, type=GatewayAddress)
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            raise LoadError(f"{self._url} does not say where sessions go: {reason_of(error)}") from error


def account_name(number: int) -> str:
    return f"load-{number:05}"


def in_pairs(users: Sequence[tuple[int, str]]) -> list[LoadUser]:
    """Users 0 and 1 write to each other, 2 and 3, and so on."""
    return [LoadUser(user_id, users[number ^ 1][0], token) for number, (user_id, token) in enumerate(users)]


async def _is_there(api: Api) -> bool:
    try:
        await api.sign_in()
    except Refused as refused:
        if refused.code != "unauthenticated":
            raise
        return False
    return True


async def _patiently(work: Callable[[], Awaitable[object]]) -> None:
    """Do it, as often as the server says to wait first; a user who is there already is no error."""
    while True:
        try:
            await work()
            return
        except Refused as refused:
            if refused.code == "name_taken":
                return
            if not refused.retryable:
                raise LoadError(f"a user of the load is refused: {refused}") from refused
            await trio.sleep(max(refused.retry_after_ms, 100) / 1000)
