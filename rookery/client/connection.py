"""The stream of frames that carries a session: its protocol, and its implementation over gRPC."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Protocol

from rookery.client.errors import Unreachable
from rookery.client.trust import client_tls
from rookery.v1.session_grpc import SessionServiceStub
from rookery.v1.session_pb2 import ClientFrame, ServerFrame
from shared.contract.addresses import GrpcAddress
from shared.rpc import ClientStream, Limits, RpcError, open_channel, open_stream

CONNECT_DEADLINE = 10.0
"""Seconds for the connection and its handshake. A busy gateway may need some; a frozen one never answers."""


class SessionStream(Protocol):
    """Frames in both directions, in order. Every method raises Unreachable if the connection is lost."""

    async def send(self, frame: ClientFrame) -> None: ...

    async def receive(self) -> ServerFrame | None:
        """Return the next frame; None if the server has ended the session."""
        ...


@asynccontextmanager
async def connect_grpc(endpoint: str, ca_file: Path | None = None) -> AsyncIterator[SessionStream]:
    """Open a stream to `host:port`, or with TLS to `grpcs://host:port`. `ca_file` is that of `open_client`.

    Raises Unreachable.
    """
    try:
        address = GrpcAddress.parse(endpoint)
    except ValueError as error:
        raise Unreachable(str(error)) from error
    tls = client_tls(ca_file, "h2") if address.is_secure else None
    with _unreachable():
        async with (
            open_channel(
                address.host, address.port, tls=tls, limits=Limits(connect_timeout=CONNECT_DEADLINE)
            ) as channel,
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
    """Map the transport's exceptions to Unreachable."""
    try:
        yield
    except (RpcError, OSError) as error:
        raise Unreachable(str(error)) from error
