"""The client of a request behind proxies: only headers of trusted proxies count."""

from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bff.http.proxy_headers import apply_proxy_headers, hostname
from shared.configuration.model import LiveConfiguration
from shared.settings import BffSettings
from tests.bff.conftest import Api

PROXY, OUTER, CLIENT, LIAR = "10.0.0.1", "10.1.0.1", "192.0.2.7", "203.0.113.9"

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))


def seen(peer: str, *forwarded: str, proto: str = "", proxies: Any = PROXIES, scheme: str = "http") -> tuple[str, str]:
    """The client's address and the scheme."""
    headers = [(b"x-forwarded-for", line.encode("latin-1")) for line in forwarded]
    headers += [(b"x-forwarded-proto", proto.encode())] if proto else []
    scope: Any = {"type": "http", "client": (peer, 5), "scheme": scheme, "headers": headers}
    through: Any = apply_proxy_headers(scope, proxies)
    return through["client"][0], through["scheme"]


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        (PROXY, [CLIENT], CLIENT),
        (PROXY, [f"{LIAR}, {CLIENT}"], CLIENT),
        (PROXY, [LIAR, CLIENT], CLIENT),
        (PROXY, [f"{CLIENT}, {OUTER}"], CLIENT),
        (PROXY, [f"{LIAR},{CLIENT},{OUTER}"], CLIENT),
        (PROXY, [f"{PROXY}, {CLIENT}, {OUTER}"], CLIENT),
        (PROXY, [f" {CLIENT} ,, "], CLIENT),
        (PROXY, [f"{CLIENT}:4711"], CLIENT),
        (PROXY, ["[2001:db8::7]:4711"], "2001:db8::7"),
        (PROXY, ["2001:db8::7"], "2001:db8::7"),
        ("fd00::1", [CLIENT], CLIENT),
        (f"::ffff:{PROXY}", [f"::ffff:{CLIENT}"], CLIENT),
        # A request of a proxy itself, such as a probe.
        (PROXY, [OUTER], OUTER),
        (PROXY, [], PROXY),
        # An invalid address: nothing to its left counts.
        (PROXY, ["unknown"], PROXY),
        (PROXY, [f"{CLIENT}, unknown"], PROXY),
        (PROXY, [f"{CLIENT}, _hidden, {OUTER}"], OUTER),
        # Others are not trusted.
        (LIAR, [CLIENT], LIAR),
        (LIAR, [f"{CLIENT}, {PROXY}"], LIAR),
        ("unix", [CLIENT], "unix"),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_proxy(peer: str, forwarded: list[str], client: str) -> None:
    assert seen(peer, *forwarded)[0] == client


def test_without_trusted_proxies_the_headers_are_ignored() -> None:
    assert seen(PROXY, CLIENT, proto="https", proxies=()) == (PROXY, "http")


@pytest.mark.parametrize(
    ("peer", "proto", "scheme"),
    [
        (PROXY, "https", "https"),
        (PROXY, "HTTPS", "https"),
        (PROXY, "http, https", "https"),
        (PROXY, "https, http", "http"),
        (PROXY, "gopher", "http"),
        (PROXY, "", "http"),
        (LIAR, "https", "http"),
    ],
)
def test_the_scheme_is_that_of_the_nearest_proxy(peer: str, proto: str, scheme: str) -> None:
    assert seen(peer, CLIENT, proto=proto)[1] == scheme


@given(invented=st.lists(st.one_of(st.ip_addresses().map(str), st.text(st.characters(codec="latin-1"), max_size=20))))
def test_a_client_can_not_invent_its_address(invented: list[str]) -> None:
    assert seen(PROXY, *invented, CLIENT)[0] == CLIENT
    assert seen(LIAR, *invented)[0] == LIAR


def test_proxies_in_the_settings_are_networks_or_addresses() -> None:
    settings = BffSettings.model_validate({"trusted_proxies": "10.0.0.0/8, 192.0.2.1 ,fd00::/8"})
    assert [str(network) for network in settings.trusted_proxies] == ["10.0.0.0/8", "192.0.2.1/32", "fd00::/8"]


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("chat.example.org:8080", "chat.example.org"),
        ("[2001:db8::7]:8080", "[2001:db8::7]"),
        ("[::ffff:192.0.2.7]", "[::ffff:192.0.2.7]"),
        ("[::::]", ""),
        ("[192.0.2.7]", ""),
        ("2001:db8::7", ""),
    ],
)
def test_the_host_of_a_request_is_valid_in_a_url_or_empty(header: str, host: str) -> None:
    request: Any = SimpleNamespace(headers={"Host": header})
    assert hostname(request) == host
    assert urlsplit(f"ws://{host}:8081/session").netloc == f"{host}:8081"


# ---- over HTTP


@pytest.fixture
def configuration() -> LiveConfiguration:
    return LiveConfiguration(registrations_per_minute=1)


@pytest.fixture
def trusted_proxies() -> Any:
    return PROXIES


async def register(api: Api, name: str, *, address: str, forwarded: str) -> int:
    body = {"name": name, "password": "correct horse battery"}
    headers = {"X-Forwarded-For": forwarded}
    return (await api.call("POST", "/v1/users", body, address=address, headers=headers)).status


async def test_clients_of_a_balancer_are_limited_one_by_one(api: Api) -> None:
    assert await register(api, "one", address=PROXY, forwarded=CLIENT) == 201
    assert await register(api, "two", address=PROXY, forwarded="192.0.2.8") == 201
    assert await register(api, "three", address=OUTER, forwarded=f"{LIAR}, {CLIENT}") == 429


async def test_a_client_without_the_balancer_is_limited_by_its_own_address(api: Api) -> None:
    assert await register(api, "one", address=LIAR, forwarded=CLIENT) == 201
    assert await register(api, "two", address=LIAR, forwarded="192.0.2.8") == 429
