"""The circuit breaker opens when nothing is answered, and at no other time."""

from hypothesis import given
from hypothesis import strategies as st

from shared.drivers.cassandra.breaker import Breaker


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 3)), max_size=30))
def test_a_request_without_an_answer_opens_it_if_none_was_answered_meanwhile_and_an_answer_closes_it(
    steps: list[tuple[int, bool, int]],
) -> None:
    """Each step is a pause, and a request that is answered or not, after a wait. Each change is reported once."""
    now = answered_at = 100
    breaker = Breaker(lambda: now)
    is_open = False
    for pause, is_answered, waited in steps:
        now += pause
        was_open = is_open
        if is_answered:
            answered_at, is_open = now, False
            has_changed = breaker.answered()
        else:
            is_open = is_open or answered_at <= now - waited
            has_changed = breaker.failed(now - waited)
        assert (has_changed, breaker.is_open) == (is_open != was_open, is_open)
