"""The users of a load: made over HTTP like anyone, or straight in the account store, which needs no slow hashing."""

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
from rookery.serve.folder import COMMAND_GENERATOR
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.store import AccountStore, Family, User
from shared.accounts.tokens import PasswordHasher, TokenIssuer, digest, new_family_id, new_refresh_token
from shared.contract.ids import SnowflakeGenerator, wall_clock_ms

PASSWORD = "generated for load"  # noqa: S105 - guards nothing: these users exist to be loaded

TOKEN_SECONDS = 24 * 3600
"""Longer than a run can be, so that no token ends within one."""

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
            apis = [Api(http, _name(number), PASSWORD, "load") for number in range(count)]
            if not await _is_there(apis[-1]):
                await for_each(lambda api: _patiently(api.register), apis, at_once=SIGN_INS_AT_ONCE)
            await for_each(lambda api: _patiently(api.sign_in), apis, at_once=SIGN_INS_AT_ONCE)
            return _pair([(api.me.user_id, api.newest_token) for api in apis])

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


async def make_users(accounts_file: Path, count: int) -> list[LoadUser]:
    """Make the users in the account store, if they are not there, and tokens for them: the work of a second."""
    async with open_sqlite_accounts(accounts_file) as accounts:
        password_hash = await PasswordHasher().hash(PASSWORD)
        ids = SnowflakeGenerator(COMMAND_GENERATOR)
        issuer = TokenIssuer(accounts)

        async def make(name: str) -> tuple[int, str]:
            return await _make_user(accounts, issuer, await ids.next(), name, password_hash)

        return _pair(await for_each(make, [_name(number) for number in range(count)]))


async def _make_user(
    accounts: AccountStore, issuer: TokenIssuer, user_id: int, name: str, password_hash: str
) -> tuple[int, str]:
    """The id of the user of this name, who is made if need be, and a token for them."""
    now_ms = wall_clock_ms()
    if not await accounts.add_user(User(user_id, name, name, "", 1, now_ms), password_hash):
        credentials = await accounts.credentials(name)
        if credentials is None:
            raise LoadError(f"the user {name} can't be made")
        user_id = credentials.user_id
    family = Family(new_family_id(), user_id, "load", now_ms)
    await accounts.start_family(family, digest(new_refresh_token()), now_ms + TOKEN_SECONDS * 1000)
    return user_id, (await issuer.issue(user_id, family.family_id, TOKEN_SECONDS)).token


def _name(number: int) -> str:
    return f"load-{number:05}"


def _pair(users: Sequence[tuple[int, str]]) -> list[LoadUser]:
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
