"""The contract of every registry of processes, and the reports of a process during an outage of Redis.

A further twin needs a line in ENGINES.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace
from trio.testing import MockClock

from shared.contract.errors import Unavailable
from shared.contract.ids import wall_clock_ms
from shared.coordination import processes
from shared.coordination.processes import (
    EXPIRY_SECONDS,
    REPORT_SECONDS,
    LocalProcessRegistry,
    ProcessRegistry,
    ProcessReport,
    ProcessStats,
    open_reports,
)
from shared.coordination.redis.processes import RedisProcessRegistry
from shared.drivers.redis import open_redis
from shared.settings import RedisSettings
from shared.telemetry.health import Health
from tests.shared.drivers.redis_clients import settings_for
from tools.engines.redis import Redis

GATEWAY = ProcessReport(
    "one", "gateway", "1.2.3", 5, True, ProcessStats({"websocket": 3, "grpc": 1}, [0, 2], {0: 7, 2: 0})
)
BFF = ProcessReport("one", "bff", "1.2.3", 6, False, ProcessStats())

OpenRegistry = Callable[[], AbstractAsyncContextManager[ProcessRegistry]]
"""Opens the one registry of a test. Opening it twice is how two processes share it."""


@asynccontextmanager
async def open_redis_registry(settings: RedisSettings) -> AsyncIterator[ProcessRegistry]:
    async with open_redis(settings) as client:
        yield RedisProcessRegistry(client, settings.prefix)


def local(request: pytest.FixtureRequest) -> OpenRegistry:
    path = request.getfixturevalue("tmp_path") / "processes.json"
    return lambda: nullcontext(LocalProcessRegistry(path))


def redis(request: pytest.FixtureRequest) -> OpenRegistry:
    return partial(open_redis_registry, settings_for(request.getfixturevalue("redis_server")))


ENGINES = {"local": local, "redis": redis}


@pytest.fixture(params=sorted(ENGINES))
def open_registry(request: pytest.FixtureRequest) -> OpenRegistry:
    return ENGINES[request.param](request)


@pytest.fixture
async def registry(open_registry: OpenRegistry) -> AsyncIterator[ProcessRegistry]:
    async with open_registry() as registry:
        yield registry


async def reported(registry: ProcessRegistry) -> list[ProcessReport]:
    """All reports, without their times."""
    return [replace(report, seen_at_ms=0) for report in await registry.all()]


# ---- the registry


async def test_reports_are_listed_with_their_times_by_role_and_instance(open_registry: OpenRegistry) -> None:
    other = replace(GATEWAY, instance="another")
    async with open_registry() as registry, open_registry() as reader:
        assert list(await registry.all()) == []
        for report in (GATEWAY, BFF, other):
            await registry.put(report)
        assert await reported(registry) == await reported(reader) == [BFF, other, GATEWAY]
        assert all(abs(report.seen_at_ms - wall_clock_ms()) < 60_000 for report in await registry.all())


async def test_the_newest_report_of_a_process_counts_until_it_is_removed(registry: ProcessRegistry) -> None:
    for report in (GATEWAY, BFF, replace(GATEWAY, ready=False)):
        await registry.put(report)
    assert await reported(registry) == [BFF, replace(GATEWAY, ready=False)]
    for _ in range(2):
        await registry.remove(GATEWAY)
        assert await reported(registry) == [BFF]


async def test_an_old_report_is_left_out_of_the_file_which_only_its_owner_may_read(tmp_path: Path) -> None:
    now_ms = 1_800_000_000_000
    path = tmp_path / "processes.json"
    registry, reader = (LocalProcessRegistry(path, clock_ms=lambda: now_ms) for _ in range(2))
    await registry.put(GATEWAY)
    now_ms += int(EXPIRY_SECONDS * 1000) - 1
    await registry.put(BFF)
    assert await reported(registry) == await reported(reader) == [BFF, GATEWAY]
    now_ms += 1
    assert await reported(registry) == await reported(reader) == [BFF]
    assert path.stat().st_mode & 0o777 == 0o600


async def test_an_old_report_is_left_out_of_redis_and_all_expire(redis_server: Redis) -> None:
    settings = settings_for(redis_server)
    async with open_redis(settings) as client:
        registry, key = RedisProcessRegistry(client, settings.prefix), f"{settings.prefix}processes"
        await registry.put(GATEWAY)
        await registry.put(BFF)
        seen, _, text = (await client.call("HGET", key, GATEWAY.key)).partition(" ")
        await client.call("HSET", key, GATEWAY.key, f"{int(seen) - int(EXPIRY_SECONDS * 1000)} {text}")
        assert await reported(registry) == [BFF]
        assert await client.call("HKEYS", key) == [BFF.key]
        assert 0 < await client.call("PTTL", key) <= EXPIRY_SECONDS * 1000


async def test_a_report_of_another_release_is_skipped(redis_server: Redis) -> None:
    settings = settings_for(redis_server)
    async with open_redis(settings) as client:
        registry = RedisProcessRegistry(client, settings.prefix)
        await registry.put(BFF)
        strange = f"{wall_clock_ms() + 60_000} {json.dumps({'role': 'oracle'})}"
        await client.call("HSET", f"{settings.prefix}processes", "oracle one", strange, "no report", "nothing")
        assert await reported(registry) == [BFF]


async def test_a_file_that_can_not_be_written_leaves_a_process_its_own_reports(tmp_path: Path) -> None:
    registry = LocalProcessRegistry(tmp_path / "missing" / "processes.json")
    await registry.put(GATEWAY)
    assert await reported(registry) == [GATEWAY]
    assert list(await LocalProcessRegistry(tmp_path / "missing" / "processes.json").all()) == []


# ---- reports of a process


class MemoryRegistry:
    """Keeps each report with its time. While `is_away`, it accepts none."""

    def __init__(self) -> None:
        self.reported: list[tuple[float, ProcessReport]] = []
        self.removed: list[str] = []
        self.is_away = False

    async def put(self, report: ProcessReport) -> None:
        if self.is_away:
            raise Unavailable("the fake is away")
        self.reported.append((trio.current_time(), report))

    async def remove(self, report: ProcessReport) -> None:
        if self.is_away:
            raise Unavailable("the fake is away")
        self.removed.append(report.key)

    async def all(self) -> list[ProcessReport]:
        return [report for _, report in self.reported]


async def test_a_process_reports_every_few_seconds_and_is_removed_at_its_end(autojump_clock: MockClock) -> None:
    registry, health = MemoryRegistry(), Health()
    health.mark_started()
    async with open_reports(registry, "one") as reports:
        reports.add("bff", health)
        began = trio.current_time()
        await trio.sleep(2 * REPORT_SECONDS + 0.5)
    assert [at - began for at, _ in registry.reported] == [0, REPORT_SECONDS, 2 * REPORT_SECONDS]
    report = registry.reported[0][1]
    assert (report.instance, report.role, report.ready, report.version) == ("one", "bff", True, version("rookery"))
    assert registry.removed == [report.key]


async def test_a_change_is_reported_within_a_second(autojump_clock: MockClock) -> None:
    registry, health = MemoryRegistry(), Health()
    sessions = 0
    health.mark_started()
    async with open_reports(registry, "one") as reports:
        reports.add("gateway", health, lambda: ProcessStats({"grpc": sessions}))
        await trio.sleep(2.5)
        sessions, changed_at = 5, trio.current_time()
        await trio.sleep(1.1)
        assert registry.reported[-1][1].stats == ProcessStats({"grpc": 5})
        assert registry.reported[-1][0] - changed_at <= processes.CHECK_SECONDS
        health.mark_draining()
        await trio.sleep(1.1)
        assert not registry.reported[-1][1].ready
    assert len(registry.reported) == 3


async def test_an_unavailable_registry_harms_nothing_and_gets_every_report_when_it_is_back(
    autojump_clock: MockClock,
) -> None:
    registry, health = MemoryRegistry(), Health()
    health.mark_started()
    registry.is_away = True
    async with open_reports(registry, "one") as reports:
        reports.add("bff", health)
        reports.add("archive", health)
        await trio.sleep(3)
        registry.is_away = False
        await trio.sleep(1.1)
        assert [report.role for _, report in registry.reported] == ["bff", "archive"]
        registry.is_away = True
