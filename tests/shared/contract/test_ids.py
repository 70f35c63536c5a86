import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from shared.contract.errors import Unavailable
from shared.contract.ids import (
    EPOCH_MS,
    MAX_AHEAD_MS,
    MAX_ID,
    SEQUENCES,
    SnowflakeGenerator,
    first_id_at,
    time_of,
)

START_MS = EPOCH_MS + 10_000


@given(st.lists(st.integers(-5_000, 5_000), max_size=300))
def test_ids_are_unique_and_rise_over_any_steps_of_the_clock(steps: list[int]) -> None:
    now = [START_MS]
    generator = SnowflakeGenerator(3, lambda: now[0])
    made: list[int] = []
    for step in steps:
        now[0] = max(now[0] + step, EPOCH_MS)
        snowflake = generator.next_nowait()
        if snowflake is not None:
            made.append(snowflake)
    assert made == sorted(set(made))


def test_an_id_contains_its_time_and_a_millisecond_has_a_bounded_number_of_ids() -> None:
    generator = SnowflakeGenerator(0, lambda: START_MS)
    *ids, last = [generator.next_nowait() or 0 for _ in range(SEQUENCES + 1)]
    assert all(first_id_at(START_MS) <= each < first_id_at(START_MS + 1) for each in ids)
    assert {time_of(each) for each in ids} == {START_MS}
    assert time_of(last) == START_MS + 1


@given(st.integers(-(2**70), 2**70))
def test_the_first_id_of_any_moment_is_in_range(at_ms: int) -> None:
    assert 0 <= first_id_at(at_ms) <= MAX_ID


def test_a_clock_that_steps_back_is_not_waited_for() -> None:
    now = START_MS
    generator = SnowflakeGenerator(0, lambda: now)
    ids = [generator.next_nowait() or 0 for _ in range(SEQUENCES)]
    now -= 60 * MAX_AHEAD_MS
    ids += [generator.next_nowait() or 0 for _ in range(2 * SEQUENCES)]
    assert ids == sorted(set(ids))
    assert time_of(ids[-1]) == START_MS + 2


async def test_an_id_that_would_be_too_far_ahead_of_the_clock_waits_for_it(autojump_clock: MockClock) -> None:
    generator = SnowflakeGenerator(0, lambda: START_MS + int(autojump_clock.current_time() * 1000))
    generator.follow(first_id_at(START_MS + MAX_AHEAD_MS) - 1)
    highest = max([generator.next_nowait() or 0 for _ in range(SEQUENCES)])
    began = autojump_clock.current_time()
    assert await generator.next() > highest
    assert 0 < autojump_clock.current_time() - began < 0.1


async def test_ids_above_a_followed_one_do_not_wait_for_the_clock(autojump_clock: MockClock) -> None:
    generator = SnowflakeGenerator(0, lambda: START_MS)
    generator.follow(first_id_at(START_MS + MAX_AHEAD_MS) - 1)
    ids = [generator.next_nowait() for _ in range(SEQUENCES + 1)]
    assert ids.pop() is None, "further ahead, another holder of the number may make the same ids"
    assert {time_of(each or 0) for each in ids} == {START_MS + MAX_AHEAD_MS}


@given(
    st.lists(st.integers(-50, 50) | st.tuples(st.integers(-70_000, 70_000), st.integers(0, 2**22 - 1)), max_size=100)
)
def test_the_next_id_is_above_every_followed_one_that_is_not_too_far_ahead(
    steps: list[int | tuple[int, int]],
) -> None:
    """A step moves the clock and makes an id, or follows an id of a given time and given lower bits."""
    now, highest, made = START_MS + 100_000, 0, [0]
    generator = SnowflakeGenerator(7, lambda: now)
    for step in steps:
        if isinstance(step, tuple):
            ahead_ms, low = step
            other = first_id_at(now + ahead_ms) + low
            is_followed = generator.follow(other)
            assert is_followed or ahead_ms >= MAX_AHEAD_MS
            if ahead_ms < MAX_AHEAD_MS:
                highest = max(highest, other)
        else:
            now += step
            snowflake = generator.next_nowait()
            assert snowflake is not None
            assert snowflake > max(made[-1], highest)
            assert time_of(snowflake) <= max(now, time_of(max(made[-1], highest)) + 1)
            made.append(snowflake)
            before = dict(vars(generator))
            generator.follow(snowflake)
            assert vars(generator) == before, "an own id that is read back has no effect"


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 1023) | st.none()), max_size=200))
def test_ids_rise_through_changes_of_the_number(steps: list[tuple[int, int | None]]) -> None:
    now = START_MS
    generator = SnowflakeGenerator(1023, lambda: now)
    number, made = 1023, []
    for step, new_number in steps:
        now += step
        if new_number is not None:
            generator.renumber(new_number)
            number = new_number
        snowflake = generator.next_nowait()
        assert snowflake is not None
        assert snowflake >> 12 & 1023 == number
        made.append(snowflake)
    assert made == sorted(set(made))


def test_no_id_is_made_while_the_number_is_not_held() -> None:
    is_held = False
    generator = SnowflakeGenerator(0, lambda: START_MS, is_held=lambda: is_held)
    with pytest.raises(Unavailable):
        generator.next_nowait()
    is_held = True
    assert generator.next_nowait() is not None
