"""The stream over WebSocket; tests/rookery/client/test_connection.py tests a client on it, test_trust.py its TLS."""

from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio_websocket
from trio.testing import MockClock

from rookery.client import Refused, Unreachable
from rookery.client.websocket import CLOSE_DEADLINE, SUBPROTOCOL, connect_websocket
from rookery.v1 import session_pb2 as pb
from tests.rookery.client.gateways import PATH, EchoGateway, serve_websocket


async def test_the_subprotocol_is_proposed_and_a_refused_handshake_is_unreachable(nursery: trio.Nursery) -> None:
    gateway = EchoGateway()
    url = await serve_websocket(gateway, nursery)
    async with connect_websocket(url):
        assert (gateway.protocols, gateway.target) == ((SUBPROTOCOL,), PATH)
    with pytest.raises(Unreachable, match="404"):
        async with connect_websocket(url.replace(PATH, "/elsewhere")):
            pass


@pytest.mark.parametrize(("header", "delay_ms"), [([(b"Retry-After", b"5")], 5_000), ([], 0)])
async def test_a_full_gateway_is_tried_again_after_its_delay(
    nursery: trio.Nursery, header: list[tuple[bytes, bytes]], delay_ms: int
) -> None:
    async def serve(request: trio_websocket.WebSocketRequest) -> None:
        await request.reject(503, extra_headers=header)

    server = await nursery.start(trio_websocket.serve_websocket, serve, "127.0.0.1", 0, None)
    with pytest.raises(Refused, match="503") as caught:
        async with connect_websocket(f"ws://127.0.0.1:{server.port}/session"):
            pass
    assert (caught.value.retryable, caught.value.retry_after_ms) == (True, delay_ms)


async def test_a_moved_client_uses_the_websocket_of_the_other_gateway(
    gateway: Any, open_fake_client: Callable[..., Any], nursery: trio.Nursery
) -> None:
    @nursery.start_soon
    async def move() -> None:
        first = await gateway.welcome_next()
        first.reply(pb.ServerFrame(moved=pb.Moved(websocket="ws://other/session", grpc="other:2")))
        await (await gateway.welcome_next()).accept_next()

    async with open_fake_client(transport="websocket") as client:
        await client.send(9, "hi")
    endpoints = [connection.endpoint for connection in gateway.connections]
    assert endpoints == ["ws://gateway/session", "ws://other/session"]


@pytest.mark.parametrize(
    ("transport", "fits", "text"), [("websocket", '"' * 400, '"' * 600), ("grpc", '"' * 600, "x" * 1100)]
)
async def test_a_frame_that_is_too_large_for_the_server_is_refused_here_and_the_next_one_is_sent(
    gateway: Any, open_fake_client: Callable[..., Any], nursery: trio.Nursery, transport: str, fits: str, text: str
) -> None:
    @nursery.start_soon
    async def serve() -> None:
        connection = await gateway.next_connection()
        await connection.welcome(max_frame_bytes=1024)
        await connection.accept_next()

    async with open_fake_client(transport=transport) as client:
        with pytest.raises(Refused, match="A frame may have 1024 bytes at most") as caught:
            await client.send(9, text, client_message_id="a", deadline=3)
        assert (caught.value.code, caught.value.retryable, caught.value.client_id) == ("too_large", False, "a")
        await client.send(9, fits)
    (connection,) = gateway.connections
    assert connection.received[-1].send.text.body == fits


@pytest.mark.parametrize("bad", ["ws://127.0.0.1:1/session", "wss://127.0.0.1:1/", "http://127.0.0.1", "nonsense", ""])
async def test_an_address_that_does_not_answer_is_unreachable(bad: str) -> None:
    with pytest.raises(Unreachable):
        async with connect_websocket(bad):
            pass


async def test_a_server_that_never_answers_is_unreachable(autojump_clock: MockClock) -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        port = listener.socket.getsockname()[1]
        with pytest.raises(Unreachable, match="no WebSocket within 10 s"):
            async with connect_websocket(f"ws://127.0.0.1:{port}/session"):
                pass


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_leaving_is_prompt_even_if_the_server_reads_nothing(is_cancelled: bool, nursery: trio.Nursery) -> None:
    async def serve(request: trio_websocket.WebSocketRequest) -> None:
        await request.accept(subprotocol=SUBPROTOCOL)
        await trio.sleep_forever()

    server = await nursery.start(trio_websocket.serve_websocket, serve, "127.0.0.1", 0, None)
    with trio.fail_after(CLOSE_DEADLINE + 20), trio.CancelScope() as scope:
        async with connect_websocket(f"ws://127.0.0.1:{server.port}/session") as stream:
            await stream.send(pb.ClientFrame(ping=pb.Ping()))
            if is_cancelled:
                scope.cancel()
                await trio.lowlevel.checkpoint()
