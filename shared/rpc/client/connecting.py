"""Establishes a client's connection, over TLS or not, and describes why it failed."""

import os
import socket
import ssl
from dataclasses import dataclass

import trio

from shared.rpc.http2 import ALPN


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A server's address and names."""

    host: str
    """An address, or a name of one server."""
    port: int
    authority: str
    """The server's name in calls: the configured `host:port`, or the name in its certificate."""
    server_name: str
    """The name that the server's certificate must be for."""
    addresses: frozenset[tuple[str, int]] = frozenset()
    """The addresses to which the name resolved: with other addresses it is another server."""


async def connect(endpoint: Endpoint, tls: ssl.SSLContext | None) -> trio.abc.Stream:
    """Connect, without HTTP/2 yet. Raises OSError, or ValueError for an invalid host name.

    All addresses of a name are tried, each a quarter of a second after the one before; the first to connect wins.
    """
    stream = await trio.open_tcp_stream(endpoint.host, endpoint.port)
    if tls is None:
        return stream
    return await secure(stream, tls, endpoint.server_name)


async def secure(
    stream: trio.abc.HalfCloseableStream, tls: ssl.SSLContext, server_name: str
) -> trio.SSLStream["_ReadableAfterReset"]:
    """Run TLS over the stream, with HTTP/2 as the ALPN protocol. If the handshake fails, close the stream and raise
    ConnectionError."""
    secured = trio.SSLStream(_ReadableAfterReset(stream), tls, server_hostname=server_name, https_compatible=True)
    try:
        await secured.do_handshake()
        if secured.selected_alpn_protocol() != ALPN:
            raise ConnectionError("the server does not take HTTP/2 over TLS (h2 by ALPN)")
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(secured)
        raise ConnectionError(f"TLS failed: {_tls_reason(error.__cause__)}") from error
    except BaseException:  # trio.Cancelled too: only to close the stream; raised again
        await trio.aclose_forcefully(secured)
        raise
    return secured


class _ReadableAfterReset(trio.abc.HalfCloseableStream):
    """A stream below TLS that hides failed writes and drops all writes after one.

    An SSLStream refuses to read after a failed write, but the bytes that the server sent before it reset the
    connection, such as a call's status, are still in the socket's buffer. The reader gets them, then the end.
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


def failure_text(error: Exception) -> str:
    """Describe why a connection failed, for users."""
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
