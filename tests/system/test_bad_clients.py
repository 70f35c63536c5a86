"""Clients that send bad input or vanish: each is refused or closed, and others are not disturbed."""

import json
import socket
import struct

import pytest
import trio
import trio_websocket
from google.protobuf.message import Message

from rookery.client.errors import Unreachable
from rookery.v1 import session_pb2 as pb
from tests.system.sessions import (
    TRANSPORTS,
    Session,
    change_to,
    connector,
    open_session,
    open_websocket,
    send_bytes,
    text_to,
)
from tests.system.undisturbed import FRAME_BURST, FRAMES_PER_SECOND
from tools.launch.people import PATIENCE, Person, sign_up
from tools.launch.process import Rookery, port_of

VANISHING = 500
AT_ONCE = 50

RESET = struct.pack("ii", 1, 0)
"""For SO_LINGER: close with a reset."""

pytestmark = pytest.mark.usefixtures("undisturbed")

each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@pytest.fixture
async def mallory(strict: Rookery) -> Person:
    return await sign_up(strict.url, "mallory")


# ---- frames


@each_transport
async def test_a_flood_is_refused_frame_by_frame_and_the_session_lives(
    strict: Rookery, mallory: Person, transport: str
) -> None:
    flood = FRAME_BURST + FRAMES_PER_SECOND + 50  # the burst, and the rate of the second that this may take
    refused: list[pb.Refused] = []
    async with open_session(connector(strict, transport), mallory) as session:
        with trio.fail_after(PATIENCE):
            while not refused:  # a busy machine may be too slow for a flood
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(send_pings, session, flood)
                    answers = [await session.receive() for _ in range(flood)]
                refused = [frame.refused for frame in answers if frame.HasField("refused")]
        assert {(each.code, each.retryable) for each in refused} == {("rate_limited", True)}
        await trio.sleep(2 * refused[-1].retry_after_ms / 1000)
        await session.check_alive()


async def send_pings(session: Session, number: int) -> None:
    for _ in range(number):
        await session.send_frame(ping=pb.Ping())


BAD_COMMANDS: dict[str, tuple[Message, str, str]] = {
    "no target": (pb.Send(client_message_id="a", text=pb.Text(body="x")), "invalid", "send.chat_id"),
    "no id": (pb.Send(recipient_id=1, text=pb.Text(body="x")), "invalid", "send.client_message_id"),
    "long id": (text_to(1, "x", "i" * 65), "invalid", "send.client_message_id"),
    "no text": (pb.Send(client_message_id="a", recipient_id=1), "invalid", "send.text"),
    "white space": (text_to(1, " \t\n\u3000"), "invalid", "send.text.body"),
    "long text": (text_to(1, "é" * 8193), "too_large", "send.text.body"),
    "unknown user": (text_to(12345, "x"), "not_found", "send.recipient_id"),
    "id below": (text_to(-1, "x"), "invalid", "send.recipient_id"),
    "no such chat": (text_to("'; DROP TABLE chats; --", "x"), "not_found", "send.chat_id"),
    "another's chat": (text_to("d-1-2", "x"), "not_found", "send.chat_id"),
    "word as emoji": (change_to("d-1-2", 1, reacted=pb.Reacted(emoji="<b>")), "not_found", "change.chat_id"),
    "empty mark": (change_to("d-1-2", marked=pb.Marked()), "not_found", "change.chat_id"),
    "long change id": (change_to("d-1-2", 1, "i" * 65, deleted=pb.Deleted()), "invalid", "change.client_change_id"),
    "no kind": (change_to("d-1-2", 1), "malformed", "change"),
    "long ping": (pb.Ping(payload=b"x" * 129), "too_large", "ping.payload"),
    "second sign-in": (pb.Authenticate(access_token="x"), "out_of_order", ""),
    "bad renewal": (pb.Renew(access_token="x"), "unauthenticated", ""),
}


@each_transport
async def test_each_bad_frame_is_refused_for_itself_and_the_session_lives(
    strict: Rookery, mallory: Person, transport: str
) -> None:
    async with open_session(connector(strict, transport), mallory) as session:
        await session.send_frame()
        empty = (await session.next("refused")).refused
        assert (empty.code, empty.frame) == ("malformed", 2)
        for number, (command, code, field) in enumerate(BAD_COMMANDS.values()):
            refused = (await session.answer(**{command.DESCRIPTOR.name.lower(): command})).refused
            assert (refused.code, refused.field, refused.frame) == (code, field, number + 3), refused
            assert refused.client_id == client_id_of(command)[:64]
        await session.check_alive()


def client_id_of(command: Message) -> str:
    client_id: str = getattr(command, "client_message_id", "") or getattr(command, "client_change_id", "")
    return client_id


BAD_TEXTS = {
    "not JSON": "}{",
    "nothing": "",
    "a list": "[]",
    "null": "null",
    "two kinds": '{"ping": {}, "typing": {"chat_id": "x"}}',
    "a number for a text": '{"send": {"client_message_id": 7}}',
    "a list for an object": '{"send": []}',
    "too large an id": '{"send": {"recipient_id": "9223372036854775808"}}',
    "half an id": '{"send": {"recipient_id": 1.5}}',
    "not base64": '{"ping": {"payload": "?"}}',
    "deep": "[" * 10_000,
    "half a character": '{"typing": {"chat_id": "\\ud800"}}',
}


async def test_each_bad_text_is_refused_for_itself_and_the_session_lives(strict: Rookery, mallory: Person) -> None:
    async with open_websocket(strict.websocket) as websocket:
        await websocket.send_message(json.dumps({"authenticate": {"access_token": mallory.access_token}, "new": 1}))
        assert "welcome" in await receive(websocket)
        for name, text in BAD_TEXTS.items():
            await websocket.send_message(text)
            assert (await receive(websocket))["refused"]["code"] == "malformed", name
        await websocket.send_message('{"ping": {"payload": "eA==", "unknown": {"field": []}}}')
        assert (await receive(websocket))["pong"] == {"payload": "eA=="}


async def receive(websocket: trio_websocket.WebSocketConnection) -> dict[str, dict[str, object]]:
    with trio.fail_after(PATIENCE):
        frame: dict[str, dict[str, object]] = json.loads(await websocket.get_message())
    return frame


@each_transport
async def test_too_large_a_frame_ends_that_session_alone(strict: Rookery, mallory: Person, transport: str) -> None:
    connect = connector(strict, transport)
    async with open_session(connect, mallory) as session, open_session(connect, mallory) as other:
        with pytest.raises(Unreachable):  # noqa: PT012 - the server may close before the whole frame is sent
            await session.send_frame(ping=pb.Ping(payload=b"x" * 2_000_000))
            await session.receive()
        await other.check_alive()


@pytest.mark.parametrize("name", ["page", "websocket", "grpc", "archive", "gateway_health", "archive_health"])
async def test_a_connection_without_a_known_protocol_is_closed(strict: Rookery, name: str) -> None:
    for data in (b"\x00" * 1000, b"\xff\xfe" * 40_000, b"GET " + b"/" * 100_000, b"\r\n\r\n"):
        await send_bytes(strict.addresses[name], data)


# ---- lost clients


HALVES = {
    "websocket": b"GET /session HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n",
    "grpc": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00",
    "page": b"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
}


@pytest.mark.parametrize("name", HALVES)
async def test_hundreds_of_clients_lost_in_a_handshake_leave_nothing_behind(strict: Rookery, name: str) -> None:
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def vanish(number: int) -> None:
        async with limiter:
            stream = await trio.open_tcp_stream("127.0.0.1", port_of(strict.addresses[name]))
            if number % 2:
                stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            await stream.send_all(HALVES[name][: number % len(HALVES[name])])
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        for number in range(VANISHING):
            nursery.start_soon(vanish, number)


@each_transport
async def test_sessions_without_a_goodbye_leave_nothing_behind(
    strict: Rookery, mallory: Person, transport: str
) -> None:
    for _ in range(20):  # more than the limit of one user
        async with connector(strict, transport)() as stream:
            await Session(stream).authenticate(mallory.access_token)
