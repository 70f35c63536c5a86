"""Percentiles, and latencies from the moment at which a message was due."""

import math
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from rookery.load.measure import GroupRecord, Latencies, Record, Schedule, summarize


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert summarize([number / 1000 for number in range(100, 0, -1)]) == Latencies(100, 50.0, 99.0, 100.0)
    assert summarize([0.004]) == Latencies(1, 4.0, 4.0, 4.0)
    assert math.isnan(summarize([]).p50)


@given(st.lists(st.floats(0, 100), min_size=1))
def test_percentiles_are_among_the_values_and_in_order(values: Sequence[float]) -> None:
    found = summarize(values)
    assert min(values) * 1000 <= found.p50 <= found.p99 <= found.max == max(values) * 1000


@given(st.floats(0.1, 10_000), st.floats(0, 100))
def test_as_many_are_due_as_the_rate_says(rate: float, elapsed: float) -> None:
    schedule = Schedule(1_000.0, rate)
    due = schedule.due_by(1_000.0 + elapsed)
    assert schedule.due(due - 1) <= 1_000.0 + elapsed + 1e-6
    assert schedule.due(due) >= 1_000.0 + elapsed - 1e-6


def test_latency_counts_from_the_intended_moment() -> None:
    record = Record()
    number = record.sent(intended=10.0, now=12.0)  # the generator was two seconds late
    record.accept(number, 12.5)
    record.deliver(number, 13.0)
    report = record.report(10.0, 20.0)
    assert report.delivered == Latencies(1, 3_000.0, 3_000.0, 3_000.0)
    assert report.accepted.max == 2_500.0
    assert report.generator_late.max == 2_000.0


def test_only_the_window_counts_but_every_loss_does() -> None:
    record = Record()
    for intended, delivered in ((1.0, 1.5), (2.0, 2.5), (3.0, None), (9.0, 9.5)):
        number = record.sent(intended, intended)
        record.accept(number, intended)
        if delivered:
            record.deliver(number, delivered)
    report = record.report(2.0, 4.0)
    assert (report.sent, report.delivered.count, report.lost) == (2, 1, 1)
    assert report.delivered_per_second == 0.5


def test_a_second_delivery_is_a_duplicate_and_no_new_latency() -> None:
    record = Record()
    number = record.sent(1.0, 1.0)
    record.deliver(number, 2.0)
    record.deliver(number, 9.0)
    report = record.report(0.0, 10.0)
    assert (report.duplicates, report.delivered.max) == (1, 1_000.0)


def test_a_message_to_a_group_is_delivered_with_its_last_recipient() -> None:
    record = GroupRecord(recipients=2)
    for intended, delivered in ((1.0, (2.0, 4.0, 5.0)), (2.0, (4.5,)), (9.0, (9.5,))):
        number = record.sent(intended, intended)
        record.accept(number, intended)
        for at in delivered:
            record.deliver(number, at)
    report = record.report(1.0, 5.0)
    assert report.delivered == Latencies(3, 2_500.0, 3_000.0, 3_000.0)
    assert report.last == Latencies(1, 3_000.0, 3_000.0, 3_000.0)
    assert (report.delivered_in_window, report.delivered_per_second) == (3, 0.75)
    assert (report.lost, report.duplicates) == (2, 1)
