"""What the circuit breaker promises."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.drivers.cassandra.breaker import Breaker


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock)


def test_one_request_without_an_answer_opens_it_if_nothing_else_was_answered(breaker: Breaker, clock: Clock) -> None:
    began_at = clock.now
    clock.now += 2
    assert breaker.failed(began_at)
    assert breaker.is_open


def test_it_reports_its_opening_once(breaker: Breaker, clock: Clock) -> None:
    assert breaker.failed(clock.now)
    assert not breaker.failed(clock.now)


def test_while_others_are_answered_it_stays_closed(breaker: Breaker, clock: Clock) -> None:
    began_at = clock.now
    clock.now += 1
    assert not breaker.answered()
    clock.now += 1
    assert not breaker.failed(began_at)
    assert not breaker.is_open


def test_an_answer_closes_it(breaker: Breaker, clock: Clock) -> None:
    breaker.failed(clock.now)
    assert breaker.answered()
    assert not breaker.is_open


def test_what_had_begun_before_the_last_answer_does_not_open_it_again(breaker: Breaker, clock: Clock) -> None:
    began_at = clock.now
    breaker.failed(began_at)
    clock.now += 1
    breaker.answered()
    assert not breaker.failed(began_at)
    clock.now += 1
    assert breaker.failed(clock.now - 0.5)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.booleans(), st.floats(0, 3)), max_size=30)  # pause, answered, waited
)
def test_it_is_open_if_and_only_if_the_last_that_counts_was_silence(steps: list[tuple[float, bool, float]]) -> None:
    clock = Clock()
    breaker = Breaker(clock)
    answered_at, silent = clock.now, False
    for pause, answered, waited in steps:
        clock.now += pause
        if answered:
            breaker.answered()
            answered_at, silent = clock.now, False
        else:
            breaker.failed(clock.now - waited)
            silent = silent or answered_at <= clock.now - waited
        assert breaker.is_open == silent
