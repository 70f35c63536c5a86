"""The users of a load, registered and signed in over HTTP like any user."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import msgspec
import trio

from rookery.client import Api, GatewayEndpoints, Refused
from rookery.client.errors import reason_of
from rookery.client.trust import client_tls
from rookery.load.sessions import LoadError, LoadUser, for_each

ADDED_AT_ONCE = 999
"""Members that one request adds: the maximum."""

SIGN_INS_AT_ONCE = 4
"""The server hashes two passwords at a time: more would only wait there."""

EXISTING = "users that exist already need the --password-file of the run that has created them"
"""A hint for a refused sign-up or sign-in."""


class Bff:
    """The HTTP API of the server under load. `ca_file` is the authority of its certificate, with TLS, and `password`
    the password of all users."""

    def __init__(self, url: str, ca_file: Path | None, password: str) -> None:
        self._url = url
        self._password = password
        self._tls = client_tls(ca_file, "http/1.1")

    async def sign_in(self, count: int) -> list[LoadUser]:
        """Sign in the users, and register them if they do not exist. Raises LoadError or RookeryError."""
        async with httpx.AsyncClient(base_url=self._url, verify=self._tls, timeout=30) as http:
            apis = [Api(http, account_name(number), self._password, "load") for number in range(count)]
            is_first_run = not await _exists(apis[-1])

            async def sign_in(api: Api) -> None:
                if is_first_run:
                    await _retry(api.register)
                await _retry(api.sign_in)

            await for_each(sign_in, apis, at_once=SIGN_INS_AT_ONCE)
            return in_pairs([(api.me.user_id, api.newest_token) for api in apis])

    async def locate(self, users: Sequence[LoadUser], *, together: bool) -> list[LoadUser]:
        """Return the users with the gateway of their sessions, one for all users if `together`. Raises LoadError."""
        async with httpx.AsyncClient(base_url=self._url, verify=self._tls, timeout=30) as http:
            asked = users[:1] if together else users
            gateways = await for_each(lambda user: self._gateway_of(http, user), asked)
        return [replace(user, gateway=gateways[0 if together else number]) for number, user in enumerate(users)]

    async def make_group(
        self, token: str, user_ids: Sequence[int], client_id: str, *, is_channel: bool
    ) -> tuple[str, float]:
        """Create a group or a channel with these members and the user of the token. Return its chat id, and the seconds
        of all requests, of which a group of up to ADDED_AT_ONCE other members needs one, with the waits that the server
        asks for. Raises LoadError."""
        texts = [str(user_id) for user_id in user_ids]
        body: dict[str, object] = {"name": "Load", "is_channel": is_channel}
        headers = {"Authorization": f"Bearer {token}"}
        path, chat_id, began = "/v1/chats", "", trio.current_time()
        async with httpx.AsyncClient(base_url=self._url, verify=self._tls, timeout=60, headers=headers) as http:
            for first in range(0, len(texts), ADDED_AT_ONCE):
                change = {"user_ids": texts[first : first + ADDED_AT_ONCE], "client_change_id": f"{client_id}{first}"}
                chat_id = str((await self._post(http, path, body | change))["message"]["chat_id"])
                path, body = f"/v1/chats/{chat_id}/members", {}
        return chat_id, trio.current_time() - began

    async def _post(self, http: httpx.AsyncClient, path: str, body: dict[str, object]) -> dict[str, Any]:
        """Make a request, again when the server's limit allows it. Raises LoadError."""
        while True:
            try:
                response = await http.post(path, json=body)
                if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
                    await trio.sleep(max(response.json()["retry_after_ms"], 100) / 1000)
                    continue
                response.raise_for_status()
            except httpx.HTTPError as error:
                raise LoadError(f"{self._url} does not create a group: {reason_of(error)}") from error
            answer: dict[str, Any] = response.json()
            return answer

    async def _gateway_of(self, http: httpx.AsyncClient, user: LoadUser) -> GatewayEndpoints:
        try:
            response = await http.get("/v1/me/gateway", headers={"Authorization": f"Bearer {user.token}"})
            response.raise_for_status()
            return msgspec.json.decode(response.content, type=GatewayEndpoints)
        except (httpx.HTTPError, msgspec.DecodeError) as error:
            raise LoadError(f"{self._url} does not name a gateway: {reason_of(error)}") from error


def account_name(number: int) -> str:
    return f"load-{number:05}"


def in_pairs(users: Sequence[tuple[int, str]]) -> list[LoadUser]:
    """Pair users 0 and 1, 2 and 3, and so on. Of an odd number, who write to a group, the last one has no partner."""
    user_ids = [user_id for user_id, _ in users] + [0]
    return [LoadUser(user_id, user_ids[number ^ 1], token) for number, (user_id, token) in enumerate(users)]


async def _exists(api: Api) -> bool:
    try:
        await api.sign_in()
    except Refused as refused:
        if refused.code != "unauthenticated":
            raise
        return False
    return True


async def _retry(work: Callable[[], Awaitable[object]]) -> None:
    """Do the work, after as many waits as the server asks for. An existing user is not an error."""
    while True:
        try:
            await work()
            return
        except Refused as refused:
            if refused.code == "name_taken":
                return
            if not refused.retryable:
                raise LoadError(f"a user of the load is refused: {refused} ({EXISTING})") from refused
            await trio.sleep(max(refused.retry_after_ms, 100) / 1000)
