"""Whoever waits for the readiness of a process to turn hears of it, and the checks are run once for all of them."""

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from shared.contract.errors import Unavailable
from shared.telemetry.health import CHECK_DEADLINE, WATCH_INTERVAL, Health


class Store:
    """What a check asks; counts how often."""

    def __init__(self) -> None:
        self.away = False
        self.hangs = False
        self.asked = 0

    async def check(self) -> None:
        self.asked += 1
        await trio.lowlevel.checkpoint()
        if self.hangs:
            await trio.sleep_forever()
        if self.away:
            raise Unavailable("the store is away")


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def health(store: Store) -> Health:
    health = Health()
    health.add("store", "the store answers", store.check)
    health.started()
    return health


def watch(health: Health, nursery: trio.Nursery) -> list[bool]:
    """The readiness, each time that it turns, from now on."""
    seen: list[bool] = []

    async def follow() -> None:
        ready = await health.ready()
        while True:
            seen.append(ready)
            ready = await health.turned(ready)

    nursery.start_soon(follow)
    return seen


async def test_it_is_ready_once_started_until_it_drains() -> None:
    health = Health()
    assert not await health.ready()
    health.started()
    assert await health.ready()
    health.draining()
    assert not await health.ready()


async def test_a_process_that_drains_asks_nobody_any_more(health: Health, store: Store) -> None:
    store.hangs = True
    health.draining()
    assert not await health.ready()
    assert store.asked == 0


async def test_each_turn_is_seen_within_an_interval(
    health: Health, store: Store, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    seen = watch(health, nursery)
    for away in (True, False, True):
        await trio.sleep(2 * WATCH_INTERVAL)
        store.away = away
    await trio.sleep(WATCH_INTERVAL + CHECK_DEADLINE)
    assert seen == [True, False, True, False]


async def test_the_checks_are_run_once_for_all_that_wait(
    health: Health, store: Store, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    watchers = [watch(health, nursery) for _ in range(50)]
    await trio.sleep(0.5 * WATCH_INTERVAL)
    before = store.asked
    await trio.sleep(10 * WATCH_INTERVAL)
    assert store.asked - before == 10
    store.away = True
    await trio.sleep(WATCH_INTERVAL)
    assert watchers == [[True, False]] * 50


async def test_nobody_looks_while_nobody_waits(health: Health, store: Store, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        watch(health, nursery)
        watch(health, nursery)
        await trio.sleep(3 * WATCH_INTERVAL)
        nursery.cancel_scope.cancel()
    before = store.asked
    await trio.sleep(100 * WATCH_INTERVAL)
    assert store.asked == before


async def test_when_the_one_that_looks_leaves_another_looks_on(
    health: Health, store: Store, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    async with trio.open_nursery() as first:
        watch(health, first)
        await wait_all_tasks_blocked()
        others = [watch(health, nursery) for _ in range(2)]
        await trio.sleep(3 * WATCH_INTERVAL)
        first.cancel_scope.cancel()
    store.away = True
    await trio.sleep(3 * WATCH_INTERVAL)
    assert others == [[True, False]] * 2


@pytest.mark.parametrize("hangs", [False, True])
async def test_all_hear_at_once_that_it_drains_whatever_the_checks_do(
    health: Health, store: Store, nursery: trio.Nursery, mock_clock: MockClock, *, hangs: bool
) -> None:
    watchers = [watch(health, nursery) for _ in range(3)]
    await wait_all_tasks_blocked()
    store.hangs = hangs
    mock_clock.jump(1.5 * WATCH_INTERVAL)
    await wait_all_tasks_blocked()
    assert store.asked == 2
    health.draining()
    await wait_all_tasks_blocked()
    assert watchers == [[True, False]] * 3


async def test_a_check_that_passes_late_does_not_undo_that_it_drains() -> None:
    health = Health()

    async def check() -> None:
        health.draining()

    health.add("store", "the store answers", check)
    health.started()
    assert not await health.ready()
    assert not await health.ready()
