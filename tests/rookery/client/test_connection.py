"""The client over both real transports."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from rookery.client import Client, Message, Unreachable, open_client
from rookery.client.connection import CONNECT_DEADLINE, SessionStream, connect_grpc
from rookery.client.reconnector import Transport
from rookery.client.websocket import connect_websocket
from tests.rookery.client.gateways import EchoGateway, Serve, serve_grpc, serve_websocket


def opened(bff: Any, transport: Transport, endpoint: str) -> AbstractAsyncContextManager[Client]:
    """Open a client whose gateway is at the endpoint of its transport; the other endpoint is unreachable."""
    nowhere = {"websocket": "ws://127.0.0.1:1/", "grpc": "127.0.0.1:1"}
    bff.answers["GET /v1/me/gateway"] = 200, nowhere | {transport: endpoint}
    return open_client("http://bff", "ada", bff.password, transport=transport, http_transport=bff.transport)


@pytest.mark.parametrize(("transport", "serve"), [("grpc", serve_grpc), ("websocket", serve_websocket)])
async def test_messages_are_sent_and_received(
    transport: Transport, serve: Serve, bff: Any, nursery: trio.Nursery
) -> None:
    gateway = EchoGateway()
    async with opened(bff, transport, await serve(gateway, nursery, None)) as client:
        assert (await client.send(9, "héllo")).chat_id == "d-7-9"
        events = client.events()
        while not isinstance(event := await anext(events), Message):
            pass
    assert event.text.body == "héllo"
    assert gateway.authenticate.access_token == bff.token


@pytest.mark.parametrize(
    ("transport", "serve", "text"),
    [
        ("grpc", serve_grpc, "close"),
        ("websocket", serve_websocket, "close"),
        ("websocket", serve_websocket, "nonsense"),
    ],
)
async def test_a_message_survives_a_broken_connection(
    transport: Transport, serve: Serve, text: str, bff: Any, nursery: trio.Nursery
) -> None:
    async with opened(bff, transport, await serve(EchoGateway(), nursery, None)) as client:
        accepted = await client.send(9, text)
    assert accepted.event_id > 200  # by the second session


@pytest.mark.parametrize("endpoint", ["127.0.0.1:1", "nonsense"])
async def test_an_endpoint_that_does_not_answer_is_unreachable(endpoint: str) -> None:
    with pytest.raises(Unreachable):
        async with connect_grpc(endpoint):
            pass


@pytest.mark.parametrize(("connect", "scheme"), [(connect_grpc, ""), (connect_websocket, "ws://")])
async def test_a_frozen_gateway_gets_the_same_time_for_its_handshake_on_both_transports(
    connect: Callable[[str], AbstractAsyncContextManager[SessionStream]],
    scheme: str,
    autojump_clock: MockClock,
) -> None:
    """Its kernel accepts the connection."""
    listener: trio.SocketListener
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        begin = trio.current_time()
        with pytest.raises(Unreachable):
            async with connect(f"{scheme}127.0.0.1:{listener.socket.getsockname()[1]}"):
                pass
        assert CONNECT_DEADLINE <= trio.current_time() - begin < CONNECT_DEADLINE + 1
