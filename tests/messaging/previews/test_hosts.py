"""A host is asked a limited number of times in a minute."""

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
