"""Addresses that may be fetched."""

from ipaddress import ip_address, ip_network

import pytest

from messaging.previews.addresses import may_connect

PUBLIC = [
    *("1.1.1.1", "93.184.216.34", "192.0.3.1", "172.32.0.1", "100.128.0.1"),
    *("2606:2800:220:1::", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1", "2002:101:101::1"),
]

PRIVATE = [
    *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
    *("100.100.100.200", "169.254.169.254", "168.63.129.16", "192.0.0.192", "192.0.2.1", "192.88.99.1"),
    *("198.18.0.1", "203.0.113.1", "224.0.0.1", "233.252.0.1", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1", "ff0e::1"),
    *("2001:db8::1", "100::1", "64:ff9b:1::1", "4000::1", "::127.0.0.1"),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::10.0.0.1", "2002:7f00:1::", "2002:a00:1::1"),
    "2001:0:101:101:0:0:80ff:fffe",  # Teredo: server 1.1.1.1, client 127.0.0.1
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_may_be_fetched(address: str) -> None:
    assert may_connect(ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
def test_other_addresses_may_not_be_fetched(address: str) -> None:
    assert not may_connect(ip_address(address))


def test_an_allowed_network_may_be_fetched_also_in_other_forms() -> None:
    allowed = [ip_network("10.20.0.0/16"), ip_network("fd00::/8")]
    for address, is_allowed in (
        ("10.20.1.1", True),
        ("::ffff:10.20.1.1", True),
        ("fd00::1", True),
        ("10.21.0.1", False),
    ):
        assert may_connect(ip_address(address), allowed) == is_allowed
