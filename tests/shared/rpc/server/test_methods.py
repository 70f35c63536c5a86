"""The methods of a server: which are served, and how a unary one is called."""

# The generated base class calls every request `input_message`:
# pyright: reportIncompatibleMethodOverride=false

import pytest

from rookery.v1.session_grpc import SessionServiceServicer
from rookery.v1.session_pb2 import ClientFrame, ServerFrame
from shared.rpc import Limits, RpcError, ServerStream, Status
from shared.rpc.framing import PREFIX
from shared.rpc.server.methods import Methods
from tests.shared.rpc.conftest import GET_CHAT, ConnectRaw


async def test_a_unary_call_takes_one_message(connect_raw: ConnectRaw) -> None:
    client = await connect_raw()
    stream_id = await client.call(GET_CHAT)
    await client.send(stream_id, 2 * PREFIX.pack(0, 0), end=True)
    assert (await client.status_of(stream_id))[0] == Status.UNIMPLEMENTED


def test_a_streaming_method_without_a_stream_handler_is_refused_at_the_start() -> None:
    class Sessions(SessionServiceServicer):
        async def Connect(self, stream: ServerStream[ClientFrame, ServerFrame]) -> None: ...

    with pytest.raises(TypeError, match="Connect"):
        Methods([Sessions()], (), Limits())


def test_a_method_that_is_left_as_generated_is_unimplemented() -> None:
    found = Methods([SessionServiceServicer()], (), Limits()).find("rookery.v1.SessionService", "Connect")
    assert isinstance(found, RpcError)
    assert found.status is Status.UNIMPLEMENTED
