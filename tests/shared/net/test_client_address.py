"""Addresses of clients as keys of limits. Addresses behind proxies: tests/bff/http/test_proxy_headers.py."""

import pytest

from shared.net.client_address import UNKNOWN, address_key


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:443", "192.0.2.7"),
        ("2001:db8::1:2", "2001:db8::/64"),
        ("[2001:db8::9]:443", "2001:db8::/64"),
        ("", UNKNOWN),
        ("unix", UNKNOWN),
    ],
)
def test_a_client_is_its_ipv4_address_or_its_64_bits_of_ipv6(address: str, key: str) -> None:
    assert address_key(address) == key
