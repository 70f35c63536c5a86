"""The client over real WebSockets, against a gateway that answers by a script."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio_websocket
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from rookery.client import Message, SessionStream, Unreachable, open_client
from rookery.client.websocket import CLOSE_DEADLINE, SUBPROTOCOL, connect_websocket
from rookery.v1 import session_pb2 as pb
from shared.contract.errors import Refusal
from shared.contract.wire import from_json, to_json


class ScriptedGateway:
    """Welcomes everyone, accepts every message and sends it back as another's; does what some texts say."""

    def __init__(self) -> None:
        self.sessions = 0
        self.protocols: tuple[str, ...] = ()
        self.authenticate = pb.Authenticate()

    async def serve(self, request: trio_websocket.WebSocketRequest) -> None:
        self.sessions += 1
        self.protocols = tuple(request.proposed_subprotocols)
        if request.path != "/session?to=me":
            await request.reject(404)
            return
        websocket = await request.accept(subprotocol=SUBPROTOCOL)
        with suppress(trio_websocket.ConnectionClosed):
            await self._converse(websocket)

    async def _converse(self, websocket: trio_websocket.WebSocketConnection) -> None:
        self.authenticate = (await hear(websocket)).authenticate
        welcome = pb.Welcome(session_id="s", user_id=7, limits=pb.Limits(max_unanswered_sends=8))
        await say(websocket, 1, welcome=welcome)
        sequence = 1
        while True:
            send = (await hear(websocket)).send
            if send.text.body == "close" and self.sessions == 1:
                await websocket.aclose()
                return
            if send.text.body == "nonsense" and self.sessions == 1:
                await websocket.send_message("{")
                continue
            message_id = self.sessions * 100 + sequence
            key = send.client_message_id
            await say(websocket, sequence + 1, accepted=pb.Accepted(client_message_id=key, message_id=message_id))
            echo = pb.Message(message_id=message_id + 1_000, sender_id=9, client_message_id=key, text=send.text)
            await say(websocket, sequence + 2, event=pb.Event(event_id=echo.message_id, message=echo))
            sequence += 2


async def hear(websocket: trio_websocket.WebSocketConnection) -> pb.ClientFrame:
    frame = from_json(pb.ClientFrame, await websocket.get_message())
    assert not isinstance(frame, Refusal)
    return frame


async def say(websocket: trio_websocket.WebSocketConnection, sequence: int, **frame: Any) -> None:
    await websocket.send_message(to_json(pb.ServerFrame(sequence=sequence, **frame)).decode())


@pytest.fixture
def scripted() -> ScriptedGateway:
    return ScriptedGateway()


@pytest.fixture
async def url(scripted: ScriptedGateway, nursery: trio.Nursery) -> str:
    server = await nursery.start(trio_websocket.serve_websocket, scripted.serve, "127.0.0.1", 0, None)
    return f"ws://127.0.0.1:{server.port}/session?to=me"


def answer_with(bff: Any, url: str) -> None:
    """Where the BFF sends the client; nothing listens at the address for gRPC."""
    bff.answers["GET /v1/me/gateway"] = 200, {"websocket": url, "grpc": "127.0.0.1:1"}


async def test_messages_go_out_and_come_in(scripted: ScriptedGateway, url: str, bff: Any) -> None:
    answer_with(bff, url)
    async with open_client(
        "http://bff", "ada", bff.password, transport="websocket", http_transport=bff.transport
    ) as client:
        await client.send(9, "héllo")
        events = client.events()
        while not isinstance(event := await anext(events), Message):
            pass
    assert event.text.body == "héllo"
    assert scripted.protocols == (SUBPROTOCOL,)
    assert scripted.authenticate.access_token == bff.token


@pytest.mark.parametrize("text", ["close", "nonsense"])
async def test_a_message_survives_a_connection_that_ends(
    scripted: ScriptedGateway, url: str, bff: Any, text: str
) -> None:
    answer_with(bff, url)
    async with open_client(
        "http://bff", "ada", bff.password, transport="websocket", http_transport=bff.transport
    ) as client:
        accepted = await client.send(9, text)
    assert accepted.message_id > 200  # taken by the second session


async def test_moved_leads_to_the_other_gateways_websocket(gateway: Any, bff: Any) -> None:
    async with trio.open_nursery() as nursery:
        endpoints = []

        @nursery.start_soon
        async def send_on() -> None:
            first = await gateway.welcome_next()
            first.say(pb.ServerFrame(moved=pb.Moved(websocket="ws://other/session", grpc="other:2")))
            second = await gateway.welcome_next()
            endpoints.extend([first.endpoint, second.endpoint])
            second.accept(await second.hear(), 100)

        async with open_client(
            "http://bff", "ada", bff.password,
            transport="websocket", connect=gateway.connect, http_transport=bff.transport,
        ) as client:  # fmt: skip
            await client.send(9, "hi")
    assert endpoints == ["ws://gateway/session", "ws://other/session"]


@pytest.mark.parametrize("bad", ["ws://127.0.0.1:1/session", "wss://127.0.0.1:1/", "http://127.0.0.1", "nonsense", ""])
async def test_an_address_that_does_not_answer_is_unreachable(bad: str) -> None:
    with pytest.raises(Unreachable):
        async with connect_websocket(bad):
            pass


async def test_a_server_that_is_none_of_ours_is_unreachable(url: str) -> None:
    with pytest.raises(Unreachable, match="404"):
        async with connect_websocket(url.replace("to=me", "to=nobody")):
            pass


async def test_a_server_that_never_answers_is_unreachable(autojump_clock: Any) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        with pytest.raises(Unreachable, match="no WebSocket within 10 s"):
            async with connect_websocket(f"ws://127.0.0.1:{port}/session"):
                pass


@asynccontextmanager
async def silent_server() -> AsyncIterator[int]:
    """Takes connections and shakes hands, and then reads nothing."""

    async def serve(request: trio_websocket.WebSocketRequest) -> None:
        await request.accept(subprotocol=SUBPROTOCOL)
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        server = await nursery.start(trio_websocket.serve_websocket, serve, "127.0.0.1", 0, None)
        yield server.port
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("leave", ["by_the_end", "cancelled"])
async def test_leaving_is_prompt(leave: str) -> None:
    async with silent_server() as port:
        with trio.fail_after(CLOSE_DEADLINE + 20), trio.CancelScope() as scope:
            async with connect_websocket(f"ws://127.0.0.1:{port}/session") as stream:
                stream_of: SessionStream = stream
                await stream_of.send(pb.ClientFrame(ping=pb.Ping()))
                if leave == "cancelled":
                    scope.cancel()
                    await trio.lowlevel.checkpoint()


async def test_a_server_without_a_certificate_that_counts_is_unreachable(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed_certificate(tmp_path))
    async with trio.open_nursery() as nursery:

        async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
            with suppress(trio.BrokenResourceError):
                await stream.do_handshake()

        (listener,) = await nursery.start(partial(trio.serve_ssl_over_tcp, serve, 0, context, host="127.0.0.1"))
        port = listener.transport_listener.socket.getsockname()[1]
        with pytest.raises(Unreachable, match="self-signed"):
            async with connect_websocket(f"wss://localhost:{port}/session"):
                pass
        nursery.cancel_scope.cancel()


def self_signed_certificate(folder: Path) -> Path:
    """A file with a certificate for localhost that nobody vouches for, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file = folder / "server.pem"
    file.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
    return file
