"""What the interop cases of other languages have found in our server and client, each as small as it can be."""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from rookery.v1.archive_grpc import ArchiveServiceServicer, ArchiveServiceStub
from rookery.v1.archive_pb2 import GetChatRequest
from rookery.v1.session_grpc import SessionServiceServicer, SessionServiceStub
from rookery.v1.session_pb2 import ClientFrame
from shared.rpc import Channel, RpcError, Servicer, Status, open_channel, open_stream, serve_rpc


def get_chat(channel: Channel) -> Any:
    return ArchiveServiceStub(channel).GetChat


def connect(channel: Channel) -> Any:
    return SessionServiceStub(channel).Connect


@pytest.mark.parametrize(
    ("servicer", "method", "request_message"),
    [(ArchiveServiceServicer(), get_chat, GetChatRequest()), (SessionServiceServicer(), connect, ClientFrame())],
)
async def test_a_method_that_is_left_as_it_was_generated_is_unimplemented(
    servicer: Servicer, method: Callable[[Channel], Any], request_message: Any, nursery: trio.Nursery
) -> None:
    """unimplemented_method, by grpc-go: it was INTERNAL, or kept the server from starting."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(serve_rpc, [servicer], listeners)
    async with open_channel("127.0.0.1", listeners[0].socket.getsockname()[1]) as channel:
        async with open_stream(method(channel)) as stream:
            await stream.send(request_message)
            with pytest.raises(RpcError) as caught:
                await stream.receive()
        assert caught.value.status is Status.UNIMPLEMENTED
