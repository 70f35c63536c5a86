"""Reports have named checks, changes of readiness are noticed, and the checks run once for all waiting tasks."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from shared.contract.errors import Unavailable
from shared.telemetry.health import CHECK_DEADLINE, FRESH, PROBES, WATCH_INTERVAL, Health


class Store:
    """A dependency with a check, which counts its runs."""

    def __init__(self) -> None:
        self.is_away = False
        self.is_hanging = False
        self.runs = 0

    async def check(self) -> None:
        self.runs += 1
        await trio.lowlevel.checkpoint()
        if self.is_hanging:
            await trio.sleep_forever()
        if self.is_away:
            raise Unavailable("the disk is full")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def health(store: Store) -> Health:
    health = Health()
    health.add("store", "the store answers", store.check)
    health.mark_started()
    return health


def failing(report: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["reason"] for check in report["checks"] if not check["ok"]}


# ---- reports


async def test_live_before_it_has_started() -> None:
    health = Health()
    assert [(await health.report(probe))[0] for probe in PROBES] == [200, 503, 503]
    assert not await health.ready()
    health.mark_started()
    assert [(await health.report(probe))[0] for probe in PROBES] == [200, 200, 200]
    assert await health.ready()


async def test_draining_is_live_and_not_ready_and_runs_no_checks_for_that(health: Health, store: Store) -> None:
    store.is_hanging = True
    health.mark_draining()
    assert not await health.ready()
    assert store.runs == 0
    store.is_hanging = False
    status, report = await health.report("readyz")
    assert (status, failing(report)) == (503, {"draining": "stopping"})
    assert (await health.report("livez"))[0] == 200


async def test_every_check_is_named_and_explained_and_a_failed_one_does_not_kill(health: Health, store: Store) -> None:
    async def break_down() -> None:
        raise KeyError("a secret")

    store.is_away = True
    health.add("log", "the log takes writes", trio.lowlevel.checkpoint)
    health.add("broken", "it works", break_down)
    with pytest.raises(ValueError, match="store"):
        health.add("store", "another of this name", trio.lowlevel.checkpoint)
    status, report = await health.report("readyz")
    assert (status, report["status"]) == (503, "failing")
    by_name = {check["name"]: check for check in report["checks"]}
    assert by_name["log"]["explanation"] == "the log takes writes"
    assert by_name["log"]["ok"]
    assert failing(report) == {"store": "the disk is full", "broken": "KeyError"}, "not the text of a foreign exception"
    assert (await health.report("livez"))[0] == 200


async def test_checks_that_hang_share_their_deadline(autojump_clock: MockClock) -> None:
    health = Health()
    health.mark_started()
    health.add("first", "it answers", trio.sleep_forever)
    health.add("second", "it answers", trio.sleep_forever, deadline=1)
    began = trio.current_time()
    status, report = await health.report("readyz")
    assert trio.current_time() - began == pytest.approx(CHECK_DEADLINE)
    assert status == 503
    assert failing(report) == {"first": "no answer within 2 s", "second": "no answer within 1 s"}


async def test_many_probes_cost_one_run_of_the_checks(health: Health, store: Store, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(health.report, "readyz")
    assert store.runs == 1
    await trio.sleep(2 * FRESH)
    await health.report("readyz")
    assert store.runs == 2


# ---- changes of readiness


def watch(health: Health, nursery: trio.Nursery) -> list[bool]:
    """Return a list to which the readiness is added now and at each change."""
    seen: list[bool] = []

    async def follow() -> None:
        ready = await health.ready()
        while True:
            seen.append(ready)
            ready = await health.wait_for_change(ready)

    nursery.start_soon(follow)
    return seen


async def test_each_change_is_noticed_within_an_interval(
    health: Health, store: Store, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    seen = watch(health, nursery)
    for away in (True, False, True):
        await trio.sleep(2 * WATCH_INTERVAL)
        store.is_away = away
    await trio.sleep(WATCH_INTERVAL + CHECK_DEADLINE)
    assert seen == [True, False, True, False]


async def test_the_checks_run_once_for_all_waiting_tasks_and_not_without_any(
    health: Health, store: Store, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as nursery:
        watchers = [watch(health, nursery) for _ in range(50)]
        await trio.sleep(0.5 * WATCH_INTERVAL)
        before = store.runs
        await trio.sleep(10 * WATCH_INTERVAL)
        assert store.runs - before == 10
        store.is_away = True
        await trio.sleep(WATCH_INTERVAL)
        assert watchers == [[True, False]] * 50
        nursery.cancel_scope.cancel()
    before = store.runs
    await trio.sleep(100 * WATCH_INTERVAL)
    assert store.runs == before


async def test_another_waiting_task_takes_over_when_one_is_cancelled(
    health: Health, store: Store, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as first:
        watch(health, first)
        await wait_all_tasks_blocked()
        others = [watch(health, nursery) for _ in range(2)]
        await trio.sleep(3 * WATCH_INTERVAL)
        first.cancel_scope.cancel()
    store.is_away = True
    await trio.sleep(3 * WATCH_INTERVAL)
    assert others == [[True, False]] * 2


@pytest.mark.parametrize("hangs", [False, True])
async def test_draining_is_noticed_at_once_whatever_the_checks_do(
    health: Health, store: Store, nursery: trio.Nursery, mock_clock: MockClock, *, hangs: bool
) -> None:
    watchers = [watch(health, nursery) for _ in range(3)]
    await wait_all_tasks_blocked()
    store.is_hanging = hangs
    mock_clock.jump(1.5 * WATCH_INTERVAL)
    await wait_all_tasks_blocked()
    assert store.runs == 2
    health.mark_draining()
    await wait_all_tasks_blocked()
    assert watchers == [[True, False]] * 3


async def test_a_check_that_passes_late_does_not_undo_draining() -> None:
    health = Health()

    async def check() -> None:
        health.mark_draining()

    health.add("store", "the store answers", check)
    health.mark_started()
    assert not await health.ready()
    assert not await health.ready()
