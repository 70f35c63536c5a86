"""The address of a client, also behind trusted proxies, and the key by which limits per address count."""

import ipaddress
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import trio

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

UNKNOWN = "unknown"
"""The key of a client without a valid address."""

_ADDRESS = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([0-9.]{7,15}):[0-9]{1,5}")
"""An address with a port, or IPv6 in brackets, as some proxies write it."""


@lru_cache(maxsize=4096)
def parse_address(text: str) -> Address | None:
    """Parse an address, with or without port. An IPv4-mapped IPv6 address becomes IPv4. None if it is invalid."""
    match = _ADDRESS.fullmatch(text)
    try:
        address = ipaddress.ip_address((match[1] or match[2]) if match else text)
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


@lru_cache(maxsize=4096)
def address_key(text: str) -> str:
    """The key for limits per client: the IPv4 address, or the /64 of IPv6, which one customer has (RFC 6177)."""
    address = parse_address(text)
    if address is None:
        return UNKNOWN
    return str(IPv6Network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)


def is_among(networks: Sequence[Network], address: Address) -> bool:
    """Whether a network of these contains the address."""
    return any(address in network for network in networks)


def split_list(lines: Iterable[str]) -> list[str]:
    """The items of a list header, over all its lines."""
    return [item.strip() for line in lines for item in line.split(",") if item.strip()]


def forwarded_client(peer: str, forwarded: Sequence[str], proxies: Sequence[Network]) -> Address | None:
    """The client's address: that of the peer, or, if the peer is a trusted proxy, one from X-Forwarded-For.

    Each proxy appends its peer to X-Forwarded-For. Read from the right, the header is trustworthy up to the first
    address that is not a proxy's: that client may have invented everything to its left. If the connection itself is not
    a proxy's, the whole header may be invented and is ignored. None if the peer has no valid address.
    """
    client = parse_address(peer)
    if client is None or not is_among(proxies, client):
        return client
    for item in reversed(forwarded):
        address = parse_address(item)
        if address is None:
            break  # no trusted proxy vouches for anything further left
        client = address
        if not is_among(proxies, address):
            break
    return client


def peer_address(stream: trio.abc.Stream) -> str:
    """The address of the peer; empty if the stream is no socket, or its peer has gone."""
    if isinstance(stream, trio.SSLStream):
        return peer_address(stream.transport_stream)
    if not isinstance(stream, trio.SocketStream):
        return ""
    try:
        name = stream.socket.getpeername()
    except OSError:
        return ""
    return str(name[0]) if isinstance(name, tuple) else ""
