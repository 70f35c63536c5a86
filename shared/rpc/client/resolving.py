"""Resolves names to servers."""

import socket
from dataclasses import replace

import trio

from shared.contract.addresses import join_host_port
from shared.rpc.client.connecting import Endpoint


def endpoint_of(host: str, port: int, server_name: str | None = None) -> Endpoint:
    """Return the endpoint of one server. Its certificate must be for the host, or for `server_name`."""
    return Endpoint(host, port, server_name or join_host_port(host, port), server_name or host)


async def resolve(name: Endpoint) -> list[Endpoint]:
    """Resolve a name to its servers. Raises OSError if it has none, ValueError for an invalid name.

    Each address is a server, except that a single pair of an IPv4 and an IPv6 address is one server: with more
    addresses, their pairs are unknown. Servers with two addresses then count twice each, which is still even, and an
    address without a listener is never ready.
    """
    found = await trio.socket.getaddrinfo(name.host, name.port, type=socket.SOCK_STREAM)
    addresses = sorted({(str(address[0]), int(address[1])) for *_, address in found})
    of_ipv6 = sum(":" in host for host, _ in addresses)
    if max(of_ipv6, len(addresses) - of_ipv6) <= 1:
        return [replace(name, addresses=frozenset(addresses))]
    return [replace(name, host=host, port=port, addresses=frozenset({(host, port)})) for host, port in addresses]
