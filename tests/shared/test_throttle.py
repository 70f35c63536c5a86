"""Rate limits by key: how many takes a period has, and the bound of the memory."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.throttle import PERIOD, Throttle


def test_a_minutes_worth_may_come_at_once_and_then_one_at_a_time() -> None:
    throttle = Throttle()
    assert [throttle.take("a", 10, now=100.0) for _ in range(10)] == [0.0] * 10
    assert throttle.take("a", 10, now=100.0) == pytest.approx(6.0)
    assert throttle.take("a", 10, now=105.9) == pytest.approx(0.1)
    assert throttle.take("a", 10, now=106.0) == 0.0
    assert throttle.take("a", 10, now=106.0) == pytest.approx(6.0)
    assert throttle.take("b", 10, now=106.0) == 0.0  # keys are independent


def test_an_undone_take_may_be_repeated() -> None:
    throttle = Throttle()
    for _ in range(100):
        assert throttle.take("a", 2, now=0.0) == 0.0
        throttle.undo("a", 2)


def test_a_raised_rate_holds_at_once() -> None:
    throttle = Throttle()
    assert throttle.take("a", 1, now=0.0) == 0.0
    assert throttle.take("a", 1, now=1.0) > 0
    assert throttle.take("a", 100, now=1.0) == 0.0


def test_idle_keys_are_dropped() -> None:
    throttle = Throttle()
    for number in range(1_000):
        throttle.take(str(number), 60, now=0.0)
    throttle.take("late", 60, now=PERIOD)
    assert len(throttle) == 1


def test_memory_is_bounded_under_a_flood_of_keys() -> None:
    throttle = Throttle(max_keys=100)
    for number in range(10_000):
        throttle.take(str(number), 1, now=0.0)
    assert len(throttle) == 100


@given(rate=st.integers(1, 30), gaps=st.lists(st.floats(0, 30), min_size=1, max_size=60))
def test_no_minute_has_more_than_twice_the_rate_and_the_returned_wait_is_enough(rate: int, gaps: list[float]) -> None:
    throttle = Throttle()
    now, taken = 1_000.0, []
    for gap in gaps:
        now += gap
        wait = throttle.take("a", rate, now)
        if wait:
            now += wait + 1e-6
            assert throttle.take("a", rate, now) == 0.0
        taken.append(now)
    for start in taken:
        assert sum(start <= each < start + PERIOD for each in taken) <= 2 * rate
