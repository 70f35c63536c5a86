"""Opens the listeners of a role, with TLS or without."""

import socket
import ssl
from collections.abc import Callable, Sequence

import trio

from shared.net.tls import ServerTls
from shared.net.trust import Alpn

ClientStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
"""A client's connection. With TLS, its handler does the handshake, within its own deadline."""


AT_ONCE = 16
"""Connections that are accepted in one pass of Trio's scheduler: with one, a client waits a pass for each connection
that is in the queue before its own. Sixteen take some 2 ms until each waits for its turn."""


class TcpListener(trio.abc.Listener[trio.SocketStream]):
    """Accepts several connections in one pass: `accept` returns at once while there are some, up to `AT_ONCE`."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self.socket = listener.socket
        self._listener = listener
        self._non_blocking = socket.socket(fileno=listener.socket.fileno())  # the same socket
        self._left = 0

    async def accept(self) -> trio.SocketStream:
        if self._left:
            self._left -= 1
            try:
                return trio.SocketStream(trio.socket.from_stdlib_socket(self._non_blocking.accept()[0]))
            except OSError:  # no connection waits, or one has an error, or none can be accepted
                pass  # Trio's `accept` waits, ignores it, or raises it
        self._left = AT_ONCE - 1
        return await self._listener.accept()

    async def aclose(self) -> None:
        self._non_blocking.detach()
        await self._listener.aclose()


class TlsListener(trio.abc.Listener[trio.SSLStream[trio.SocketStream]]):
    """Accepts connections with the newest certificate. It does no handshakes, so a slow client delays no other."""

    def __init__(self, listener: TcpListener, newest: Callable[[], ssl.SSLContext]) -> None:
        self.socket = listener.socket
        self._listener = listener
        self._newest = newest

    async def accept(self) -> trio.SSLStream[trio.SocketStream]:
        stream = await self._listener.accept()
        # The protocols above TLS mark their own end, so a missing close_notify of TLS is no error.
        return trio.SSLStream(stream, self._newest(), server_side=True, https_compatible=True)

    async def aclose(self) -> None:
        await self._listener.aclose()


AnyListener = TcpListener | TlsListener


async def listen(
    host: str,
    port: int,
    *,
    backlog: int | None = None,
    tls: ServerTls | None = None,
    alpn: Alpn = "http/1.1",
    trusted_clients_only: bool = False,
) -> list[AnyListener]:
    """Listen on the port of every address of the host: in plain text, or with TLS, which selects `alpn`.

    `trusted_clients_only` is as in `ServerTls.context`. Raises OSError, which names the address, and
    UnusableCertificate.
    """

    def newest() -> ssl.SSLContext:
        assert tls is not None  # noqa: S101 - for the type checker: only called with TLS
        return tls.context(alpn, trusted_clients_only=trusted_clients_only)

    if tls is not None:
        newest()  # a certificate that can't be used fails here, at the start
    try:
        listeners = [TcpListener(each) for each in await trio.open_tcp_listeners(port, host=host, backlog=backlog)]
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"nothing can listen on {host}:{port} ({reason}): run `rookery doctor` for details") from error
    return [listener if tls is None else TlsListener(listener, newest) for listener in listeners]


def port_of(listeners: Sequence[AnyListener]) -> int:
    """The bound port; of several addresses (IPv4 and IPv6), that of the first."""
    port: int = listeners[0].socket.getsockname()[1]
    return port


def transport_of(stream: ClientStream) -> trio.SocketStream:
    """The TCP stream under the connection."""
    return stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
