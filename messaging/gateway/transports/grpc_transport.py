"""Sessions of native apps: one bidirectional gRPC stream each."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

import trio

from messaging.gateway.frames import ProtobufEncoding
from messaging.gateway.gateway import Gateway
from messaging.gateway.transports.connection import Connection, ConnectionLost, Flusher, SendUnsent
from rookery.v1.session_grpc import SessionServiceServicer
from rookery.v1.session_pb2 import ClientFrame, ServerFrame
from shared.contract.errors import Code, Refusal
from shared.net.client_address import address_key
from shared.rpc import RpcError, ServerStream, Status, stream_handler

Key = TypeVar("Key", str, int)

MAX_UNSIGNED = 1_024
"""Sessions whose client has sent no valid token yet, some 20 KiB each. One more ends the oldest of the address with the
most: a good client sends its token with its first bytes, so the evicted ones are idle. Once the token's signature is
verified, the session only counts among those of its user that sign in: so many as may be signed in, of which one more
ends the oldest."""


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
        self._unsigned = _Sessions[str]()
        """By address, up to the check of the token's signature."""
        self._verified = _Sessions[int]()
        """By user, from the check of the token's signature to the sign-in."""
        self.max_unsigned = MAX_UNSIGNED

    @stream_handler
    async def Connect(self, stream: ServerStream[ClientFrame, ServerFrame]) -> None:
        """Serve one session. The stream ends with OK after a Goodbye; else with the status of its failure."""
        scope = trio.CancelScope()
        leave = self._admit(address_key(stream.peer.rpartition(":")[0]), scope)
        session = self._gateway.open_session(ProtobufEncoding())

        def verify(user_id: int) -> None:
            nonlocal leave
            leave()
            leave = self._admit_verified(user_id, scope)

        def sign_in() -> None:
            leave()
            stream.authenticate()

        session.on_verified, session.on_sign_in = verify, sign_in
        transport = GrpcTransport(stream, self._gateway)
        try:
            with scope:
                await Connection(self._gateway.dispatcher, session, transport, self._flusher).run()
        finally:
            leave()
            self._gateway.close_session(session)
            if session.user_id:  # it has signed in
                stream.end_authentication()
        if scope.cancelled_caught:
            raise RpcError(Status.UNAVAILABLE, "too many sessions of clients that have not signed in: connect again")
        if transport.failure is not None:
            raise transport.failure.again()

    def _admit(self, client: str, scope: trio.CancelScope) -> Callable[[], None]:
        """Count a session, of which this is the scope, that has not sent a token. One too many ends the oldest of the
        address with the most. Return the function that counts it no longer."""
        if len(self._unsigned) >= self.max_unsigned:
            self._unsigned.end_oldest(self._unsigned.largest())
        return self._unsigned.add(client, scope)

    def _admit_verified(self, user_id: int, scope: trio.CancelScope) -> Callable[[], None]:
        """Count a session that signs in for this user; as `_admit`."""
        if self._verified.of(user_id) >= self._gateway.live.value.max_sessions_per_user:
            self._verified.end_oldest(user_id)
        return self._verified.add(user_id, scope)


class _Sessions(Generic[Key]):
    """The scopes of sessions by their key, the oldest first."""

    def __init__(self) -> None:
        self._scopes: dict[Key, dict[trio.CancelScope, None]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def of(self, key: Key) -> int:
        """The number of sessions with this key."""
        return len(self._scopes.get(key, ()))

    def largest(self) -> Key:
        """The key of the most sessions; there must be one."""
        return max(self._scopes, key=self.of)

    def add(self, key: Key, scope: trio.CancelScope) -> Callable[[], None]:
        """Add a session. Return the function that removes it, if it is still there."""
        self._scopes.setdefault(key, {})[scope] = None
        self._count += 1
        return partial(self._remove, key, scope)

    def end_oldest(self, key: Key) -> None:
        """Remove the oldest session with this key, and cancel it; there must be one."""
        oldest = next(iter(self._scopes[key]))
        self._remove(key, oldest)
        oldest.cancel()

    def _remove(self, key: Key, scope: trio.CancelScope) -> None:
        scopes = self._scopes.get(key, {})
        if scope in scopes:
            del scopes[scope]
            self._count -= 1
            if not scopes:
                del self._scopes[key]
