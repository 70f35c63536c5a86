"""Metrics are plain numbers, which each role exposes in the text format of Prometheus."""

import re

import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from shared.telemetry.metrics import Exposition, lag_reading, register_readings, serve_role
from shared.telemetry.metrics.catalogue import ACCEPT, CATALOGUE, CONSUMER_LAG, REFUSALS
from shared.telemetry.metrics.document import PAGE, with_table
from shared.telemetry.metrics.event_loop import INTERVAL, measure_event_loop
from shared.telemetry.metrics.exposition import KEPT_SECONDS, exposition
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
    """The values of an instrument, by the name of the sample and the values of its labels in their order."""
    return {(s.name, tuple(s.labels.values())): s.value for s in instrument.family().samples}


def test_a_counter_counts_by_its_labels_of_which_some_are_there_from_the_start() -> None:
    counter = Counter("rookery_things_total", "Things", labels=("kind",), known=("good", "bad"))
    counter.inc("bad")
    counter.inc("ugly", by=3)
    assert values(counter) == {
        ("rookery_things_total", ("good",)): 0,
        ("rookery_things_total", ("bad",)): 1,
        ("rookery_things_total", ("ugly",)): 3,
    }


def test_a_counter_without_labels_starts_at_zero_and_adds_the_counts_of_others() -> None:
    counter = Counter("rookery_things_total", "Things")
    assert values(counter) == {("rookery_things_total", ()): 0}
    counter.inc(by=2)
    with counter.read_from(lambda: 40):
        assert values(counter) == {("rookery_things_total", ()): 42}


def test_readings_of_the_same_labels_are_summed_while_they_are_registered() -> None:
    gauge = Gauge("rookery_things", "Things", labels=("kind",))
    with gauge.read_from(lambda: {("good",): 1, ("bad",): 5}):
        with gauge.read_from(lambda: {("good",): 2}):
            assert values(gauge) == {("rookery_things", ("good",)): 3, ("rookery_things", ("bad",)): 5}
        assert values(gauge) == {("rookery_things", ("good",)): 1, ("rookery_things", ("bad",)): 5}
    assert values(gauge) == {}


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


def test_the_table_in_the_docs_is_that_of_the_catalogue() -> None:
    assert len({instrument.name for instrument in CATALOGUE}) == len(CATALOGUE)
    page = PAGE.read_text()
    assert page == with_table(page), "run `make metrics`"
    assert all(f"`{instrument.name}`" in page for instrument in CATALOGUE)


async def test_a_role_exposes_its_own_metrics_and_a_process_without_one_none_of_rookery() -> None:
    ACCEPT.observe(0.01)
    assert "rookery_accept" not in (await exposition()).decode()
    with serve_role("archive", ready), register_readings({CONSUMER_LAG: lag_reading("archive", lambda: {0: 7, 3: 0})}):
        exposed = await samples()
    names = {name for name, _ in exposed}
    assert {"rookery_recorder_retries_total", "process_resident_memory_bytes"} <= names
    assert not any(name.startswith(("rookery_accept", "rookery_sign_ins")) for name in names)
    assert exposed[sample("rookery_consumer_lag", group="archive", partition="0")] == 7
    assert exposed[sample("rookery_consumer_lag", group="archive", partition="3")] == 0
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


async def test_slow_checks_of_several_roles_delay_the_metrics_only_once(autojump_clock: trio.testing.MockClock) -> None:
    async def slow() -> bool:
        await trio.sleep(2)
        return False

    with serve_role("bff", slow), serve_role("archive", slow):
        began = trio.current_time()
        exposed = await samples()
        assert trio.current_time() - began == 2
    assert exposed[sample("rookery_ready", role="bff")] == 0


async def test_the_tasks_of_the_process_are_counted() -> None:
    async with trio.open_nursery() as nursery:
        with serve_role("archive", ready):
            before = (await samples())[sample("rookery_tasks")]
            nursery.start_soon(trio.sleep_forever)
            assert (await samples())[sample("rookery_tasks")] == before + 1
        nursery.cancel_scope.cancel()


async def test_the_lag_of_the_event_loop_is_the_delay_of_a_task_that_is_due(
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


async def test_all_who_ask_at_once_get_one_text_which_is_kept_for_a_while(
    autojump_clock: trio.testing.MockClock,
) -> None:
    checks = list[float]()

    async def slow() -> bool:
        checks.append(trio.current_time())
        await trio.sleep(2)
        return True

    shared = Exposition()
    with serve_role("bff", slow):
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(shared.text)
        assert len(checks) == 1
        kept = await shared.text()
        await trio.sleep(KEPT_SECONDS)
        assert await shared.text() is not kept
    assert len(checks) == 2


async def test_a_client_that_is_gone_leaves_the_text_to_the_next(autojump_clock: trio.testing.MockClock) -> None:
    async def slow() -> bool:
        await trio.sleep(2)
        return True

    shared = Exposition()
    with serve_role("bff", slow):
        with trio.move_on_after(1):
            await shared.text()
        assert sample("rookery_ready", role="bff")[0].encode() in await shared.text()
