"""Spooled records are published by the process that has the log open, once and in order."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest
import structlog
import trio

from shared.backplane import Backplane, Record
from shared.backplane.protocol import Done
from shared.backplane.sqlite.spool import publish_spool, spool_record
from shared.contract.errors import Unavailable
from shared.contract.partitions import partition_of
from tests.waiting import until


class FakeLog:
    """Keeps the published records. Refuses them while `is_away`."""

    partitions = 4

    def __init__(self) -> None:
        self.published: list[Record] = []
        self.is_away = False

    def publish(self, records: Sequence[Record], done: Done, *, until: float = math.inf) -> None:
        if self.is_away:
            raise Unavailable("the fake is away")
        self.published += records
        done([0] * len(records))


@asynccontextmanager
async def publishing(folder: Path, log: FakeLog) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Publish the spool while the block is open; yield a function that waits until it is empty."""

    async def until_empty() -> None:
        await until(lambda: not any(name.endswith(".record") for name in names(folder)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(publish_spool, folder, cast(Backplane, log))
        yield until_empty
        nursery.cancel_scope.cancel()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "spool"


@pytest.mark.parametrize("before", [0, 3])
async def test_records_spooled_before_and_meanwhile_are_published_in_order(spool: Path, before: int) -> None:
    """Without a record before, the folder does not exist yet."""
    log = FakeLog()
    for number in range(before):
        spool_record(spool, 7, b"before %d" % number)
    async with publishing(spool, log) as until_empty:
        await trio.testing.wait_all_tasks_blocked()
        spool_record(spool, 8, b"meanwhile")
        await until_empty()
    values = [*(b"before %d" % number for number in range(before)), b"meanwhile"]
    assert [record.value for record in log.published] == values
    assert [record.partition for record in log.published] == [partition_of(user, 4) for user in [7] * before + [8]]


async def test_a_record_that_the_log_refuses_stays_until_it_is_accepted(spool: Path) -> None:
    log = FakeLog()
    log.is_away = True
    spool_record(spool, 7, b"first")
    with structlog.testing.capture_logs() as lines:
        async with publishing(spool, log) as until_empty:
            await until(lambda: lines)
            assert len(names(spool)) == 1
            log.is_away = False
            await until_empty()
    assert [record.value for record in log.published] == [b"first"]
    assert lines[0]["event"] == "spool_not_published"


async def test_an_invalid_file_is_renamed_and_delays_no_record(spool: Path) -> None:
    log = FakeLog()
    spool_record(spool, 7, b"ours")
    (spool / "0.record").write_bytes(b"not ours")
    (spool / "00000000000000000001-7-half").write_bytes(b"still being written")
    with structlog.testing.capture_logs() as lines:
        async with publishing(spool, log) as until_empty:
            await until_empty()
    assert [record.value for record in log.published] == [b"ours"]
    assert names(spool) == ["0.refused", "00000000000000000001-7-half"]
    assert [line["event"] for line in lines] == ["spool_file_refused"]


def test_only_its_owner_may_read_a_spooled_record(spool: Path) -> None:
    spool_record(spool, 7, b"private")
    (path,) = spool.iterdir()
    assert (spool.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
