"""Sessions of native apps: one bidirectional gRPC stream each."""

from collections.abc import Sequence
from typing import cast

from messaging.gateway.connection import converse
from messaging.gateway.frames import ProtobufEncoding
from messaging.gateway.gateway import Gateway
from rookery.v1.session_grpc import SessionServiceServicer
from rookery.v1.session_pb2 import ClientFrame, ServerFrame
from shared.errors import Refusal
from shared.rpc import ServerStream, stream_handler


class NativeTransport(SessionServiceServicer):
    """The gRPC service of a gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    @stream_handler
    async def Connect(self, stream: ServerStream[ClientFrame, ServerFrame]) -> None:
        """One session. A stream that is reset or whose connection ends cancels it."""

        async def receive() -> ClientFrame | Refusal | None:
            return await stream.receive()

        async def send(frames: list[str | bytes]) -> None:
            await stream.send_encoded(cast(Sequence[bytes], frames))

        session = self._gateway.open_session(ProtobufEncoding())
        try:
            await converse(self._gateway, session, receive, send)
        finally:
            self._gateway.close_session(session)
