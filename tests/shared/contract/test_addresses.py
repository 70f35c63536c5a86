"""Addresses are parsed and formatted without loss; only this machine's own are loopback addresses."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.addresses import SECURE, GrpcAddress, is_loopback

hosts = st.one_of(st.text("abc019.-_", min_size=1), st.ip_addresses().map(str))


@given(hosts, st.integers(0, 65_535), st.booleans())
def test_a_formatted_address_is_parsed_as_it_was(host: str, port: int, is_secure: bool) -> None:
    address = GrpcAddress(host, port, is_secure)
    assert GrpcAddress.parse((SECURE if is_secure else "") + address.target) == address


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_a_value_error(text: str) -> None:
    with suppress(ValueError):
        address = GrpcAddress.parse(text)
        assert 0 <= address.port <= 65_535
        assert address.host


@pytest.mark.parametrize(
    "text",
    [
        *["", "host", "host:", ":80", "host:port", "host:65536", "a b:1", "http://host:1", "grpcs://", "::1:80"],
        *["[::1]", "[1]:443", "[host]:443", "[1:2]:443"],
    ],
)
def test_a_text_without_host_or_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a host and a port"):
        GrpcAddress.parse(text)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_hosts_of_this_machine_alone_are_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["0.0.0.0", "::", "", "192.0.2.1", "2001:db8::1", "chat.example.org", "localhost.example"]
)
def test_hosts_that_other_machines_may_reach_are_not(host: str) -> None:
    assert not is_loopback(host)
