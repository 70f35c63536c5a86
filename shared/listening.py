"""Opens what a role listens on, and says on which port that is."""

from collections.abc import Sequence

import trio


async def listen(host: str, port: int, *, backlog: int | None = None) -> list[trio.SocketListener]:
    """Listen on the port of every address of the host. Raises OSError, which says what could not be had."""
    try:
        return await trio.open_tcp_listeners(port, host=host, backlog=backlog)
    except OSError as error:
        reason = error.strerror or str(error)
        raise OSError(f"nothing can listen on {host}:{port} ({reason}): `rookery doctor` says more") from error


def port_of(listeners: Sequence[trio.SocketListener]) -> int:
    """The port that was bound; of several addresses (IPv4 and IPv6), the first one's."""
    port: int = listeners[0].socket.getsockname()[1]
    return port
