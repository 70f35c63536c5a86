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
    secure = trio.SSLStream(stream, tls, server_hostname=endpoint.server_name, https_compatible=True)
    try:
        await secure.do_handshake()
        if secure.selected_alpn_protocol() != ALPN:
            raise ConnectionError("the server does not take HTTP/2 over TLS (h2 by ALPN)")
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(secure)
        raise ConnectionError(f"TLS failed: {_tls_reason(error.__cause__)}") from error
    except BaseException:  # trio.Cancelled too: only to close the stream; raised again
        await trio.aclose_forcefully(secure)
        raise
    return secure


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
