"""How a client's connection is made, over TLS or not, and why it could not be."""

import os
import socket
import ssl
from dataclasses import dataclass

import trio

from shared.rpc.http2 import ALPN


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a server is, and what it is called."""

    host: str
    """An address, or a name that stands for one server."""
    port: int
    authority: str
    """What calls name as the server: `host:port` as it was asked for, or the name that its certificate must have."""
    server_name: str
    """What its certificate must have."""
    addresses: frozenset[tuple[str, int]] = frozenset()
    """What the name stood for when it was looked up: if that changes, it is another server."""


async def connect(endpoint: Endpoint, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    """A connection, without HTTP/2 so far. Raises OSError, or ValueError if the host can't be a name.

    A name with several addresses is tried at all of them, each a quarter of a second after the one before: what
    answers first is taken.
    """
    stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
    if tls is None:
        return stream
    return await secure(stream, tls, endpoint.server_name)


async def secure(
    stream: trio.abc.HalfCloseableStream, tls: ssl.SSLContext, server_name: str
) -> trio.SSLStream["_ReadableAfterReset"]:
    """TLS over the stream, with HTTP/2 as its ALPN protocol. Raises ConnectionError, and closes the stream, if the
    handshake fails."""
    secured = trio.SSLStream(_ReadableAfterReset(stream), tls, server_hostname=server_name, https_compatible=True)
    try:
        await secured.do_handshake()
        if secured.selected_alpn_protocol() != ALPN:
            raise ConnectionError("the server does not take HTTP/2 over TLS (h2 by ALPN)")
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(secured)
        raise ConnectionError(f"TLS failed: {_tls_reason(error.__cause__)}") from error
    except BaseException:
        await trio.aclose_forcefully(secured)
        raise
    return secured


class _ReadableAfterReset(trio.abc.HalfCloseableStream):
    """A stream below TLS that drops what is written after a write has failed.

    An SSLStream reads nothing more once a write has failed, but what the server sent before it reset the connection,
    such as a call's status, is still in the socket's buffer. The reader sees the end of the connection after it.
    """

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream = stream
        self._is_reset = False

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_reset:
            await trio.lowlevel.checkpoint()
            return
        try:
            await self._stream.send_all(data)
        except trio.BrokenResourceError:
            self._is_reset = True

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def send_eof(self) -> None:
        await self._stream.send_eof()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


def why_not_connected(error: Exception) -> str:
    """Why there is no connection, for people."""
    cause = error.__cause__ or error
    if isinstance(cause, ExceptionGroup):  # of several addresses
        cause = cause.exceptions[-1]
    if isinstance(cause, socket.gaierror):
        return str(cause.strerror)
    if isinstance(cause, OSError) and cause.errno and not isinstance(cause, ssl.SSLError):
        return os.strerror(cause.errno)
    return str(error)


def _tls_reason(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate was refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.replace("_", " ").lower()
    return "the server ended the connection"
