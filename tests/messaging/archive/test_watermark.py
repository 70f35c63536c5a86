from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from messaging.archive.watermark import CACHE_SECONDS, STALE_SECONDS, Watermark
from shared.background import open_background
from shared.contract.errors import Unavailable
from shared.contract.ids import MAX_AGE_MS, first_id_at
from tests.messaging.archive.conftest import FakeChats
from tests.messaging.archive.store.chats import NOW_MS


@asynccontextmanager
async def opened(chats: Any, partitions: int = 1) -> AsyncIterator[Watermark]:
    watermark = Watermark(chats, partitions)
    async with open_background() as nursery:
        nursery.start_soon(watermark.refresh)
        yield watermark


async def test_history_is_complete_up_to_the_lowest_watermark_less_the_age_of_an_id(autojump_clock: MockClock) -> None:
    chats: Any = FakeChats(stored={0: NOW_MS + 5, 2: NOW_MS})
    async with opened(chats, 3) as watermark:
        assert await watermark.complete_up_to() == 0, "partition 1 has none yet"
        chats.stored[1] = NOW_MS + 9
        await trio.sleep(STALE_SECONDS)
        assert await watermark.complete_up_to() == first_id_at(NOW_MS - MAX_AGE_MS)


async def test_it_is_read_once_a_second_and_does_not_fall(autojump_clock: MockClock) -> None:
    answers: list[Exception | None] = [None, None, None, Unavailable("away")]

    async def step() -> None:
        await trio.lowlevel.checkpoint()
        if error := answers.pop(0):
            raise error

    chats: Any = FakeChats(step)
    async with opened(chats) as watermark:
        for at_ms, highest in ((NOW_MS, NOW_MS), (NOW_MS - 1, NOW_MS), (NOW_MS + 1, NOW_MS + 1)):
            chats.stored[0] = at_ms
            async with trio.open_nursery() as nursery:
                for _ in range(5):
                    nursery.start_soon(watermark.complete_up_to)
            await wait_all_tasks_blocked()
            assert await watermark.complete_up_to() == first_id_at(highest - MAX_AGE_MS)
            await trio.sleep(CACHE_SECONDS)
        await trio.sleep(STALE_SECONDS - CACHE_SECONDS)
        with pytest.raises(Unavailable):
            await watermark.complete_up_to()
    assert answers == []


async def test_calls_of_a_busy_archive_wait_for_no_read(autojump_clock: MockClock) -> None:
    reads = 0

    async def step() -> None:
        nonlocal reads
        reads += 1
        await trio.sleep(0.5)

    chats: Any = FakeChats(step, stored={0: NOW_MS})
    async with opened(chats) as watermark:
        await watermark.complete_up_to()
        for _ in range(100):
            await trio.sleep(0.1)
            began_at = trio.current_time()
            chats.stored[0] += 100
            known = await watermark.complete_up_to()
            assert trio.current_time() == began_at
            assert known >= first_id_at(chats.stored[0] - 2_000 - MAX_AGE_MS)
    assert reads <= 11


async def test_a_slow_read_delays_calls_only_once_the_known_watermark_is_stale(autojump_clock: MockClock) -> None:
    slow_seconds = 0.0

    async def step() -> None:
        await trio.sleep(slow_seconds)

    chats: Any = FakeChats(step, stored={0: NOW_MS})
    answers, seconds = list[int](), list[int]()
    async with opened(chats) as watermark:
        first = await watermark.complete_up_to()
        chats.stored[0], slow_seconds = NOW_MS + 1, 5.0
        await trio.sleep(CACHE_SECONDS)
        began_at = trio.current_time()

        async def call(delay: float) -> None:
            await trio.sleep(delay)
            answers.append(await watermark.complete_up_to())
            seconds.append(int(trio.current_time() - began_at))

        async with trio.open_nursery() as nursery:
            for delay in (0.0, STALE_SECONDS - CACHE_SECONDS - 0.1, STALE_SECONDS - CACHE_SECONDS):
                nursery.start_soon(call, delay)
    assert answers == [first, first, first_id_at(NOW_MS + 1 - MAX_AGE_MS)]
    assert seconds == [0, 0, 10], "the first two are not stale yet; a read that began a second before is not enough"


async def test_calls_that_wait_for_a_read_share_its_failure(autojump_clock: MockClock) -> None:
    reads = 0

    async def step() -> None:
        nonlocal reads
        reads += 1
        await trio.sleep(5)
        raise Unavailable("away")

    chats: Any = FakeChats(step)
    watermark = Watermark(chats, 1)

    async def call() -> None:
        with pytest.raises(Unavailable, match="away"):
            await watermark.complete_up_to()

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(call)
    assert reads == 1


async def test_a_cancelled_call_leaves_the_read_to_one_that_waits(autojump_clock: MockClock) -> None:
    async def step() -> None:
        await trio.sleep(0.5)

    chats: Any = FakeChats(step, stored={0: NOW_MS})
    watermark = Watermark(chats, 1)

    async def call_briefly() -> None:
        with trio.move_on_after(0.1):
            await watermark.complete_up_to()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call_briefly)
        await trio.testing.wait_all_tasks_blocked()
        assert await watermark.complete_up_to() == first_id_at(NOW_MS - MAX_AGE_MS)
