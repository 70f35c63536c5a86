"""What every board of processes promises, what processes say on it, and what happens while Redis is away."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from shared.contract.errors import Unavailable
from shared.contract.ids import wall_clock_ms
from shared.coordination import processes
from shared.coordination.processes import (
    SAY_SECONDS,
    SEEN_SECONDS,
    Figures,
    LocalBoard,
    ProcessBoard,
    ProcessReport,
    open_reports,
)
from shared.coordination.redis.processes import RedisBoard
from shared.drivers.redis import open_redis
from shared.settings import RedisSettings
from shared.telemetry.health import Health
from tests.shared.drivers.redis_clients import DEADLINE, blocking, settings_for
from tools.engines.redis import DURABLE, Redis

GATEWAY = ProcessReport("one", "gateway", "1.2.3", 5, True, Figures({"websocket": 3, "grpc": 1}, [0, 2], {0: 7, 2: 0}))
BFF = ProcessReport("one", "bff", "1.2.3", 6, False, Figures())

OpenBoard = Callable[[], AbstractAsyncContextManager[ProcessBoard]]
"""Opens the one board of a test. Opening it twice is how two processes share it."""


def local(request: pytest.FixtureRequest) -> OpenBoard:
    path: Path = request.getfixturevalue("tmp_path") / "processes.json"

    @asynccontextmanager
    async def open_board() -> AsyncIterator[ProcessBoard]:
        yield LocalBoard(path)

    return open_board


def redis(request: pytest.FixtureRequest) -> OpenBoard:
    return partial(open_redis_board, settings_for(request.getfixturevalue("redis_server")))


@asynccontextmanager
async def open_redis_board(settings: RedisSettings) -> AsyncIterator[ProcessBoard]:
    async with open_redis(settings) as client:
        yield RedisBoard(client, settings.prefix)


ENGINES = {"local": local, "redis": redis}


@pytest.fixture(params=sorted(ENGINES))
def open_board(request: pytest.FixtureRequest) -> OpenBoard:
    return ENGINES[request.param](request)


@pytest.fixture
async def board(open_board: OpenBoard) -> AsyncIterator[ProcessBoard]:
    async with open_board() as board:
        yield board


async def said(board: ProcessBoard) -> list[ProcessReport]:
    """Everything on the board, without when it was said."""
    return [replace(report, seen_at_ms=0) for report in await board.all()]


# ---- the board


async def test_a_new_board_is_empty(board: ProcessBoard) -> None:
    assert list(await board.all()) == []


async def test_what_processes_say_is_there_with_its_time_by_role_and_instance(board: ProcessBoard) -> None:
    other = replace(GATEWAY, instance="another")
    for report in (GATEWAY, BFF, other):
        await board.put(report)
    assert await said(board) == [BFF, other, GATEWAY]
    assert all(abs(report.seen_at_ms - wall_clock_ms()) < 60_000 for report in await board.all())


async def test_the_newest_word_of_a_process_counts(board: ProcessBoard) -> None:
    await board.put(GATEWAY)
    await board.put(replace(GATEWAY, ready=False))
    assert await said(board) == [replace(GATEWAY, ready=False)]


async def test_a_process_that_has_ended_is_taken_out(board: ProcessBoard) -> None:
    await board.put(GATEWAY)
    await board.put(BFF)
    await board.remove(GATEWAY)
    await board.remove(GATEWAY)
    assert await said(board) == [BFF]


async def test_another_process_reads_the_same(open_board: OpenBoard) -> None:
    async with open_board() as board, open_board() as other:
        await board.put(GATEWAY)
        assert await said(other) == [GATEWAY]


async def test_who_is_silent_for_long_is_left_out_of_the_file(tmp_path: Path) -> None:
    now_ms = 1_800_000_000_000
    path = tmp_path / "processes.json"
    board, reader = (LocalBoard(path, clock_ms=lambda: now_ms) for _ in range(2))
    await board.put(GATEWAY)
    now_ms += int(SEEN_SECONDS * 1000) - 1
    await board.put(BFF)
    assert await said(board) == await said(reader) == [BFF, GATEWAY]
    now_ms += 1
    assert await said(board) == await said(reader) == [BFF]


async def test_who_is_silent_for_long_is_left_out_of_redis_and_all_goes_by_itself(redis_server: Redis) -> None:
    settings = settings_for(redis_server)
    async with open_redis(settings) as client:
        board, key = RedisBoard(client, settings.prefix), f"{settings.prefix}processes"
        await board.put(GATEWAY)
        await board.put(BFF)
        seen, _, text = (await client.call("HGET", key, GATEWAY.key)).partition(" ")
        await client.call("HSET", key, GATEWAY.key, f"{int(seen) - int(SEEN_SECONDS * 1000)} {text}")
        assert await said(board) == [BFF]
        assert await client.call("HKEYS", key) == [BFF.key]
        assert 0 < await client.call("PTTL", key) <= SEEN_SECONDS * 1000


async def test_what_another_release_says_in_other_words_is_passed_over(redis_server: Redis) -> None:
    settings = settings_for(redis_server)
    async with open_redis(settings) as client:
        board = RedisBoard(client, settings.prefix)
        await board.put(BFF)
        strange = f"{wall_clock_ms() + 60_000} {json.dumps({'role': 'oracle'})}"
        await client.call("HSET", f"{settings.prefix}processes", "oracle one", strange, "no report", "nothing")
        assert await said(board) == [BFF]


async def test_a_file_that_can_not_be_written_is_missed_by_commands_alone(tmp_path: Path) -> None:
    board = LocalBoard(tmp_path / "missing" / "processes.json")
    await board.put(GATEWAY)
    assert await said(board) == [GATEWAY]
    assert list(await LocalBoard(tmp_path / "missing" / "processes.json").all()) == []


async def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "processes.json"
    await LocalBoard(path).put(GATEWAY)
    assert path.stat().st_mode & 0o777 == 0o600


# ---- what processes say


class MemoryBoard:
    """Remembers when what was said. While `is_away`, nothing can be."""

    def __init__(self) -> None:
        self.said: list[tuple[float, ProcessReport]] = []
        self.removed: list[str] = []
        self.is_away = False

    async def put(self, report: ProcessReport) -> None:
        if self.is_away:
            raise Unavailable("the fake is away")
        self.said.append((trio.current_time(), report))

    async def remove(self, report: ProcessReport) -> None:
        if self.is_away:
            raise Unavailable("the fake is away")
        self.removed.append(report.key)

    async def all(self) -> list[ProcessReport]:
        return [report for _, report in self.said]


async def test_a_process_reports_every_few_seconds_and_is_taken_out_at_its_end(autojump_clock: MockClock) -> None:
    board, health = MemoryBoard(), Health()
    health.started()
    async with open_reports(board, "one") as reports:
        reports.add("bff", health)
        began = trio.current_time()
        await trio.sleep(2 * SAY_SECONDS + 0.5)
    assert [at - began for at, _ in board.said] == [0, SAY_SECONDS, 2 * SAY_SECONDS]
    report = board.said[0][1]
    assert (report.instance, report.role, report.ready, report.version) == ("one", "bff", True, version("rookery"))
    assert board.removed == [report.key]


async def test_a_change_is_reported_within_a_second(autojump_clock: MockClock) -> None:
    board, health = MemoryBoard(), Health()
    sessions = 0
    health.started()
    async with open_reports(board, "one") as reports:
        reports.add("gateway", health, lambda: Figures({"grpc": sessions}))
        await trio.sleep(2.5)
        sessions, changed_at = 5, trio.current_time()
        await trio.sleep(1.1)
        assert board.said[-1][1].figures == Figures({"grpc": 5})
        assert board.said[-1][0] - changed_at <= processes.LOOK_SECONDS
        health.draining()
        await trio.sleep(1.1)
        assert not board.said[-1][1].ready
    assert len(board.said) == 3


async def test_a_board_that_is_away_harms_nothing_and_hears_all_when_it_is_back(autojump_clock: MockClock) -> None:
    board, health = MemoryBoard(), Health()
    health.started()
    board.is_away = True
    async with open_reports(board, "one") as reports:
        reports.add("bff", health)
        reports.add("archive", health)
        await trio.sleep(3)
        board.is_away = False
        await trio.sleep(1.1)
        assert [report.role for _, report in board.said] == ["bff", "archive"]
        board.is_away = True


async def test_while_redis_is_away_processes_go_on_and_report_again_when_it_is_back(
    own_redis: Callable[..., Redis],
) -> None:
    server = own_redis(DURABLE)
    settings, health = settings_for(server, timeout_seconds=0.5), Health()
    health.started()
    async with open_redis_board(settings) as board, open_reports(board, "one") as reports:
        reports.add("gateway", health, lambda: Figures({"grpc": 1}))
        await heard(board, 0)
        await blocking(server.kill)
        with pytest.raises(Unavailable):
            await board.all()
        back_ms = wall_clock_ms()
        await blocking(server.start)
        report = await heard(board, back_ms)
        assert report.figures == Figures({"grpc": 1})


async def heard(board: ProcessBoard, since_ms: int) -> ProcessReport:
    """What was said since then, once something was."""
    with trio.fail_after(DEADLINE):
        while True:
            with suppress(Unavailable):
                for report in await board.all():
                    if report.seen_at_ms >= since_ms:
                        return report
            await trio.sleep(0.01)
