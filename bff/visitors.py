"""What a connection and its headers say of who asks: an address to count by, and the host by which they reached us."""

import ipaddress
import re

from quart import Request

_HOST = re.compile(r"([A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?")


def client_address(request: Request) -> str:
    """The address to count by: the whole of IPv4, the /64 of IPv6, which is what one customer has (RFC 6177).

    It is the connection's: what `X-Forwarded-For` says could be anyone's invention.
    """
    client = request.scope.get("client")
    try:
        address = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return "unknown"
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.IPv6Network((address, 64), strict=False))
    return str(address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else str(address)


def hostname(request: Request) -> str:
    """The host by which the client reached us, without port; empty if the `Host` header has none that could be."""
    match = _HOST.fullmatch(request.headers.get("Host", ""))
    return match[1] if match else ""
