"""A host is asked a limited number of times in a minute."""

import itertools
from collections.abc import Sequence

import pytest
from trio.testing import MockClock

from messaging.previews.hosts import HOST_PAGES, HOST_SECONDS, Hosts


async def test_each_host_has_its_limit_in_any_minute(mock_clock: MockClock) -> None:
    hosts = Hosts()
    assert [hosts.take("a.example") for _ in range(HOST_PAGES + 1)] == [True] * HOST_PAGES + [False]
    assert hosts.take("b.example")
    mock_clock.jump(HOST_SECONDS - 1)
    assert not hosts.take("a.example")
    mock_clock.jump(1)
    assert [hosts.take("a.example") for _ in range(HOST_PAGES + 1)] == [True] * HOST_PAGES + [False]


@pytest.mark.parametrize(
    "forms",
    [
        ("93.184.216.34", "1572395042", "0x5db8d822", "0x0000005db8d822", "93.184.55330"),
        ("2001:db8::1", "2001:db8:0:0::1", "2001:0db8::0001"),
        ("a.example", "a.example."),
    ],
)
async def test_all_forms_of_a_host_share_its_limit(forms: Sequence[str]) -> None:
    hosts = Hosts()
    taken = [hosts.take(form) for form in itertools.islice(itertools.cycle(forms), HOST_PAGES + 1)]
    assert taken == [True] * HOST_PAGES + [False]
