"""Leases of generator numbers: no number has two holders, whatever happens to Redis and to clocks."""

import itertools
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

import pytest
import redis
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from shared.contract.errors import Unavailable
from shared.contract.ids import GENERATORS
from shared.coordination.redis import leases
from shared.coordination.redis.leases import (
    AHEAD_MS,
    BACKLOG_SLOTS,
    HOLD_SECONDS,
    LOWEST,
    NUMBERS,
    RENEW_SECONDS,
    RETRY_SECONDS,
    RULE,
    SETTLE_MS,
    SLOT_MS,
    Lease,
    open_generator_lease,
)
from shared.drivers.redis import open_redis
from tests.fuzzing import examples
from tests.shared.drivers.redis_clients import blocking, settings_for
from tests.waiting import PATIENCE, until
from tools.engines.redis import Redis

HOLD_MS = int(HOLD_SECONDS * 1000)

APART_MS = (NUMBERS - BACKLOG_SLOTS - 1) * SLOT_MS
"""The shortest time between two leases of one number, while no clock is set."""

START_MS = 1_800_000_000_000

FAKE_PRELUDE = "local now, server = tonumber(ARGV[1]), ARGV[2]"


@dataclass
class World:
    """Redis with clocks that tests set, and the leases that it granted, each with the true time."""

    engine: redis.Redis
    now_ms: int = START_MS
    server: int = 0
    """The server's id; another after a restart."""
    server_ahead_ms: int = 0
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    granted: list[tuple[int, int]] = field(default_factory=list)
    """Number and true time, oldest first."""

    def take(self) -> int:
        """Request a lease; return how long to wait, 0 if it was granted."""
        answer = self.engine.eval(FAKE_PRELUDE + RULE, 1, self.key, self.now_ms + self.server_ahead_ms, self.server)
        number, wait_ms = cast(list[int], answer)
        if number:
            assert 0 < number < GENERATORS - 1  # 0 and 1023 are never leased
            assert wait_ms == 0
            self.granted.append((number, self.now_ms))
        return wait_ms

    def take_after_waiting(self) -> None:
        while wait_ms := self.take():
            self.now_ms += wait_ms

    def restart(self, lost: int | None, ahead_ms: int) -> None:
        """Let another server take over, which has lost this many leases, or all."""
        self.server += 1
        self.server_ahead_ms = ahead_ms
        if lost is None:
            self.engine.delete(self.key)
        elif self.engine.exists(self.key):
            self.engine.hincrby(self.key, "next", -lost)

    def closest_ms(self) -> float:
        """The shortest time between two leases of one number."""
        by_number: dict[int, list[int]] = {}
        for number, at_ms in self.granted:
            by_number.setdefault(number, []).append(at_ms)
        gaps = [later - earlier for times in by_number.values() for earlier, later in itertools.pairwise(times)]
        return min(gaps, default=float("inf"))


@pytest.fixture
def engine(redis_server: Redis) -> Iterator[redis.Redis]:
    with redis.Redis(host=redis_server.host, port=redis_server.port) as engine:
        yield engine


PAUSES = st.sampled_from([0, 1, SLOT_MS - 1, SLOT_MS, 10 * SLOT_MS, 60_000, APART_MS, NUMBERS * SLOT_MS])
PAUSES_OR_ANY = PAUSES | st.integers(0, 2 * NUMBERS * SLOT_MS)
CLOCKS = st.integers(-SETTLE_MS // 2, SETTLE_MS // 2)
"""How far a server's clock is ahead of true time: two differ by SETTLE_MS at most."""


@examples(50)
@given(st.lists(st.tuples(PAUSES_OR_ANY, st.integers(1, 45)), max_size=6))
def test_leases_of_one_number_are_far_apart(engine: redis.Redis, steps: list[tuple[int, int]]) -> None:
    world = World(engine)
    for pause_ms, wanted in steps:
        world.now_ms += pause_ms
        for _ in range(wanted):
            world.take()
    assert world.closest_ms() >= APART_MS
    assert APART_MS - HOLD_MS >= 120_000  # the error of clocks that is allowed


RESTARTS = st.none() | st.tuples(st.none() | st.integers(0, 3), CLOCKS)


@given(st.lists(st.tuples(PAUSES_OR_ANY, st.integers(0, 5), RESTARTS), max_size=20))
def test_leases_of_one_number_are_far_apart_after_servers_lost_their_data(
    engine: redis.Redis, steps: list[tuple[int, int, tuple[int | None, int] | None]]
) -> None:
    """As after a crash without persistence, or a failover to a replica on a machine with another clock."""
    world = World(engine)
    for pause_ms, wanted, restart in steps:
        world.now_ms += pause_ms
        for _ in range(wanted):
            world.take_after_waiting()
        if restart is not None:
            world.restart(*restart)
    assert world.closest_ms() >= APART_MS - 2 * SETTLE_MS


@given(st.lists(st.tuples(PAUSES, st.integers(0, 5), st.integers(-300, 300)), max_size=20))
def test_holders_never_meet_if_the_clock_of_redis_is_set(
    engine: redis.Redis, steps: list[tuple[int, int, int]]
) -> None:
    """Back by any time, forward by two minutes together."""
    world = World(engine)
    forward_s = 120
    for pause_ms, wanted, step_s in steps:
        world.now_ms += pause_ms
        allowed_s = min(step_s, forward_s)
        forward_s -= max(allowed_s, 0)
        world.server_ahead_ms += allowed_s * 1000
        for _ in range(wanted):
            world.take()
    assert world.closest_ms() >= HOLD_MS


def test_an_empty_redis_grants_its_first_lease_after_a_pause_and_then_four_a_second(engine: redis.Redis) -> None:
    world = World(engine)
    for _ in range(5):
        world.take_after_waiting()
    assert SETTLE_MS <= world.granted[0][1] - START_MS <= SETTLE_MS + SLOT_MS
    assert [later - earlier for (_, earlier), (_, later) in itertools.pairwise(world.granted)] == [SLOT_MS] * 4


def test_many_processes_can_start_at_once_after_a_quiet_time(engine: redis.Redis) -> None:
    world = World(engine)
    world.take_after_waiting()
    world.now_ms += 60_000
    for _ in range(BACKLOG_SLOTS + 1):
        assert world.take() == 0
    assert 0 < world.take() <= SLOT_MS
    assert len({number for number, _ in world.granted}) == BACKLOG_SLOTS + 2


@pytest.mark.parametrize("forward_ms", [0, 120_000])
def test_a_clock_that_was_far_ahead_and_is_right_again_costs_the_life_of_a_lease(
    engine: redis.Redis, forward_ms: int
) -> None:
    """That far ahead, the next number is the last one again: its holder must be gone by then."""
    world = World(engine, server_ahead_ms=AHEAD_MS + 4 * NUMBERS * SLOT_MS)
    world.take_after_waiting()
    world.server_ahead_ms = 0
    assert world.take() > HOLD_MS
    world.server_ahead_ms = forward_ms
    world.take_after_waiting()
    assert len({number for number, _ in world.granted}) == 1
    assert HOLD_MS <= world.closest_ms() <= AHEAD_MS


class Redises:
    """A fake of Redis. It grants rising numbers after `seconds`, once after `wait_ms`, and none while it is away."""

    def __init__(self) -> None:
        self.is_away = False
        self.seconds = 0.0
        self.wait_ms = 0
        self.requests = 0
        self._numbers = itertools.count(7)

    async def take(self) -> tuple[int, int]:
        self.requests += 1
        await trio.sleep(self.seconds)
        if self.is_away:
            raise Unavailable("the fake is away")
        if self.wait_ms:
            wait_ms, self.wait_ms = self.wait_ms, 0
            return 0, wait_ms
        return next(self._numbers), 0


@pytest.fixture
def fake() -> Redises:
    return Redises()


@pytest.fixture
def lease(fake: Redises, nursery: trio.Nursery) -> Lease:
    lease = Lease(fake.take, trio.current_time)
    nursery.start_soon(lease.keep)
    return lease


async def test_ids_have_the_number_of_the_lease_and_rise_when_it_changes(
    lease: Lease, autojump_clock: MockClock
) -> None:
    made = []
    for number in range(7, 12):
        await until(lambda number=number: lease.number == number)  # type: ignore[misc]
        made += [await lease.ids.next() for _ in range(10)]
        assert {snowflake >> 12 & (GENERATORS - 1) for snowflake in made[-10:]} == {number}
        await trio.sleep(RENEW_SECONDS - 2)
    assert made == sorted(set(made))


async def test_there_are_no_ids_before_the_first_lease_for_which_it_waits_as_long_as_redis_requires(
    fake: Redises, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    fake.wait_ms = 700
    lease = Lease(fake.take, trio.current_time)
    assert not lease.is_held()
    with pytest.raises(Unavailable):
        lease.ids.next_nowait()
    nursery.start_soon(lease.keep)
    await lease.tried.wait()
    assert trio.current_time() == pytest.approx(0.7)
    assert lease.number == 7


async def test_it_is_renewed_while_it_is_good_for_another_minute(
    lease: Lease, fake: Redises, autojump_clock: MockClock
) -> None:
    await lease.tried.wait()
    for _ in range(3600):
        await trio.sleep(1)
        assert lease.is_held()
    assert fake.requests == pytest.approx(3600 / RENEW_SECONDS, abs=2)


async def test_an_outage_of_nearly_a_minute_stops_nothing(
    lease: Lease, fake: Redises, autojump_clock: MockClock
) -> None:
    await lease.tried.wait()
    await trio.sleep(RENEW_SECONDS - 0.5)
    fake.is_away = True
    for _ in range(int(HOLD_SECONDS - RENEW_SECONDS - 2)):
        await trio.sleep(1)
        assert lease.ids.next_nowait() is not None
    fake.is_away = False
    await trio.sleep(2 * RETRY_SECONDS)
    assert lease.number == 8


async def test_a_longer_outage_stops_ids_until_there_is_a_new_number(
    lease: Lease, fake: Redises, autojump_clock: MockClock
) -> None:
    await lease.tried.wait()
    with structlog.testing.capture_logs() as logs:
        fake.is_away = True
        await trio.sleep(HOLD_SECONDS + 0.1)
        assert not lease.is_held()
        with pytest.raises(Unavailable):
            await lease.ids.next()
        await trio.sleep(1000)
        fake.is_away = False
        await until(lease.is_held)
        assert lease.number == 8
        assert await lease.ids.next()
    assert [entry["event"] for entry in logs] == ["generator_not_held", "generator_held"]


async def test_the_time_of_a_lease_counts_from_before_its_request(
    fake: Redises, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    fake.seconds = 30
    lease = Lease(fake.take, trio.current_time)
    nursery.start_soon(lease.keep)
    await lease.tried.wait()
    fake.is_away = True
    await trio.sleep(HOLD_SECONDS - 30 - 0.1)
    assert lease.is_held()
    await trio.sleep(0.2)
    assert not lease.is_held()


async def test_a_process_that_was_suspended_has_no_lease_when_it_wakes_and_soon_a_new_one(
    fake: Redises, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Trio's clock stands still meanwhile; the lease's does not."""
    suspended = 0.0
    lease = Lease(fake.take, lambda: trio.current_time() + suspended)
    nursery.start_soon(lease.keep)
    await lease.tried.wait()
    await trio.sleep(5)
    suspended = HOLD_SECONDS
    assert not lease.is_held()
    with trio.fail_after(2 * RETRY_SECONDS):
        await until(lease.is_held)
    assert lease.number == 8


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first lease of an empty Redis does not wait for SETTLE_MS."""
    waiting = f"slot + {SETTLE_MS // SLOT_MS} + 1"
    assert waiting in leases.RULE
    monkeypatch.setattr(leases, "RULE", leases.RULE.replace(waiting, "slot + 1"))


@pytest.mark.usefixtures("settled")
async def test_processes_have_ids_from_the_start_with_different_numbers(
    redis_server: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "START_SECONDS", PATIENCE)  # the machine may be busy
    own = settings_for(redis_server)
    async with (
        open_redis(own) as client,
        open_redis(own) as other,
        open_generator_lease(client, own.prefix) as one,
        open_generator_lease(other, own.prefix) as two,
    ):
        numbers = set()
        for lease in (one, two):
            await lease.wait_first()
            numbers.add(await lease.ids.next() >> 12 & (GENERATORS - 1))
    assert len(numbers) == 2
    assert LOWEST <= min(numbers) < max(numbers) < LOWEST + NUMBERS


async def test_after_a_restart_without_persistence_a_holder_continues_and_a_new_process_gets_another_number(
    own_redis: Callable[..., Redis],
) -> None:
    server = own_redis()
    own = settings_for(server)
    async with open_redis(own) as client, open_generator_lease(client, own.prefix) as old:
        await until(old.is_held)
        held = old.number
        await blocking(server.kill)
        assert await old.ids.next()
        await blocking(server.start)
        began = time.monotonic()
        async with open_redis(own) as other, open_generator_lease(other, own.prefix) as new:
            await until(new.is_held)
            assert time.monotonic() - began > SETTLE_MS / 1000
            assert new.number != held
            assert old.is_held()
            assert old.number == held
            assert await old.ids.next() != await new.ids.next()


@pytest.mark.usefixtures("settled")
async def test_a_process_has_no_ids_while_redis_is_away_and_has_them_once_it_is_there(
    own_redis: Callable[..., Redis],
) -> None:
    server = own_redis()
    own = settings_for(server)
    server.kill()
    async with open_redis(own) as client:
        with trio.fail_after(PATIENCE):
            async with open_generator_lease(client, own.prefix) as lease:
                with pytest.raises(Unavailable, match="Redis does not answer"):
                    await lease.wait_first()
                with pytest.raises(Unavailable):
                    await lease.ids.next()
                await blocking(server.start)
                await until(lease.is_held)
                assert await lease.ids.next()
