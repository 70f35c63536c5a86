"""The addresses that may be fetched: public ones, and networks that the operator allows."""

from collections.abc import Collection
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from shared.net.client_address import Address, Network

_GLOBAL_UNICAST = IPv6Network("2000::/3")
"""No other IPv6 address is assigned for hosts of the internet."""

_NAT64 = IPv6Network("64:ff9b::/96")
"""Addresses that contain an IPv4 address: hosts without IPv4 reach it by these."""

_NOT_PUBLIC = tuple(
    IPv4Network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments
        "192.88.99.0/24",  # relays of 6to4
        "168.63.129.16/32",  # metadata of machines in Azure: public, but answered by the machine's host
    )
)


def may_connect(address: Address, allowed: Collection[Network] = ()) -> bool:
    """Whether the address is public, or in a network that is allowed. Of an IPv6 address that has an IPv4 address in
    it, the IPv4 address decides, since a router or a tunnel may send there."""
    if any(address in network for network in allowed):
        return True
    if isinstance(address, IPv4Address):
        is_public = address.is_global and not address.is_multicast
        return is_public and not any(address in network for network in _NOT_PUBLIC)
    inner = _inner(address)
    if inner:
        return all(may_connect(each, allowed) for each in inner)
    return address in _GLOBAL_UNICAST and address.is_global and not address.is_multicast


def _inner(address: IPv6Address) -> Collection[IPv4Address]:
    """The IPv4 addresses in an address: mapped, of NAT64, of 6to4, or the server and the client of Teredo."""
    if address.ipv4_mapped:
        return (address.ipv4_mapped,)
    if address in _NAT64:
        return (IPv4Address(int(address) & 0xFFFFFFFF),)
    if address.sixtofour:
        return (address.sixtofour,)
    return address.teredo or ()
