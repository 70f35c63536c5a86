"""Responses to requests that are not gRPC calls, such as a browser's, in plain HTTP."""

import trio
from google.protobuf.message import Message
from h2.errors import ErrorCodes

from shared.rpc.status import RpcError
from shared.rpc.streams import MessageStream, StreamConnection

ANSWER = b"This server speaks gRPC: requests are POST, with the content type application/grpc.\n"


class ForeignStream(MessageStream[Message, Message]):
    """A request that is not a gRPC call. Its body is not read."""

    def __init__(self, connection: StreamConnection, stream_id: int) -> None:
        super().__init__(connection, stream_id, Message)
        self._scope = trio.CancelScope()

    async def serve(self) -> None:
        """Respond, and wait for the client to end its request, for `close_timeout` at most: many clients treat an early
        reset as a failure."""
        http2 = self._connection.http2
        with self._scope:
            await trio.lowlevel.checkpoint_if_cancelled()  # it may have been reset already
            self._connection.protocol.respond_to_foreign(self.stream_id, length=len(ANSWER))
            await self._send([ANSWER])
            http2.end_stream(self.stream_id)
            self._connection.flush()
            self._scope.deadline = trio.current_time() + self._connection.limits.close_timeout
            while not self._ended:
                self._arrived = trio.Event()
                await self._arrived.wait()
        self._connection.protocol.reset(self.stream_id, ErrorCodes.NO_ERROR)
        self._connection.flush()

    def data_received(self, data: bytes, flow_controlled_length: int) -> None:
        """Discard the data, and do not open the window for more."""

    def abort(self, error: RpcError) -> None:
        super().abort(error)
        self._scope.cancel()
