"""The client over TLS: it talks to whom it may trust, and says whom it does not."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio_websocket

from bff.http.server import open_http_server
from rookery.client import GatewayEndpoints, Unreachable, open_api
from rookery.client.connection import SessionStream, connect_grpc
from rookery.client.trust import client_tls
from rookery.client.websocket import SUBPROTOCOL, connect_websocket
from rookery.load.grpc import open_grpc_sessions
from rookery.load.run import Load, Plan
from rookery.load.sessions import LoadUser
from rookery.load.websocket import open_websocket_sessions
from rookery.v1 import session_pb2 as pb
from rookery.v1.session_grpc import SessionServiceServicer
from shared.background import open_background
from shared.contract.wire import from_json, to_json
from shared.net.listening import listen, port_of
from shared.net.pem import UnusableCertificate
from shared.net.tls import ServerTls
from shared.rpc import ServerStream, serve_rpc, stream_handler
from tools.launch.certificates import Authority

PATIENCE = 20.0
"""Seconds; only ends a test that has failed."""

WELCOME = pb.ServerFrame(sequence=1, welcome=pb.Welcome(session_id="s", user_id=7))

Connect = Callable[..., Any]
Serve = Callable[[ServerTls, trio.Nursery], Awaitable[str]]


class Welcomes(SessionServiceServicer):
    """Welcomes everyone, accepts whatever they send, and sends it back."""

    @stream_handler
    async def Connect(self, input_messages: ServerStream[pb.ClientFrame, pb.ServerFrame]) -> None:
        await input_messages.receive()
        await input_messages.send(WELCOME)
        while (frame := await input_messages.receive()) is not None:
            for answer in answers(frame):
                await input_messages.send(answer)


def answers(frame: pb.ClientFrame) -> list[pb.ServerFrame]:
    """That it is accepted, and what its recipient gets."""
    key = frame.send.client_message_id
    event = pb.Event(message=pb.Message(client_message_id=key, text=frame.send.text))
    return [pb.ServerFrame(accepted=pb.Accepted(client_message_id=key)), pb.ServerFrame(event=event)]


async def serve_grpc(tls: ServerTls, nursery: trio.Nursery) -> str:
    listeners = await listen("127.0.0.1", 0, tls=tls, alpn="h2")
    await nursery.start(serve_rpc, [Welcomes()], listeners)
    return f"grpcs://127.0.0.1:{port_of(listeners)}"


async def serve_websocket(tls: ServerTls, nursery: trio.Nursery) -> str:
    listeners = await listen("127.0.0.1", 0, tls=tls)

    async def welcome(stream: trio.abc.Stream) -> None:
        try:
            async with open_background() as background:
                request = await trio_websocket.wrap_server_stream(background, stream)
                websocket = await request.accept(subprotocol=SUBPROTOCOL)
                await websocket.get_message()
                await websocket.send_message(to_json(WELCOME).decode())
                while True:
                    frame = from_json(pb.ClientFrame, await websocket.get_message())
                    assert isinstance(frame, pb.ClientFrame)
                    for answer in answers(frame):
                        await websocket.send_message(to_json(answer).decode())
        except* (trio.BrokenResourceError, trio_websocket.ConnectionClosed):
            pass

    await nursery.start(trio.serve_listeners, welcome, listeners)
    return f"wss://127.0.0.1:{port_of(listeners)}/session"


TRANSPORTS = pytest.mark.parametrize(
    ("serve", "connect"), [(serve_grpc, connect_grpc), (serve_websocket, connect_websocket)], ids=["grpcs", "wss"]
)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "certificates")


@pytest.fixture
def tls(authority: Authority) -> ServerTls:
    issued = authority.issue()
    return ServerTls(issued.settings(), issued.certificate)


async def welcomed(stream: SessionStream) -> pb.ServerFrame | None:
    with trio.fail_after(PATIENCE):
        await stream.send(pb.ClientFrame())
        return await stream.receive()


@TRANSPORTS
async def test_a_gateway_of_the_authority_is_trusted(
    serve: Serve, connect: Connect, tls: ServerTls, authority: Authority, nursery: trio.Nursery
) -> None:
    endpoint = await serve(tls, nursery)
    async with connect(endpoint, authority.file) as stream:
        assert await welcomed(stream) == WELCOME


@TRANSPORTS
async def test_a_gateway_of_nobody_we_know_is_unreachable(
    serve: Serve, connect: Connect, tls: ServerTls, tmp_path: Path, nursery: trio.Nursery
) -> None:
    endpoint = await serve(tls, nursery)
    for ca_file in (None, Authority(tmp_path / "other").file):
        with pytest.raises(Unreachable, match="local issuer"):
            async with connect(endpoint, ca_file) as stream:
                await welcomed(stream)


@TRANSPORTS
async def test_a_gateway_with_a_certificate_for_another_name_is_unreachable(
    serve: Serve, connect: Connect, authority: Authority, nursery: trio.Nursery
) -> None:
    issued = authority.issue("other", "chat.example.org")
    endpoint = await serve(ServerTls(issued.settings(), issued.certificate), nursery)
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1"):
        async with connect(endpoint, authority.file) as stream:
            await welcomed(stream)


@pytest.mark.parametrize("secure", ["grpcs", "wss"])
async def test_a_gateway_without_tls_is_unreachable_where_there_must_be(
    secure: str, authority: Authority, nursery: trio.Nursery
) -> None:
    (listener,) = await listen("127.0.0.1", 0)
    if secure == "grpcs":
        await nursery.start(serve_rpc, [Welcomes()], [listener])
    else:
        await nursery.start(trio.serve_listeners, _talk_plainly, [listener])
    with pytest.raises(Unreachable):
        async with (connect_grpc if secure == "grpcs" else connect_websocket)(
            f"{secure}://127.0.0.1:{port_of([listener])}", authority.file
        ) as stream:
            await welcomed(stream)


async def _talk_plainly(stream: trio.abc.Stream) -> None:
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")


async def test_a_bff_is_trusted_as_a_gateway_is(tls: ServerTls, authority: Authority) -> None:
    async def not_signed_in(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b'{"user_id": "7", "name": "ada", "display_name": "Ada"}'})

    async with open_http_server(not_signed_in, "127.0.0.1", 0, tls=tls) as server:
        url = f"https://127.0.0.1:{server.address[1]}"
        async with open_api(url, "ada", "password", ca_file=authority.file) as api:
            assert (await api.register()).user_id == 7
        async with open_api(url, "ada", "password") as api:
            with pytest.raises(Unreachable, match=f"no answer from {url}: .*certificate verify failed"):
                await api.register()


async def test_an_authority_that_can_not_be_read_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(UnusableCertificate, match=r"none\.pem"):
        async with open_api("https://127.0.0.1:1", "ada", "password", ca_file=tmp_path / "none.pem"):
            pass


def test_authorities_are_read_once(authority: Authority) -> None:
    assert client_tls(authority.file, "h2") is client_tls(authority.file, "h2")
    assert client_tls(authority.file, "h2") is not client_tls(authority.file, "http/1.1")


@pytest.mark.parametrize("transport", ["grpcs", "wss"])
async def test_a_load_can_be_put_on_gateways_with_tls(
    transport: str, tls: ServerTls, authority: Authority, nursery: trio.Nursery
) -> None:
    size = 40_000  # bytes: more than a record of TLS has
    serve, opened = (
        (serve_grpc, open_grpc_sessions) if transport == "grpcs" else (serve_websocket, open_websocket_sessions)
    )
    plan = Plan("https://127.0.0.1", users=2, rate=100, seconds=0.1, warm_up=0.02, size=size)
    endpoint = await serve(tls, nursery)
    gateway = GatewayEndpoints(websocket=endpoint, grpc=endpoint)
    users = [LoadUser(1, 2, "token", gateway), LoadUser(2, 1, "token", gateway)]
    async with opened(users, "run-", size, authority.file) as sessions:
        with trio.fail_after(PATIENCE):
            report, *_ = await Load(plan, sessions, "run-").run(())
    assert report.sent == report.delivered.count > 5
    assert (report.lost, report.unanswered, report.errors) == (0, 0, {})
