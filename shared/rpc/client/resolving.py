"""Which servers a name stands for."""

import socket
from dataclasses import replace

import trio

from shared.net.addresses import joined
from shared.rpc.client.connecting import Endpoint


def endpoint_of(host: str, port: int, server_name: str | None = None) -> Endpoint:
    """One server, by its name or address. Its certificate must have that, or the `server_name`."""
    return Endpoint(host, port, server_name or joined(host, port), server_name or host)


async def resolve(name: Endpoint) -> list[Endpoint]:
    """The servers that a name stands for now. Raises OSError if it stands for none, ValueError if it can't be a name.

    Each address is a server. Only if there is but one of IPv4 and one of IPv6, they are two ways to one server: which
    addresses belong together nobody can tell from more. Servers that have two then count twice each, which is still
    even, and an address at which nobody listens is never ready.
    """
    found = await trio.socket.getaddrinfo(name.host, name.port, type=socket.SOCK_STREAM)
    addresses = sorted({(str(address[0]), int(address[1])) for *_, address in found})
    of_ipv6 = sum(":" in host for host, _ in addresses)
    if max(of_ipv6, len(addresses) - of_ipv6) <= 1:
        return [replace(name, addresses=frozenset(addresses))]
    return [replace(name, host=host, port=port, addresses=frozenset({(host, port)})) for host, port in addresses]
