from typing import Any

import pytest
import trio
from trio.testing import MockClock

from messaging.archive.store.laws import MAX_AGE_MS
from messaging.archive.watermark import CACHE_SECONDS, Watermark
from shared.contract.errors import Unavailable
from shared.contract.ids import first_id_at
from tests.messaging.archive.conftest import FakeChats
from tests.messaging.archive.store.chats import NOW_MS


async def test_history_is_complete_up_to_the_lowest_watermark_less_the_age_of_an_id(autojump_clock: MockClock) -> None:
    chats: Any = FakeChats(stored={0: NOW_MS + 5, 2: NOW_MS})
    watermark = Watermark(chats, 3)
    assert await watermark.complete_up_to() == 0, "partition 1 has none yet"
    chats.stored[1] = NOW_MS + 9
    await trio.sleep(CACHE_SECONDS)
    assert await watermark.complete_up_to() == first_id_at(NOW_MS - MAX_AGE_MS)


async def test_it_is_read_once_a_second_and_does_not_fall(autojump_clock: MockClock) -> None:
    answers: list[Exception | None] = [None, None, None, Unavailable("away")]

    async def step() -> None:
        await trio.lowlevel.checkpoint()
        if error := answers.pop(0):
            raise error

    chats: Any = FakeChats(step)
    watermark = Watermark(chats, 1)
    for at_ms, highest in ((NOW_MS, NOW_MS), (NOW_MS - 1, NOW_MS), (NOW_MS + 1, NOW_MS + 1)):
        chats.stored[0] = at_ms
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(watermark.complete_up_to)
        assert await watermark.complete_up_to() == first_id_at(highest - MAX_AGE_MS)
        await trio.sleep(CACHE_SECONDS)
    with pytest.raises(Unavailable):
        await watermark.complete_up_to()
    assert answers == []
