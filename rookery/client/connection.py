"""The connection that carries a session: what the client needs of one, and the one over gRPC."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

from rookery.client.errors import Unreachable
from rookery.v1.session_grpc import SessionServiceStub
from rookery.v1.session_pb2 import ClientFrame, ServerFrame
from shared.rpc import ClientStream, RpcError, open_channel, open_stream


class SessionStream(Protocol):
    """Frames both ways, in order. Every method raises Unreachable if the connection is lost."""

    async def send(self, frame: ClientFrame) -> None: ...

    async def receive(self) -> ServerFrame | None:
        """The next frame; None if the server has ended the session."""
        ...


@asynccontextmanager
async def connect_grpc(endpoint: str) -> AsyncIterator[SessionStream]:
    """A new session at `host:port`. Raises Unreachable."""
    host, _, port = endpoint.rpartition(":")
    if not port.isdecimal():
        raise Unreachable(f"{endpoint!r} is not a host and a port")
    with _unreachable():
        async with (
            open_channel(host.strip("[]"), int(port)) as channel,
            open_stream(SessionServiceStub(channel).Connect) as stream,
        ):
            yield _GrpcSession(stream)


class _GrpcSession:
    def __init__(self, stream: ClientStream[ServerFrame, ClientFrame]) -> None:
        self._stream = stream

    async def send(self, frame: ClientFrame) -> None:
        with _unreachable():
            await self._stream.send(frame)

    async def receive(self) -> ServerFrame | None:
        with _unreachable():
            return await self._stream.receive()


@contextmanager
def _unreachable() -> Iterator[None]:
    """Map what the transport raises, once, here."""
    try:
        yield
    except (RpcError, OSError) as error:
        raise Unreachable(str(error)) from error
