"""Sessions for tests: over WebSocket, over gRPC, or by a stock grpcio client in its own process.

JSON is written and parsed by protobuf's own library, independent of `shared.contract.wire`.
"""

import json
import os
import secrets
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import trio
import trio_websocket
from google.protobuf import json_format

from rookery.client.connection import SessionStream, connect_grpc
from rookery.client.errors import Unreachable
from rookery.v1 import session_pb2 as pb
from shared.background import open_background
from tests import asyncapi
from tools.launch.people import PATIENCE, Person
from tools.launch.process import Process, port_of

SUBPROTOCOL = "rookery.v1.json"
MAX_FRAME = 4 * 1024 * 1024
"""Largest frame that a client accepts: more than a server sends."""

CLOSE_SECONDS = 1.0
"""For a server to answer a close; then the connection is closed."""

VALIDATED = 3
"""Frames of each kind in a session that are validated against the AsyncAPI document."""

STOCK_CLIENT = Path(__file__).with_name("stock_client.py")

Connect = Callable[[], AbstractAsyncContextManager[SessionStream]]
"""Opens a connection without authentication."""


class SessionOver(Exception):
    """The server ended the session; the text has its last frame."""


class Session:
    """A session and its received frames. Every wait has a timeout."""

    def __init__(self, stream: SessionStream) -> None:
        self.stream = stream
        self.frames: list[pb.ServerFrame] = []
        self.sent = 0
        """Number of the newest sent frame."""

    @property
    def position(self) -> pb.Position | None:
        """The newest received position, to resume from."""
        positions = [frame.event.position for frame in self.frames if frame.event.HasField("position")]
        welcome = self.frames[0].welcome
        return positions[-1] if positions else welcome.position if not welcome.replayed else None

    async def receive_messages(self, count: int) -> list[pb.Message]:
        """Wait for this many messages; return all that were received."""
        while (
            len(messages := [frame.event.message for frame in self.frames if frame.event.HasField("message")]) < count
        ):
            await self.receive()
        return messages

    async def receive_distinct(self, count: int) -> list[int]:
        """Wait for this many messages; return the ids of all that were received, each once: a gateway that gains a
        partition publishes newest control changes again."""
        while len(ids := dict.fromkeys(message.message_id for message in await self.receive_messages(0))) < count:
            await self.receive()
        return [*ids]

    async def send_frame(self, **frame: object) -> int:
        """Send a frame, such as `ping=Ping()`; return its number."""
        self.sent += 1
        number = self.sent
        await self.stream.send(pb.ClientFrame(**frame))  # type: ignore[arg-type]
        return number

    async def answer(self, **frame: object) -> pb.ServerFrame:
        """Send a frame, and return its Accepted or Refused."""
        number = await self.send_frame(**frame)
        return await self.next_where(lambda frame: number in (frame.accepted.frame, frame.refused.frame), refused=True)

    async def ask(self, **frame: object) -> pb.Accepted:
        """Send a frame; return when it is accepted."""
        answer = await self.answer(**frame)
        assert answer.HasField("accepted"), answer
        return answer.accepted

    async def change(self, chat_id: str, target_id: int = 0, client_change_id: str = "", **body: object) -> pb.Accepted:
        """Make a change, such as `deleted=Deleted()`; return when it is accepted."""
        return await self.ask(change=change_to(chat_id, target_id, client_change_id, **body), first_sent_ms_ago=0)

    async def authenticate(self, access_token: str, position: pb.Position | None = None) -> pb.Welcome:
        """Begin a session, or resume one from a position."""
        await self.send_frame(authenticate=pb.Authenticate(access_token=access_token, last_position=position))
        return (await self.next("welcome")).welcome

    async def receive(self) -> pb.ServerFrame:
        """The next frame; checks its sequence number. Raises SessionOver."""
        with trio.fail_after(PATIENCE):
            frame = await self.stream.receive()
        if frame is None:
            raise SessionOver(self.frames[-1:])
        assert frame.sequence == len(self.frames) + 1, (frame, self.frames[-1:])
        self.frames.append(frame)
        return frame

    async def next(self, kind: str) -> pb.ServerFrame:
        """The next frame of a kind, such as `accepted`; ignores others, except a refusal."""
        return await self.next_where(lambda frame: frame.WhichOneof("frame") == kind, refused=kind == "refused")

    async def next_event(self, kind: str) -> pb.Event:
        """The next event of a kind, such as `message`."""
        return (await self.next_where(lambda frame: frame.event.WhichOneof("event") == kind)).event

    async def next_where(self, matches: Callable[[pb.ServerFrame], bool], *, refused: bool = False) -> pb.ServerFrame:
        while True:
            frame = await self.receive()
            if matches(frame):
                return frame
            assert refused or not frame.HasField("refused"), frame

    async def send_text(self, to: int | str, text: str, client_message_id: str = "") -> pb.Accepted:
        """Send to a user or a chat; return when it is accepted."""
        first_sent_ms_ago = None if client_message_id else 0
        return await self.ask(send=text_to(to, text, client_message_id), first_sent_ms_ago=first_sent_ms_ago)

    async def check_alive(self) -> None:
        """Check that the session answers."""
        await self.send_frame(ping=pb.Ping(payload=b"?"))
        await self.next("pong")

    async def read_to_end(self) -> list[pb.ServerFrame]:
        """Receive all frames up to the end of the session."""
        try:
            while True:
                await self.receive()
        except (SessionOver, Unreachable):
            return self.frames


def text_to(to: int | str, text: str, client_message_id: str = "") -> pb.Send:
    """A message, with an id of its own or a given one."""
    send = pb.Send(client_message_id=client_message_id or secrets.token_hex(8), text=pb.Text(body=text))
    if isinstance(to, int):
        send.recipient_id = to
    else:
        send.chat_id = to
    return send


def change_to(chat_id: str, target_id: int = 0, client_change_id: str = "", **body: object) -> pb.Change:
    """A change, such as `deleted=Deleted()`, with an id of its own or a given one."""
    client_change_id = client_change_id or secrets.token_hex(8)
    return pb.Change(chat_id=chat_id, target_id=target_id, client_change_id=client_change_id, **body)  # type: ignore[arg-type]


TRANSPORTS = ("websocket", "grpc")


def connector(rookery: Process, transport: str) -> Connect:
    if transport == "websocket":
        return partial(connect_websocket, rookery.websocket)
    return partial(connect_grpc, rookery.grpc)


@asynccontextmanager
async def open_session(
    connect: Connect, person: Person, *, token: str = "", position: pb.Position | None = None
) -> AsyncIterator[Session]:
    """Open and authenticate a session."""
    async with connect() as stream:
        session = Session(stream)
        await session.authenticate(token or person.access_token, position)
        yield session


@asynccontextmanager
async def open_sessions(*members: tuple[Connect, Person]) -> AsyncIterator[list[Session]]:
    """Open and authenticate a session of each person."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(open_session(connect, person)) for connect, person in members]


async def until_answered(session: Session, to: Person, kind: str) -> None:
    """Send until the answer has this kind."""
    with trio.fail_after(PATIENCE):
        while True:
            answer = await session.answer(send=text_to(to.user_id, "twelve bytes"), first_sent_ms_ago=0)
            if answer.HasField(kind):
                return
            await trio.sleep(0.05)


async def send_bytes(address: str, data: bytes) -> None:
    """Send bytes of any kind to a listener, then receive until it closes the connection."""
    async with await trio.open_tcp_stream("127.0.0.1", port_of(address)) as stream:
        with trio.fail_after(PATIENCE), suppress(trio.BrokenResourceError):  # closed with unread data
            await stream.send_all(data)
            await stream.send_eof()
            while await stream.receive_some():
                pass


# ---- WebSocket


@asynccontextmanager
async def connect_websocket(url: str, **headers: str) -> AsyncIterator[SessionStream]:
    """Connect by WebSocket. Raises Unreachable."""
    async with open_websocket(url, **headers) as websocket:
        yield WebSocketStream(websocket)


@asynccontextmanager
async def open_websocket(url: str, **headers: str) -> AsyncIterator[trio_websocket.WebSocketConnection]:
    """Open a WebSocket with Rookery's sub-protocol, for any frames."""
    address = urlsplit(url)
    assert address.hostname, url
    assert address.port, url
    extra = [(name.encode(), value.encode()) for name, value in headers.items()]
    try:
        tcp = await trio.open_tcp_stream(address.hostname, address.port)
    except OSError as error:
        raise Unreachable(str(error)) from error
    stream: trio.SocketStream | trio.SSLStream[trio.SocketStream] = tcp
    if address.scheme == "wss":
        context = ssl.create_default_context()  # which trusts SSL_CERT_FILE
        stream = trio.SSLStream(tcp, context, server_hostname=address.hostname, https_compatible=True)
    async with stream, open_background() as nursery:
        try:
            with trio.fail_after(PATIENCE):
                websocket = await trio_websocket.wrap_client_stream(
                    nursery, stream, address.netloc, address.path,
                    subprotocols=[SUBPROTOCOL], extra_headers=extra, max_message_size=MAX_FRAME,
                )  # fmt: skip
        except (trio_websocket.ConnectionClosed, trio.BrokenResourceError) as error:
            raise Unreachable(str(error)) from error
        yield websocket
        with trio.move_on_after(CLOSE_SECONDS):
            await websocket.aclose()


class WebSocketStream:
    """A SessionStream over WebSocket."""

    def __init__(self, websocket: trio_websocket.WebSocketConnection) -> None:
        self._websocket = websocket
        self._kinds: Counter[str | None] = Counter()

    async def send(self, frame: pb.ClientFrame) -> None:
        text = json_format.MessageToJson(frame, preserving_proto_field_name=True, indent=None)
        try:
            await self._websocket.send_message(text)
        except trio_websocket.ConnectionClosed as error:
            raise Unreachable(str(error)) from error

    async def receive(self) -> pb.ServerFrame | None:
        try:
            text = await self._websocket.get_message()
        except trio_websocket.ConnectionClosed as error:
            if error.reason is not None and error.reason.code in (1000, 1001):
                return None
            raise Unreachable(str(error)) from error
        frame = json_format.Parse(text, pb.ServerFrame())
        self._validate(frame, text)
        return frame

    def _validate(self, frame: pb.ServerFrame, text: str | bytes) -> None:
        """Validate the frame against the AsyncAPI document: the first of each kind, since it is slow."""
        kind = frame.event.WhichOneof("event") or frame.WhichOneof("frame")
        self._kinds[kind] += 1
        if self._kinds[kind] <= VALIDATED:
            assert asyncapi.problems("ServerFrame", json.loads(text)) == []


# ---- a stock grpcio client


def make_stubs(folder: Path) -> Path:
    """Generate Python from our protos with the stock tools; return the folder to import it from."""
    protos = Path(__file__).parents[2] / "protos"
    command = ["-m", "grpc_tools.protoc", f"-I{protos}", f"--python_out={folder}", f"--grpc_python_out={folder}"]
    subprocess.run([sys.executable, *command, *map(str, protos.rglob("*.proto"))], check=True)
    for package in (folder / "rookery", folder / "rookery/v1"):
        (package / "__init__.py").touch()
    return folder


@asynccontextmanager
async def connect_stock(endpoint: str, stubs: Path) -> AsyncIterator["StockStream"]:
    command = [sys.executable, "-P", str(STOCK_CLIENT), endpoint]
    environment = os.environ | {"PYTHONPATH": str(stubs)}
    async with open_background() as nursery:
        process = await nursery.start(
            partial(
                trio.run_process, command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, check=False
            )
        )
        yield StockStream(process)


class StockStream:
    """A SessionStream through `stock_client.py`."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self._lines: list[bytes] = []
        self._rest = b""

    async def send(self, frame: pb.ClientFrame) -> None:
        assert self.process.stdin is not None
        text = json_format.MessageToJson(frame, preserving_proto_field_name=True, indent=None)
        await self.process.stdin.send_all(text.encode() + b"\n")

    async def receive(self) -> pb.ServerFrame | None:
        assert self.process.stdout is not None
        while not self._lines:
            data = await self.process.stdout.receive_some()
            if not data:
                return None
            *self._lines, self._rest = (self._rest + bytes(data)).split(b"\n")
        return json_format.Parse(self._lines.pop(0), pb.ServerFrame())
