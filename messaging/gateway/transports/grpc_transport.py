"""Sessions of native apps: one bidirectional gRPC stream each."""

from collections.abc import Sequence
from functools import partial

import trio

from messaging.gateway.frames import ProtobufEncoding
from messaging.gateway.gateway import Gateway
from messaging.gateway.transports.connection import Connection, ConnectionLost, Flusher, SendUnsent
from rookery.v1.session_grpc import SessionServiceServicer
from rookery.v1.session_pb2 import ClientFrame, ServerFrame
from shared.contract.errors import Code, Refusal
from shared.rpc import RpcError, ServerStream, Status, stream_handler

MAX_UNSIGNED = 1_024
"""Sessions that have not signed in yet, some 20 KiB each. One more ends the oldest: a good client signs in with its
first bytes, so the evicted ones are idle."""


class GrpcTransport:
    """A Transport over one gRPC stream. If the stream is reset, or its connection ends, the session is cancelled."""

    def __init__(self, stream: ServerStream[ClientFrame, ServerFrame], gateway: Gateway) -> None:
        self._stream = stream
        self._gateway = gateway
        self.failure: RpcError | None = None
        """Why the stream has failed, such as bytes that are no message."""

    async def receive(self) -> ClientFrame | Refusal | None:
        try:
            frame = await self._stream.receive()
        except RpcError as error:
            self.failure = error.again()
            raise ConnectionLost from None
        limit = self._gateway.live.value.max_frame_bytes
        if frame is not None and frame.ByteSize() > limit:
            return Refusal(Code.TOO_LARGE, f"A frame may have {limit} bytes at most.")
        return frame

    def send(self, frames: list[bytes]) -> SendUnsent:
        return partial(self._send, frames)

    async def _send(self, frames: Sequence[bytes]) -> None:
        try:
            await self._stream.send_encoded(frames)
        except RpcError as error:
            self.failure = error.again()
            raise ConnectionLost from None


class SessionService(SessionServiceServicer):
    """The gRPC service of a gateway."""

    def __init__(self, gateway: Gateway, flusher: Flusher) -> None:
        self._gateway = gateway
        self._flusher = flusher
        self._unsigned: dict[trio.CancelScope, None] = {}
        self.max_unsigned = MAX_UNSIGNED

    @stream_handler
    async def Connect(self, stream: ServerStream[ClientFrame, ServerFrame]) -> None:
        """Serve one session. The stream ends with OK after a Goodbye; else with the status of its failure."""
        scope = self._admit()
        session = self._gateway.open_session(ProtobufEncoding())

        def sign_in() -> None:
            self._unsigned.pop(scope, None)
            stream.authenticate()

        session.on_sign_in = sign_in
        transport = GrpcTransport(stream, self._gateway)
        try:
            with scope:
                await Connection(self._gateway.dispatcher, session, transport, self._flusher).run()
        finally:
            self._unsigned.pop(scope, None)
            self._gateway.close_session(session)
            if session.user_id:  # it has signed in
                stream.end_authentication()
        if scope.cancelled_caught:
            raise RpcError(Status.UNAVAILABLE, "too many sessions of clients that have not signed in: connect again")
        if transport.failure is not None:
            raise transport.failure.again()

    def _admit(self) -> trio.CancelScope:
        """Return the scope of a session that has not signed in yet. One too many ends the oldest."""
        if len(self._unsigned) >= self.max_unsigned:
            oldest = next(iter(self._unsigned))
            del self._unsigned[oldest]
            oldest.cancel()
        scope = trio.CancelScope()
        self._unsigned[scope] = None
        return scope
