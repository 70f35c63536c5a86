"""Sessions of native apps: one bidirectional gRPC stream each."""

from collections.abc import Sequence
from functools import partial
from typing import cast

from messaging.gateway.connection import Connection, Flusher, Rest
from messaging.gateway.frames import ProtobufEncoding
from messaging.gateway.gateway import Gateway
from rookery.v1.session_grpc import SessionServiceServicer
from rookery.v1.session_pb2 import ClientFrame, ServerFrame
from shared.rpc import ServerStream, stream_handler


class NativeTransport:
    """A Transport over one gRPC stream. If that is reset, or its connection ends, the session is cancelled."""

    def __init__(self, stream: ServerStream[ClientFrame, ServerFrame]) -> None:
        self._stream = stream

    async def receive(self) -> ClientFrame | None:
        return await self._stream.receive()

    def send(self, frames: list[str | bytes]) -> Rest:
        return partial(self._stream.send_encoded, cast(Sequence[bytes], frames))


class SessionService(SessionServiceServicer):
    """The gRPC service of a gateway."""

    def __init__(self, gateway: Gateway, flusher: Flusher) -> None:
        self._gateway = gateway
        self._flusher = flusher

    @stream_handler
    async def Connect(self, stream: ServerStream[ClientFrame, ServerFrame]) -> None:
        """One session."""
        session = self._gateway.open_session(ProtobufEncoding())
        try:
            await Connection(self._gateway, session, NativeTransport(stream), self._flusher).run()
        finally:
            self._gateway.close_session(session)
