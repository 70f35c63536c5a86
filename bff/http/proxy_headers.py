"""Who asks: the client behind proxies that are trusted, an address to count by, and the host by which it reached us."""

import ipaddress
import re
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from hypercorn.typing import HTTPScope, Scope
from quart import Request

Network = IPv4Network | IPv6Network

_HOST = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")

_ADDRESS = re.compile(r"\[([0-9A-Fa-f:.]{2,45})\](?::[0-9]{1,5})?|([0-9.]{7,15}):[0-9]{1,5}")
"""An address with a port, or IPv6's with brackets: as some proxies write it."""


def seen_through(scope: Scope, proxies: Sequence[Network]) -> Scope:
    """The request as its client sent it to the outermost of these proxies, each of which added whom it heard.

    Read from the right, X-Forwarded-For can be believed up to the first address that is none of theirs: all before it
    could be that client's invention, and so could what stands there if the connection itself is none of theirs.
    """
    if not proxies or scope["type"] != "http":
        return scope
    known = _address(scope["client"][0] if scope["client"] else "")
    if known is None or not _is_among(proxies, known):
        return scope
    for said in reversed(list(_items(scope, b"x-forwarded-for"))):
        address = _address(said)
        if address is None:
            break  # of what is further to the left, nobody we trust has said whose it is
        known = address
        if not _is_among(proxies, address):
            break
    schemes = list(_items(scope, b"x-forwarded-proto"))
    scheme = schemes[-1].lower() if schemes else ""
    return {**scope, "client": (str(known), 0), "scheme": scheme if scheme in ("http", "https") else scope["scheme"]}


def client_address(request: Request) -> str:
    """The address to count by: the whole of IPv4, the /64 of IPv6, which is what one customer has (RFC 6177)."""
    client = request.scope.get("client")
    address = _address(client[0] if client else "")
    if address is None:
        return "unknown"
    return str(IPv6Network((address, 64), strict=False)) if isinstance(address, IPv6Address) else str(address)


def hostname(request: Request) -> str:
    """The host by which the client reached us, without port; empty if the `Host` header has none that could be."""
    match = _HOST.fullmatch(request.headers.get("Host", ""))
    return match[1] if match else ""


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """The address, without port; IPv4 that is written as IPv6 is IPv4. None if it is none."""
    match = _ADDRESS.fullmatch(text)
    try:
        address = ipaddress.ip_address((match[1] or match[2]) if match else text)
    except ValueError:
        return None
    return (isinstance(address, IPv6Address) and address.ipv4_mapped) or address


def _is_among(networks: Sequence[Network], address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in networks)


def _items(scope: HTTPScope, name: bytes) -> Iterator[str]:
    """What a header that is a list has, in all its lines."""
    for header, value in scope["headers"]:
        if header == name:
            yield from (item.strip() for item in value.decode("latin-1").split(",") if item.strip())
