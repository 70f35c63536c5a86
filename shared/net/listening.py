"""Opens what a role listens on, with TLS or without, and says on which port that is."""

import ssl
from collections.abc import Callable, Sequence

import trio

from shared.net.tls import ServerTls
from shared.net.trust import Alpn

ClientStream = trio.SocketStream | trio.SSLStream[trio.SocketStream]
"""A connection of a client. One with TLS has not shaken hands yet: its handler does, within its own deadline."""


class TlsListener(trio.abc.Listener[trio.SSLStream[trio.SocketStream]]):
    """Gives each new connection the newest certificate. It shakes no hands, so that nobody waits for the slow."""

    def __init__(self, listener: trio.SocketListener, newest: Callable[[], ssl.SSLContext]) -> None:
        self.socket = listener.socket
        self._listener = listener
        self._newest = newest

    async def accept(self) -> trio.SSLStream[trio.SocketStream]:
        stream = await self._listener.accept()
        # What is spoken over it has an end of its own, so none needs TLS to say that it was not cut short.
        return trio.SSLStream(stream, self._newest(), server_side=True, https_compatible=True)

    async def aclose(self) -> None:
        await self._listener.aclose()


AnyListener = trio.SocketListener | TlsListener


async def listen(
    host: str,
    port: int,
    *,
    backlog: int | None = None,
    tls: ServerTls | None = None,
    alpn: Alpn = "http/1.1",
    trusted_clients_only: bool = False,
) -> list[AnyListener]:
    """Listen on the port of every address of the host: in plain text, or with TLS, over which `alpn` is spoken.

    `trusted_clients_only` is as in `ServerTls.context`. Raises OSError, which says what could not be had, and
    UnusableCertificate.
    """

    def newest() -> ssl.SSLContext:
        assert tls is not None  # noqa: S101 - for the type checker: it is called with TLS alone
        return tls.context(alpn, trusted_clients_only=trusted_clients_only)

    if tls is not None:
        newest()  # here, where what is wrong ends the start
    try:
        listeners = await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"nothing can listen on {host}:{port} ({reason}): `rookery doctor` says more") from error
    return [listener if tls is None else TlsListener(listener, newest) for listener in listeners]


def port_of(listeners: Sequence[AnyListener]) -> int:
    """The port that was bound; of several addresses (IPv4 and IPv6), the first one's."""
    port: int = listeners[0].socket.getsockname()[1]
    return port


def transport_of(stream: ClientStream) -> trio.SocketStream:
    """What carries the bytes."""
    return stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
