"""Metrics are plain numbers, read in Prometheus' text format by whoever plays a role, and cost next to nothing."""

import re
from collections.abc import Iterator
from time import thread_time

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from shared.telemetry.metrics import exposition, lag_reading, register_readings, serve_role
from shared.telemetry.metrics.catalogue import (
    ACCEPT,
    CATALOGUE,
    CONSUMER_LAG,
    HTTP,
    REFUSALS,
    SESSION_DROPPED,
    SESSIONS,
    SIGN_INS,
)
from shared.telemetry.metrics.document import PAGE, with_table
from shared.telemetry.metrics.event_loop import INTERVAL, measure_event_loop
from shared.telemetry.metrics.instruments import Counter, Gauge, Histogram, Instrument

Sample = tuple[str, frozenset[tuple[str, str]]]


async def ready() -> bool:
    await trio.lowlevel.checkpoint()
    return True


async def unready() -> bool:
    await trio.lowlevel.checkpoint()
    return False


async def samples() -> dict[Sample, float]:
    """The samples at /metrics, by name and labels."""
    families = text_string_to_metric_families((await exposition()).decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def sample(name: str, **labels: str) -> Sample:
    return name, frozenset(labels.items())


def values(instrument: Instrument) -> dict[tuple[str, tuple[str, ...]], float]:
    """What an instrument says, by the name of the sample and the values of its labels in their order."""
    return {(s.name, tuple(s.labels.values())): s.value for s in instrument.family().samples}


def test_a_counter_counts_by_its_labels_and_knows_some_from_the_start() -> None:
    counter = Counter("rookery_things_total", "Things", labels=("kind",), known=("good", "bad"))
    counter.inc("bad")
    counter.inc("ugly", by=3)
    assert values(counter) == {
        ("rookery_things_total", ("good",)): 0,
        ("rookery_things_total", ("bad",)): 1,
        ("rookery_things_total", ("ugly",)): 3,
    }


def test_a_counter_without_labels_is_zero_from_the_start() -> None:
    assert values(Counter("rookery_things_total", "Things")) == {("rookery_things_total", ()): 0}


def test_what_several_tell_of_the_same_labels_is_summed_while_they_are_there() -> None:
    gauge = Gauge("rookery_things", "Things", labels=("kind",))
    with gauge.read_from(lambda: {("good",): 1, ("bad",): 5}):
        with gauge.read_from(lambda: {("good",): 2}):
            assert values(gauge) == {("rookery_things", ("good",)): 3, ("rookery_things", ("bad",)): 5}
        assert values(gauge) == {("rookery_things", ("good",)): 1, ("rookery_things", ("bad",)): 5}
    assert values(gauge) == {}


def test_what_is_kept_elsewhere_adds_to_what_is_counted_here() -> None:
    counter = Counter("rookery_things_total", "Things")
    counter.inc(by=2)
    with counter.read_from(lambda: 40):
        assert values(counter) == {("rookery_things_total", ()): 42}


def test_a_histogram_has_cumulative_buckets_with_their_bounds_inclusive() -> None:
    histogram = Histogram("rookery_things_seconds", "Things", bounds=(0.1, 1.0), labels=("kind",))
    for seconds in (0.05, 0.1, 0.5, 7.0):
        histogram.observe(seconds, "good")
    assert values(histogram) == {
        ("rookery_things_seconds_bucket", ("good", "0.1")): 2,
        ("rookery_things_seconds_bucket", ("good", "1.0")): 3,
        ("rookery_things_seconds_bucket", ("good", "+Inf")): 4,
        ("rookery_things_seconds_count", ("good",)): 4,
        ("rookery_things_seconds_sum", ("good",)): pytest.approx(7.65),
    }


@pytest.mark.parametrize("instrument", CATALOGUE, ids=lambda each: each.name)
def test_a_name_follows_the_conventions_of_prometheus(instrument: Instrument) -> None:
    assert re.fullmatch(r"rookery_[a-z_]+", instrument.name)
    assert instrument.name.endswith("_total") == (instrument.kind == "counter")
    assert instrument.unit in ("", "seconds", "bytes")
    assert not instrument.unit or instrument.name.removesuffix("_total").endswith(instrument.unit)
    assert instrument.help
    assert not instrument.help.endswith(".")


def test_no_name_is_used_twice() -> None:
    names = [instrument.name for instrument in CATALOGUE]
    assert len(set(names)) == len(names)


def test_the_table_in_the_docs_is_that_of_the_catalogue() -> None:
    page = PAGE.read_text()
    assert page == with_table(page), "run `python -m shared.telemetry.metrics.document`"
    assert all(f"`{instrument.name}`" in page for instrument in CATALOGUE)


async def test_a_process_without_a_role_exposes_no_metric_of_rookery() -> None:
    ACCEPT.observe(0.01)
    assert "rookery_accept" not in (await exposition()).decode()


async def test_a_role_exposes_its_own_metrics() -> None:
    with serve_role("archive", ready):
        exposed = {name for name, _ in await samples()}
    assert "rookery_recorder_retries_total" in exposed
    assert not any(name.startswith(("rookery_accept", "rookery_sign_ins")) for name in exposed)
    assert "process_resident_memory_bytes" in exposed
    with serve_role("gateway", ready):
        before = (await samples())[sample("rookery_refusals_total", code="rate_limited")]
        REFUSALS.inc("rate_limited")
        assert (await samples())[sample("rookery_refusals_total", code="rate_limited")] == before + 1


async def test_roles_in_one_process_do_not_collide() -> None:
    with serve_role("gateway", ready), serve_role("archive", unready), serve_role("bff", ready):
        exposed = await samples()
    assert {role: exposed[sample("rookery_ready", role=role)] for role in ("bff", "gateway", "archive")} == {
        "bff": 1,
        "gateway": 1,
        "archive": 0,
    }
    assert sample("rookery_sign_ins_total", result="ok") in exposed
    assert sample("rookery_session_dropped_events_total") in exposed


async def test_lag_is_exposed_by_group_and_partition() -> None:
    with serve_role("archive", ready), register_readings({CONSUMER_LAG: lag_reading("archive", lambda: {0: 7, 3: 0})}):
        exposed = await samples()
    assert exposed[sample("rookery_consumer_lag", group="archive", partition="0")] == 7
    assert exposed[sample("rookery_consumer_lag", group="archive", partition="3")] == 0


async def test_a_role_that_does_not_know_whether_it_is_ready_keeps_the_metrics_waiting_and_no_more(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async def slow() -> bool:
        await trio.sleep(2)
        return False

    with serve_role("bff", slow), serve_role("archive", slow):
        began = trio.current_time()
        exposed = await samples()
        assert trio.current_time() - began == 2
    assert exposed[sample("rookery_ready", role="bff")] == 0


async def test_the_lag_of_the_event_loop_is_how_long_it_was_kept_from_what_is_due(
    monkeypatch: pytest.MonkeyPatch, mock_clock: trio.testing.MockClock
) -> None:
    lag = Histogram("rookery_lag_seconds", "Lag", bounds=(0.001, 1.0))
    monkeypatch.setattr("shared.telemetry.metrics.event_loop.EVENT_LOOP_LAG", lag)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(measure_event_loop)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(INTERVAL)
        await trio.testing.wait_all_tasks_blocked()
        mock_clock.jump(INTERVAL + 0.25)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert lag.count() == 2
    assert values(lag)["rookery_lag_seconds_bucket", ("0.001",)] == 1
    assert values(lag)["rookery_lag_seconds_sum", ()] == pytest.approx(0.25)


def microseconds(calls: int, best_of: int = 5) -> Iterator[float]:
    """What one message counts and measures, on its way through a gateway, several times."""
    for _ in range(best_of):
        began = thread_time()
        for _ in range(calls):
            ACCEPT.observe(0.003)
            SIGN_INS.inc("ok")
            SESSION_DROPPED.inc()
            HTTP.observe(0.003, "GET", "/v1/me", "200")
        yield (thread_time() - began) / calls / 4 * 1e6


def test_to_count_or_measure_costs_less_than_two_microseconds() -> None:
    """A tenth of that, where nothing else runs; what is counted for a message is a few dozen of them at most."""
    assert min(microseconds(20_000)) < 2


def test_gauges_without_readings_are_not_exposed() -> None:
    assert values(SESSIONS) == {}
