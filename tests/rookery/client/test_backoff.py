"""The pauses before a reconnect: short while another gateway takes over, bounded in a long outage."""

from collections.abc import Iterator

from rookery.client.backoff import FIRST, LONGEST, LONGEST_SOON, Backoff

TAKEOVER = 8.0
"""Seconds until another gateway owns the partition: the broker's six, and the rest for loading."""


def pauses(seconds: float) -> Iterator[float]:
    """The pauses of a client whose every attempt fails at once."""
    now, backoff = 0.0, Backoff(0.0)
    while now < seconds:
        pause = backoff.pause(now)
        now += pause
        yield pause


def test_pauses_grow_up_to_a_bound_in_a_long_outage() -> None:
    first, second, *others = pauses(600)
    assert (first <= FIRST, second <= 2 * FIRST, max(others) <= LONGEST) == (True, True, True)
    assert 150 < len(others) < 400  # half of LONGEST on average, once the bound is reached


def test_no_pause_is_long_while_another_gateway_takes_over() -> None:
    assert max(pauses(TAKEOVER)) <= LONGEST_SOON


def test_a_pause_is_the_delay_of_the_server_and_little_more_however_often_it_sets_one() -> None:
    backoff = Backoff(0.0)
    for now in range(0, 600, 60):
        assert 60.0 <= backoff.pause(now, 60.0) <= 60.0 + FIRST
    assert backoff.pause(600.0) <= FIRST, "nothing had failed"


def test_a_moved_client_connects_without_a_pause_only_the_first_time_in_a_row() -> None:
    backoff = Backoff(0.0)
    assert backoff.pause(0.0, moved=True) == 0.0
    assert sum(backoff.pause(0.0, moved=True) for _ in range(20)) > 0
    backoff.connected()
    assert backoff.pause(9.0, moved=True) == 0.0


def test_a_moved_client_connects_without_a_pause_also_after_failures() -> None:
    backoff = Backoff(0.0)
    for now in range(5):
        backoff.pause(float(now))
        assert backoff.pause(float(now), moved=True) == 0.0
