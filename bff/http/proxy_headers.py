"""The client's address and scheme behind trusted proxies, the key for rate limits, the address for the audit log, and
the host of the request."""

import re
from collections.abc import Sequence
from ipaddress import IPv6Address

from hypercorn.typing import HTTPScope, Scope
from quart import Request

from shared.net.client_address import (
    UNKNOWN,
    Network,
    address_key,
    forwarded_client,
    is_among,
    parse_address,
    split_list,
)

_HOST = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[([0-9A-Fa-f:.]{2,45})\])(?::[0-9]{1,5})?")


def apply_proxy_headers(scope: Scope, proxies: Sequence[Network]) -> Scope:
    """The scope with the client's address and scheme, taken from the headers of these proxies if one of them sent the
    request; see `forwarded_client`."""
    if not proxies or scope["type"] != "http":
        return scope
    peer = scope["client"][0] if scope["client"] else ""
    address = parse_address(peer)
    if address is None or not is_among(proxies, address):
        return scope
    client = forwarded_client(peer, _items(scope, b"x-forwarded-for"), proxies)
    schemes = _items(scope, b"x-forwarded-proto")
    scheme = schemes[-1].lower() if schemes else ""
    return {**scope, "client": (str(client), 0), "scheme": scheme if scheme in ("http", "https") else scope["scheme"]}


def client_address(request: Request) -> str:
    """The key for limits per client, as `address_key`."""
    return address_key(_client(request))


def audited_address(request: Request) -> str:
    """The client's address itself, for the audit log; UNKNOWN if it is not valid."""
    return str(parse_address(_client(request)) or UNKNOWN)


def hostname(request: Request) -> str:
    """The host in the request's `Host` header, without port; empty if it is missing or invalid."""
    match = _HOST.fullmatch(request.headers.get("Host", ""))
    return match[1] if match and (match[2] is None or _is_ipv6(match[2])) else ""


def _client(request: Request) -> str:
    client = request.scope.get("client")
    return client[0] if client else ""


def _is_ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except ValueError:
        return False
    return True


def _items(scope: HTTPScope, name: bytes) -> list[str]:
    """The items of a list header, over all its lines."""
    return split_list(value.decode("latin-1") for header, value in scope["headers"] if header == name)
