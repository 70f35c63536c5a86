"""Fakes of the two servers of a client: an HTTP API, and a gateway that sends the frames of the test."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import pytest
import trio

from rookery.client import Client, Unreachable, open_client
from rookery.v1 import session_pb2 as pb

ME = 7

WAIT_FOR_ANOTHER_SECONDS = 2.0
"""How long the HTTP API waits for another gateway than an unreachable one."""


class FakeBff:
    """Responds with the test's `answers`, and signs in the user with the password. Use its `transport`."""

    def __init__(self) -> None:
        self.password = "correct horse"
        self.token_seconds = 900
        self.endpoint = "gateway:1"
        self.refresh_refused = False
        self.down = False
        self.slow_seconds = 0.0
        """Seconds that each answer takes besides any wait."""
        self.requests: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        """Of the requests with one."""
        self.answers: dict[str, tuple[int, object]] = {}
        self.failures: list[tuple[int, object]] = []
        """The first answers to requests other than GET, once signed in."""
        self._tokens = 0

    @property
    def token(self) -> str:
        """The current access token."""
        return f"token-{self._tokens}"

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        if self.down:
            raise httpx.ConnectError("down", request=request)
        target = f"{request.method} {request.url.raw_path.decode()}"
        self.requests.append(target)
        if request.content:
            self.bodies.append(json.loads(request.content))
        await trio.sleep(self.slow_seconds)
        if "unreachable=" in target:
            await trio.sleep(WAIT_FOR_ANOTHER_SECONDS)
            target = target.partition("?")[0]
        if self.failures and self._tokens and request.method != "GET":
            status, body = self.failures.pop(0)
        else:
            status, body = self.answers.get(target) or self._respond(request, target)
        return httpx.Response(status, stream=httpx.ByteStream(json.dumps(body).encode()))

    def _respond(self, request: httpx.Request, target: str) -> tuple[int, object]:
        match target:
            case "POST /v1/tokens":
                if json.loads(request.content)["password"] == self.password:
                    tokens = self._new_tokens()
                    return 200, tokens | {"device_token": f"device-{self._tokens}"}
                return 401, {"code": "unauthenticated", "detail": "Wrong name or password."}
            case "POST /v1/tokens/refresh":
                if self.refresh_refused or json.loads(request.content)["refresh_token"] != f"refresh-{self._tokens}":
                    return 401, {"code": "unauthenticated", "detail": "This sign-in has ended."}
                return 200, self._new_tokens()
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            return 401, {"code": "unauthenticated", "detail": "The access token has expired."}
        if target == "GET /v1/me/gateway":
            return 200, {"websocket": "ws://gateway/session", "grpc": self.endpoint}
        return 404, {"code": "not_found", "detail": "There is no such thing."}

    def _new_tokens(self) -> dict[str, object]:
        self._tokens += 1
        return {
            "access_token": self.token,
            "access_token_expires_at_ms": str(4_102_444_800_000 if self.token_seconds > 10 else 0),
            "refresh_token": f"refresh-{self._tokens}",
            "token_type": "Bearer",
            "user": {"user_id": str(ME), "name": "ada", "display_name": "Ada", "about": "", "version": "1"},
        }


class FakeConnection:
    """The gateway's end of a connection."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self.received: list[pb.ClientFrame] = []
        """The client's frames, also the ones that the test has not taken yet."""
        self._to_gateway, self._from_client = trio.open_memory_channel[pb.ClientFrame](100)
        self._to_client, self._from_gateway = trio.open_memory_channel[pb.ServerFrame](2_000)
        self._sequence = 0

    async def next_frame(self) -> pb.ClientFrame:
        """Wait for the client's next frame."""
        return await self._from_client.receive()

    def reply(self, frame: pb.ServerFrame) -> None:
        self._sequence += 1
        frame.sequence = self._sequence
        self._to_client.send_nowait(frame)

    async def welcome(self, *, replayed: int = 0, at_ms: int = 0, max_frame_bytes: int = 0) -> pb.Authenticate:
        """Welcome the client; return its authentication."""
        first = await self.next_frame()
        welcome = pb.Welcome(session_id="s", user_id=ME, heartbeat_interval_ms=30_000, replayed=replayed, at_ms=at_ms)
        welcome.limits.max_unanswered_sends, welcome.limits.max_frame_bytes = 8, max_frame_bytes
        welcome.position.CopyFrom(pb.Position(offset=10, epoch=1))
        self.reply(pb.ServerFrame(welcome=welcome))
        return first.authenticate

    def message(self, message_id: int) -> None:
        event = pb.Event(event_id=message_id, position=pb.Position(offset=message_id, epoch=1))
        message = pb.Message(message_id=message_id, chat_id="d-7-9", sender_id=9, client_message_id=str(message_id))
        message.text.body = f"text {message_id}"
        event.message.CopyFrom(message)
        self.reply(pb.ServerFrame(event=event))

    def accept(self, frame: pb.ClientFrame, event_id: int) -> None:
        number = max(number for number, each in enumerate(self.received, 1) if each is frame)
        key = frame.send.client_message_id or frame.change.client_change_id
        accepted = pb.Accepted(frame=number, client_id=key, event_id=event_id, chat_id="d-7-9")
        self.reply(pb.ServerFrame(accepted=accepted))

    async def accept_next(self, event_id: int = 100) -> pb.ClientFrame:
        """Accept the client's next message or change; return its frame."""
        while (frame := await self.next_frame()).HasField("watch"):
            pass
        self.accept(frame, event_id)
        return frame

    def end(self) -> None:
        """End the call, as a gateway does after its goodbye."""
        self._to_client.close()

    # ---- SessionStream, for the client

    async def send(self, frame: pb.ClientFrame) -> None:
        self.received.append(frame)
        try:
            await self._to_gateway.send(frame)
        except trio.BrokenResourceError:
            raise Unreachable("the fake connection is gone") from None

    async def receive(self) -> pb.ServerFrame | None:
        try:
            return await self._from_gateway.receive()
        except trio.EndOfChannel:
            return None


class FakeGateway:
    """Accepts connections unless it is `down`; the test is the gateway on each."""

    def __init__(self) -> None:
        self.down = False
        self.attempts: list[float] = []
        self.connections: list[FakeConnection] = []
        self._arrived, self._arriving = trio.open_memory_channel[FakeConnection](100)

    async def next_connection(self) -> FakeConnection:
        return await self._arriving.receive()

    async def welcome_next(self, *, replayed: int = 0) -> FakeConnection:
        connection = await self.next_connection()
        await connection.welcome(replayed=replayed)
        return connection

    @asynccontextmanager
    async def connect(self, endpoint: str) -> AsyncIterator[FakeConnection]:
        self.attempts.append(trio.current_time())
        if self.down:
            raise Unreachable("the fake gateway is down")
        connection = FakeConnection(endpoint)
        self.connections.append(connection)
        self._arrived.send_nowait(connection)
        try:
            yield connection
        finally:
            connection._to_gateway.close()


@pytest.fixture
def bff() -> FakeBff:
    return FakeBff()


@pytest.fixture
def gateway() -> FakeGateway:
    return FakeGateway()


@pytest.fixture
def open_fake_client(bff: FakeBff, gateway: FakeGateway) -> Callable[..., AbstractAsyncContextManager[Client]]:
    """Opens a client of the two fakes."""

    def open_it(password: str = "correct horse", **options: Any) -> AbstractAsyncContextManager[Client]:
        fakes: dict[str, Any] = {"connect": gateway.connect, "http_transport": bff.transport}
        return open_client("http://bff", "ada", password, **(fakes | options))

    return open_it


@pytest.fixture
async def client(
    open_fake_client: Callable[..., AbstractAsyncContextManager[Client]], gateway: FakeGateway
) -> AsyncIterator[Client]:
    """A client with a live session."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(gateway.welcome_next)
        async with open_fake_client() as client:
            yield client


@pytest.fixture
def connection(client: Client, gateway: FakeGateway) -> FakeConnection:
    """The gateway's end of the client's connection."""
    return gateway.connections[0]
