"""The client's address and scheme behind trusted proxies, the key for rate limits, and the host of the request."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hypercorn.typing import HTTPScope, Scope
from quart import Request

Network = IPv4Network | IPv6Network

_HOST = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")

_ADDRESS = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([0-9.]{7,15}):[0-9]{1,5}")
"""An address with a port, or IPv6 in brackets, as some proxies write it."""


def apply_proxy_headers(scope: Scope, proxies: Sequence[Network]) -> Scope:
    """The scope with the client's address and scheme, taken from the headers of these proxies.

    Each proxy appends its peer to X-Forwarded-For. Read from the right, the header is trustworthy up to the first
    address that is not a proxy's: that client may have invented everything to its left. If the connection itself is not
    a proxy's, the whole header may be invented and is ignored.
    """
    if not proxies or scope["type"] != "http":
        return scope
    client = _address(scope["client"][0] if scope["client"] else "")
    if client is None or not _is_among(proxies, client):
        return scope
    for item in reversed(list(_items(scope, b"x-forwarded-for"))):
        address = _address(item)
        if address is None:
            break  # no trusted proxy vouches for anything further left
        client = address
        if not _is_among(proxies, address):
            break
    schemes = list(_items(scope, b"x-forwarded-proto"))
    scheme = schemes[-1].lower() if schemes else ""
    return {**scope, "client": (str(client), 0), "scheme": scheme if scheme in ("http", "https") else scope["scheme"]}


def client_address(request: Request) -> str:
    """The key for limits per client: the IPv4 address, or the /64 of IPv6, which one customer has (RFC 6177)."""
    client = request.scope.get("client")
    address = _address(client[0] if client else "")
    if address is None:
        return "unknown"
    return str(IPv6Network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)


def hostname(request: Request) -> str:
    """The host in the request's `Host` header, without port; empty if it is missing or invalid."""
    match = _HOST.fullmatch(request.headers.get("Host", ""))
    return match[1] if match else ""


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Parse an address, with or without port. An IPv4-mapped IPv6 address becomes IPv4. None if it is invalid."""
    match = _ADDRESS.fullmatch(text)
    try:
        address = ipaddress.ip_address((match[1] or match[2]) if match else text)
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _is_among(networks: Sequence[Network], address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in networks)


def _items(scope: HTTPScope, name: bytes) -> Iterator[str]:
    """The items of a list header, over all its lines."""
    for header, value in scope["headers"]:
        if header == name:
            yield from (item.strip() for item in value.decode("latin-1").split(",") if item.strip())
