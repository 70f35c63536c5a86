"""The HTTP part of the client: accounts, sign-in, profiles, chats and history, from the BFF."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx
import msgspec
import trio
from google.protobuf.message import Message as ProtoMessage

from rookery.client.backoff import Backoff
from rookery.client.device_token import DeviceToken
from rookery.client.errors import Refused, SignedOut, Unreachable, reason_of
from rookery.client.trust import client_tls, client_tls_elsewhere
from rookery.v1.archive_pb2 import (
    Chat,
    ListChangesResponse,
    ListChatsResponse,
    ListMessagesResponse,
    ListVersionsResponse,
)
from rookery.v1.session_pb2 import Event
from shared.contract.errors import Refusal
from shared.contract.ids import wall_clock_ms
from shared.contract.wire import from_json
from shared.net.bodies import BytesBody

TIMEOUT = 10.0
"""Seconds for a response, more than the server's own deadlines."""

REPEAT_SECONDS = 30.0
"""Seconds for which a request without an answer is repeated: long enough for another gateway to take over."""

AVATAR_SECONDS = 60.0
"""Seconds in which the server makes the squares of a picture."""

LEAST_ATTEMPTS = 3
"""Attempts of a request that is repeated, even if they take longer than REPEAT_SECONDS."""

REFRESH_BEFORE_MS = 10_000
"""Access tokens are refreshed so long before they expire: enough for a slow request, below the shortest lifetime. Also
the least time between two such refreshes."""

Value = TypeVar("Value")
Proto = TypeVar("Proto", bound=ProtoMessage)


class User(msgspec.Struct, frozen=True):
    """The account of the signed-in user."""

    user_id: int
    name: str
    display_name: str
    about: str = ""
    version: int = 0
    created_at_ms: int = 0
    avatar: str = ""
    """The token of the user's picture, which is at `/avatars/TOKEN?size=96` (or 512) for everybody; empty for none."""


class Profile(msgspec.Struct, frozen=True):
    """The public part of an account."""

    user_id: int
    name: str
    display_name: str
    about: str = ""
    deleted: bool = False
    """Whether the account was deleted: its name is empty, and messages to it are refused."""
    avatar: str = ""
    """The token of the picture, as in `User.avatar`."""


class GatewayEndpoints(msgspec.Struct, frozen=True):
    """The gateway of a user's sessions: a URL for WebSocket; for gRPC `host:port`, or `grpcs://host:port` with TLS."""

    websocket: str
    grpc: str


class Content(msgspec.Struct, frozen=True):
    """The body of a request that is not JSON."""

    body: bytes
    on_sent: Callable[[int], object]
    """Called with the number of bytes that were sent; from 0 again if the request is repeated."""


class _Tokens(msgspec.Struct, frozen=True):
    access_token: str
    access_token_expires_at_ms: int
    refresh_token: str
    user: User
    device_token: str = ""
    """Empty after a refresh."""


class _Avatar(msgspec.Struct, frozen=True):
    avatar: str


class _Profiles(msgspec.Struct, frozen=True):
    profiles: list[Profile]
    next_cursor: str = ""


class Api:
    """The HTTP API, made by `open_api`. Methods raise Refused, Unreachable, and SignedOut if they need a sign-in."""

    def __init__(
        self,
        http: httpx.AsyncClient,
        name: str,
        password: str,
        device_name: str,
        ca_file: Path | None = None,
        device_file: Path | None = None,
    ) -> None:
        self._http = http
        self._ca_file = ca_file
        self._device_token = DeviceToken(device_file)
        self._credentials = {"name": name, "password": password}
        self._device_name = device_name
        self._tokens: _Tokens | None = None
        self._received_at = 0.0  # the tokens, by `trio.current_time`
        # One at a time: a refresh token that is used again 30 s later ends the sign-in.
        self._refreshing = trio.Lock()

    @property
    def me(self) -> User:
        """The signed-in account. Raises RuntimeError before `sign_in`."""
        if self._tokens is None:
            raise RuntimeError("not signed in yet")
        return self._tokens.user

    @property
    def newest_token(self) -> str:
        """The newest access token, expired or not; empty before `sign_in`."""
        return self._tokens.access_token if self._tokens else ""

    async def check_server(self) -> None:
        """Return if a Rookery answers at the base URL, without a sign-in. Raises Unreachable."""
        reason = "it accepts a request without a sign-in"
        try:
            await self._request("GET", "/v1/me")
        except Refused as refused:
            if refused.code != "internal":  # the code for a response that is not a Problem of Rookery
                return
            reason = refused.message
        raise Unreachable(f"there is no Rookery at {self._http.base_url}: {reason}")

    async def register(self, display_name: str = "", *, invite: str = "") -> User:
        """Create the account. `invite` is the token of an invite's link, needed if sign-up is by invite."""
        optional = {"display_name": display_name, "invite": invite}
        body = self._credentials | {field: value for field, value in optional.items() if value}
        return decode_json(await self._request("POST", "/v1/users", body=body), User)

    async def sign_in(self) -> User:
        """Sign in, as the device of the sign-in before."""
        body = self._credentials | {"device_name": self._device_name, "device_token": await self._device_token.load()}
        tokens = self._keep(await self._request("POST", "/v1/tokens", body=body))
        await self._device_token.save(tokens.device_token)
        return self.me

    async def sign_out(self) -> None:
        """End this sign-in with its tokens and sessions."""
        await self.request("DELETE", "/v1/tokens/current")
        self._tokens = None

    async def access_token(self, *, older_than: str = "") -> str:
        """Return the newest access token. It is refreshed first if it equals `older_than`, or if it ends within 10 s by
        this machine's clock and was received 10 s ago: a wrong clock must not cause a refresh at each request."""
        async with self._refreshing:
            tokens = self._tokens
            if tokens is None:
                await self._sign_in_again()
            elif tokens.access_token == older_than or self._ends_soon(tokens):
                try:
                    body = {"refresh_token": tokens.refresh_token}
                    self._keep(await self._request("POST", "/v1/tokens/refresh", body=body))
                except Refused as refused:
                    if not _ends_sign_in(refused):
                        raise
                    await self._sign_in_again()  # the response with the new token may have been lost long ago
            assert self._tokens is not None  # noqa: S101 - for the type checker
            return self._tokens.access_token

    async def set_avatar(self, picture: bytes) -> User:
        """Give the user's profile a picture, of 5 MB at most, or none if it is empty. The server keeps the square of
        its centre. Raises Refused with `version_conflict` if the profile changes meanwhile."""
        avatar = await self.upload_avatar(picture) if picture else ""
        version = decode_json(await self.request("GET", "/v1/me"), User).version
        body = {"avatar": avatar, "version": version}
        return decode_json(await self.request("PATCH", "/v1/me", body=body), User)

    async def upload_avatar(self, picture: bytes, chat_id: str = "") -> str:
        """Upload a picture for the user's profile, or for a group, which has it once it is set. Return its token."""
        query = {"chat_id": chat_id} if chat_id else None
        content = Content(picture, lambda _: None)
        answer = await self.request("POST", "/v1/avatars", query, content, answer_seconds=AVATAR_SECONDS)
        return decode_json(answer, _Avatar).avatar

    async def gateway(self, unreachable: str = "") -> GatewayEndpoints:
        """Return the endpoints of the user's gateway. The server waits for another one than an `unreachable` one."""
        query = {"unreachable": unreachable} if unreachable else None
        return decode_json(await self.request("GET", "/v1/me/gateway", query), GatewayEndpoints)

    async def find_user(self, name: str) -> Profile:
        """Return the profile of the user with this name. Capitals and an `@` in front do not matter.

        Raises Refused, with the code `not_found` if there is no such user.
        """
        wanted = name.strip().removeprefix("@").lower()
        found = await self.find_users(wanted, limit=1)
        if not found or found[0].name != wanted:
            raise Refused("not_found", f"There is no user {name}.", field="name")
        return found[0]

    async def find_users(self, text: str, *, limit: int = 20) -> Sequence[Profile]:
        """Return the user with this name, then others by name.

        Each word of the text is a part of a name or display name; one of 1 or 2 characters is the beginning of a word.
        """
        query: dict[str, str | int] = {"name_contains": text, "limit": limit}
        return decode_json(await self.request("GET", "/v1/profiles", query), _Profiles).profiles

    async def profiles(self, user_ids: Sequence[int]) -> Sequence[Profile]:
        """Return the profiles of these users, at most 100; unknown users are left out."""
        query = {"user_ids": ",".join(map(str, user_ids))}
        return decode_json(await self.request("GET", "/v1/profiles", query), _Profiles).profiles

    async def chats(self, *, changed_since_ms: int = 0, limit: int = 50, cursor: str = "") -> ListChatsResponse:
        """Return a page of chats, pinned ones first, then most recently changed first. Pass its `next_cursor` as
        `cursor` for the next page."""
        query: dict[str, str | int] = {"changed_since_ms": changed_since_ms, "limit": limit}
        response = await self.request("GET", "/v1/chats", query | ({"cursor": cursor} if cursor else {}))
        return decode_proto(response, ListChatsResponse)

    async def chat(self, chat_id: str) -> Chat:
        return decode_proto(await self.request("GET", chat_path(chat_id)), Chat)

    async def history(self, chat_id: str, *, limit: int = 50, **query: int | str) -> ListMessagesResponse:
        """Return a page of messages, oldest first: the newest ones, or the ones at an anchor.

        The anchors are `before_id`, `after_id`, `around_id`, and `before_ms`, `after_ms`, `around_ms`. With `having`,
        the name of a kind such as `pinned`, only messages with this change; then `before_id` is the only anchor.
        """
        response = await self.request("GET", f"{chat_path(chat_id)}/messages", {"limit": limit, **query})
        return decode_proto(response, ListMessagesResponse)

    async def changes(self, chat_id: str, *, after: int) -> ListChangesResponse:
        """Return the events of a chat after an id, which is the `complete_up_to` of an earlier answer about this chat.
        `Client.catch_up` reads them after a Gap."""
        return decode_proto(
            await self.request("GET", f"{chat_path(chat_id)}/changes", {"after": after}), ListChangesResponse
        )

    async def versions(self, chat_id: str, message_id: int, kind: str) -> Sequence[Event]:
        """Return the newest 100 changes of one kind of a message, such as `edited`, oldest first."""
        path = f"{chat_path(chat_id)}/messages/{message_id}/versions"
        response = decode_proto(await self.request("GET", path, {"kind": kind}), ListVersionsResponse)
        return response.changes

    def _keep(self, answer: bytes) -> _Tokens:
        """Keep the tokens of an answer, and return them. Raises Unreachable if it is not one of Rookery."""
        self._tokens, self._received_at = decode_json(answer, _Tokens), trio.current_time()
        return self._tokens

    def _ends_soon(self, tokens: _Tokens) -> bool:
        """Whether the access token ends soon by this machine's clock. A new one does not: that clock is wrong."""
        is_old = trio.current_time() >= self._received_at + REFRESH_BEFORE_MS / 1000
        return is_old and tokens.access_token_expires_at_ms - wall_clock_ms() < REFRESH_BEFORE_MS

    async def _sign_in_again(self) -> None:
        try:
            await self.sign_in()
        except Refused as refused:
            if not _ends_sign_in(refused):
                raise
            raise SignedOut(refused.code, refused.message) from refused

    async def request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | Content | None = None,
        *,
        answer_seconds: float = TIMEOUT,
    ) -> bytes:
        """Make a signed-in request, and return the body of the answer, which may take `answer_seconds`. A body
        that is no `Content` is sent as JSON."""
        token = await self.access_token()
        try:
            return await self._request(method, path, body=body, query=query, token=token, answer_seconds=answer_seconds)
        except Refused as refused:
            if refused.code != "unauthenticated":
                raise
        token = await self.access_token(older_than=token)  # it was revoked, or the clocks differ
        return await self._request(method, path, body=body, query=query, token=token, answer_seconds=answer_seconds)

    async def repeat(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None = None,
        body: Mapping[str, Any] | Content | None = None,
        *,
        answer_seconds: float = TIMEOUT,
        client_id: str = "",
    ) -> bytes:
        """Make a request that has one effect however often it is made, again while it has no answer, as
        `Repetition` allows. `client_id` is that of the exceptions."""
        repetition = Repetition()
        while True:
            try:
                return await self.request(method, path, query, body, answer_seconds=answer_seconds)
            except (Unreachable, Refused) as failure:
                failure.client_id = client_id
                await repetition.wait(failure)

    @asynccontextmanager
    async def stream(self, url: str, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """GET a URL that needs no sign-in, and yield the answer before its body. A redirect leads to another server,
        with a certificate that the system trusts, or one from the `ca_file`.

        Raises Unreachable, also for an error of httpx from the block."""
        try:
            async with _sent(self._http, url, headers) as response:
                if not response.has_redirect_location:
                    yield response
                    return
                location = response.headers["Location"]
            tls = client_tls_elsewhere(self._ca_file)
            async with (
                httpx.AsyncClient(timeout=TIMEOUT, verify=tls) as http,
                _sent(http, location, headers) as response,
            ):
                yield response
        except httpx.TransportError as error:
            raise Unreachable(f"no answer from {error.request.url.host}: {reason_of(error)}") from error

    async def _request(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | Content | None = None,
        query: Mapping[str, str | int] | None = None,
        token: str = "",
        answer_seconds: float = TIMEOUT,
    ) -> bytes:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        if isinstance(body, Content):
            headers["Content-Type"] = "application/octet-stream"
            request = self._http.build_request(method, path, content=body.body, params=query, headers=headers)
            request.stream = BytesBody(body.body, body.on_sent)
        else:
            request = self._http.build_request(method, path, json=body, params=query, headers=headers)
            request.stream = BytesBody(request.content)
        request.extensions["timeout"] = {**request.extensions["timeout"], "read": answer_seconds}
        try:
            response = await self._http.send(request)
        except httpx.TransportError as error:
            raise Unreachable(f"no answer from {self._http.base_url}: {reason_of(error)}") from error
        if response.is_success:
            return response.content
        raise refused_by(response, response.content)


class Repetition:
    """The attempts of a request, which end when it has failed for REPEAT_SECONDS, and LEAST_ATTEMPTS times; or when
    the server asks for a longer pause than that."""

    def __init__(self) -> None:
        self._failures = 0
        self._began = trio.current_time()
        self._backoff = Backoff(self._began)

    async def wait(self, failure: Unreachable | Refused) -> None:
        """Wait before the next attempt. Raises the failure if there is none."""
        retry_after = 0.0
        if isinstance(failure, Refused):
            if not failure.retryable:
                raise failure
            retry_after = failure.retry_after_ms / 1000
        self._failures += 1
        pause = self._backoff.pause(trio.current_time(), retry_after)
        is_late = trio.current_time() + pause > self._began + REPEAT_SECONDS
        if is_late and (self._failures >= LEAST_ATTEMPTS or retry_after > REPEAT_SECONDS):
            raise failure
        await trio.sleep(pause)


@asynccontextmanager
async def open_api(
    base_url: str,
    name: str,
    password: str,
    *,
    device_name: str = "",
    device_file: Path | None = None,
    ca_file: Path | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> AsyncIterator[Api]:
    """Open the HTTP API of the BFF at `base_url`, such as http://127.0.0.1:8080. `transport` carries the requests.

    `device_file` and `ca_file` are those of `open_client`. Raises UnusableCertificate if `ca_file` can't be read.
    """
    async with httpx.AsyncClient(
        base_url=base_url, timeout=TIMEOUT, verify=client_tls(ca_file, "http/1.1"), transport=transport
    ) as http:
        yield Api(http, name, password, device_name, ca_file, device_file)


def chat_path(chat_id: str) -> str:
    """The path of a chat, below which its parts are."""
    return f"/v1/chats/{quote(chat_id, safe='')}"


@asynccontextmanager
async def _sent(http: httpx.AsyncClient, url: str, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
    response = await http.send(http.build_request("GET", url, headers=headers), stream=True)
    try:
        yield response
    finally:
        await response.aclose()


def _ends_sign_in(refused: Refused) -> bool:
    """Whether the server refused the tokens or the password: not if it failed, or if another server responded."""
    return not refused.retryable and refused.code != "internal"


def refused_by(response: httpx.Response, body: bytes) -> Refused:
    """Return the refusal that an answer with this body is."""
    return Refused.from_problem(response.status_code, _problem(body))


def _problem(body: bytes) -> dict[str, Any]:
    try:
        problem = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return problem if isinstance(problem, dict) else {}


def decode_json(body: bytes, kind: type[Value]) -> Value:
    try:
        return msgspec.json.decode(body, type=kind, strict=False)  # not strict: 64-bit integers are strings
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Unreachable(f"this is not a response of Rookery: {error}") from error


def decode_proto(body: bytes, kind: type[Proto]) -> Proto:
    """Decode an answer. Raises Unreachable if it is not one of Rookery."""
    message = from_json(kind, body)
    if isinstance(message, Refusal):
        raise Unreachable(f"this is not a response of Rookery: {message.message}")
    return message
