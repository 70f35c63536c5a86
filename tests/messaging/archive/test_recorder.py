"""The recorder loses nothing and skips nothing, whatever fails: the store, the log or the recorder."""

import itertools
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock, wait_all_tasks_blocked

from messaging.archive import recorder as module
from messaging.archive.recorder import (
    COMMIT_SECONDS,
    GATHER_SECONDS,
    GROUP,
    IDLE_MARGIN_MS,
    IDLE_SECONDS,
    MAX_PAUSE,
    STORE_DEADLINE,
    Recorder,
)
from messaging.archive.store.protocol import Logged
from messaging.archive.store.sqlite.store import SqliteChats
from rookery.v1.backplane_pb2 import Envelope, FormerEvent, FormerReaction, SignOut
from rookery.v1.session_pb2 import Change, Event, Reacted, Typing
from shared.background import open_background
from shared.backplane import Checkpoint, Record
from shared.backplane.publishing import publish_and_wait
from shared.backplane.sqlite.log import SqliteLog
from shared.contract.errors import Unavailable
from shared.contract.ids import MAX_ID
from tests.messaging.archive.conftest import (
    ALICE,
    BOB,
    CHAT,
    FakeChats,
    FakeLog,
    committed,
    fence_of,
    new_message,
    record_until,
    records_of,
    truth_of,
)
from tests.messaging.archive.store.chats import NOW_MS, logged
from tests.waiting import PATIENCE


@pytest.fixture
def fake_log() -> Any:
    return FakeLog()


@pytest.fixture
def fake_chats() -> Any:
    return FakeChats()


@pytest.fixture(autouse=True)
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorder's clock is at NOW_MS when Trio's is at 0."""
    monkeypatch.setattr(module, "wall_clock_ms", lambda: NOW_MS + int(trio.current_time() * 1000))


async def history(chats: SqliteChats, chat_id: str) -> list[int]:
    page = await chats.messages_before(chat_id, MAX_ID, 100)
    return [each.message.message_id for each in page.messages]


# ---- on the embedded engines


async def test_messages_in_the_log_are_recorded_and_then_committed(log: SqliteLog, chats: SqliteChats) -> None:
    events = [new_message(), new_message(BOB, ALICE), new_message()]
    for event in events:
        await publish_and_wait(log, records_of(event))
    recorder = Recorder(log, chats)
    await record_until(recorder, events=3)
    assert await history(chats, CHAT) == [event.event_id for event in events]
    offsets = await committed(log)
    assert offsets == {**dict.fromkeys(range(log.partitions), 0), **await chats.recorded_offsets()}
    assert sum(offsets.values()) == sum([await log.end_offset(partition) for partition in range(log.partitions)])


async def test_a_second_recorder_continues_where_the_first_stopped(log: SqliteLog, chats: SqliteChats) -> None:
    first, second = new_message(), new_message()
    await publish_and_wait(log, records_of(first))
    await record_until(Recorder(log, chats), events=1)
    await publish_and_wait(log, records_of(second))
    recorder = Recorder(log, chats)
    await record_until(recorder, events=1)
    assert recorder.statistics().events == 1
    assert await history(chats, CHAT) == [first.event_id, second.event_id]


async def test_offsets_that_a_crash_left_uncommitted_are_committed_without_another_event(
    log: SqliteLog, chats: SqliteChats
) -> None:
    record = records_of(new_message())[0]
    await publish_and_wait(log, [record])
    await chats.record([], {record.partition: 1})
    with trio.fail_after(PATIENCE):
        async with open_background() as nursery:
            nursery.start_soon(Recorder(log, chats).run)
            while await log.committed_offset(GROUP, record.partition) == 0:
                await trio.sleep(0.01)


async def test_uncommitted_events_are_recorded_once(log: SqliteLog, chats: SqliteChats) -> None:
    class WithoutOffsets:
        """The store, as if its engine kept no offsets: uncommitted records are read again."""

        record = staticmethod(chats.record)
        watermarks = staticmethod(chats.watermarks)
        raise_watermarks = staticmethod(chats.raise_watermarks)

        async def recorded_offsets(self) -> None:
            return None

    events = [new_message() for _ in range(5)]
    await publish_and_wait(log, records_of(*events))
    await chats.record(logged(*events), {})  # written, and killed before the commit
    recorder = Recorder(log, WithoutOffsets())  # type: ignore[arg-type]
    await record_until(recorder, events=5)
    assert await history(chats, CHAT) == [event.event_id for event in events]


@pytest.mark.parametrize("left", [{}, {0: 0}])
async def test_events_that_the_store_lost_in_a_power_loss_are_recorded_again(
    log: SqliteLog, chats: SqliteChats, left: dict[int, int]
) -> None:
    event = new_message()
    await publish_and_wait(log, [truth_of(event)])
    async with log.consume(GROUP) as consumer:
        await consumer.fetch()
        await consumer.commit({0: Checkpoint(1)})  # committed in the log, lost in the store
    await chats.record([], left)
    await record_until(Recorder(log, chats), events=1)
    assert await history(chats, CHAT) == [event.event_id]


async def test_an_unavailable_store_does_not_block_publishers(log: SqliteLog) -> None:
    chats: Any = FakeChats(failures=[Unavailable("away")] * 1_000)
    async with open_background() as nursery:
        nursery.start_soon(Recorder(log, chats).run)
        with trio.fail_after(PATIENCE):
            for _ in range(50):
                await publish_and_wait(log, records_of(new_message()))
    assert chats.events == {}


async def test_the_log_keeps_the_first_records_of_a_partition_until_the_store_has_them(log: SqliteLog) -> None:
    chats: Any = FakeChats(failures=[Unavailable("away")] * 1_000)
    async with open_background() as nursery:
        nursery.start_soon(Recorder(log, chats).run)
        with trio.fail_after(PATIENCE):
            while len(await committed(log)) < log.partitions:
                await trio.sleep(0.01)
        for _ in range(10):
            await publish_and_wait(log, [truth_of(new_message())])
        await log.trim(older_than_ms=2**60)
        assert await log.offset_at(0, 0) == 0


# ---- recorded events


async def test_only_records_of_truth_are_recorded(autojump_clock: MockClock, fake_log: Any, fake_chats: Any) -> None:
    event = new_message()
    fake_log.publish([Record(0, Envelope(event=new_message()).SerializeToString()), truth_of(event)])
    fake_log.publish([Record(1, Envelope(sign_out=SignOut(), truth=True).SerializeToString())])
    await run_for(Recorder(fake_log, fake_chats), 5)
    assert list(fake_chats.events) == [event.event_id]
    assert fake_log.committed == {0: 2, 1: 1}


async def test_an_event_of_a_former_release_is_recorded_as_a_change(
    autojump_clock: MockClock, fake_log: Any, fake_chats: Any
) -> None:
    former = FormerEvent(event_id=7, reaction=FormerReaction(chat_id=CHAT, message_id=5, user_id=ALICE, emoji="👍"))
    envelope = Envelope(event=Event.FromString(former.SerializeToString()), truth=True)
    fake_log.publish([Record(0, envelope.SerializeToString())])
    await run_for(Recorder(fake_log, fake_chats), 5)
    change = Change(chat_id=CHAT, target_id=5, actor_id=ALICE, reacted=Reacted(emoji="👍"))
    assert fake_chats.events == {7: Event(event_id=7, change=change)}


async def test_poison_records_are_logged_and_skipped(autojump_clock: MockClock, fake_log: Any, fake_chats: Any) -> None:
    good = [new_message() for _ in range(4)]
    bad = new_message(body="a secret")
    bad.message.chat_id = "bad"
    fake_log.publish([truth_of(good[0]), Record(0, b"\xff not an envelope"), truth_of(good[1])])
    fake_log.publish([truth_of(good[2]), truth_of(bad), truth_of(good[3])])
    fake_log.publish([truth_of(bad, 1)])
    recorder = Recorder(fake_log, fake_chats)
    with capture_logs() as lines:
        await run_for(recorder, 5)
    assert list(fake_chats.events) == [event.event_id for event in good]
    assert fake_log.committed == fake_chats.offsets == {0: 6, 1: 1}
    poison = [(line["partition"], line["offset"]) for line in lines if line["log_level"] == "error"]
    assert poison == [(0, 1), (0, 4), (1, 0)]
    assert "a secret" not in str(lines)
    assert recorder.statistics().dead_letters == 3


async def test_events_that_the_real_store_rejects_are_skipped(log: SqliteLog, chats: SqliteChats) -> None:
    good = [new_message() for _ in range(2)]
    typing = Event(event_id=1, typing=Typing(chat_id=CHAT))
    bad = new_message()
    bad.message.chat_id = "d-2-1"
    for event in (good[0], typing, bad, Event(event_id=2), good[1]):
        await publish_and_wait(log, [truth_of(event)])
    recorder = Recorder(log, chats)
    await record_until(recorder, events=4)
    assert await history(chats, CHAT) == [event.event_id for event in good]
    assert recorder.statistics().dead_letters == 1


async def test_a_late_record_of_a_former_owner_is_not_recorded_also_after_a_restart(
    autojump_clock: MockClock, fake_log: Any, fake_chats: Any
) -> None:
    first, late, later, own = (new_message() for _ in range(4))
    fake_log.publish([truth_of(first, epoch=1), fence_of(1), truth_of(late, epoch=1)])
    await run_for(Recorder(fake_log, fake_chats), 5)
    assert (fake_log.committed, fake_log.epochs) == ({0: 3, 1: 0}, {0: 2, 1: 0})
    fake_log.publish([truth_of(later, epoch=1), truth_of(own, epoch=2)])
    fake_chats.keeps_offsets = False
    await run_for(Recorder(fake_log, fake_chats), 5)
    assert list(fake_chats.events) == [first.event_id, own.event_id]


async def test_a_log_that_was_replaced_meanwhile_has_epochs_of_its_own(
    autojump_clock: MockClock, fake_log: Any, fake_chats: Any
) -> None:
    fake_log.publish([fence_of(0), fence_of(1), truth_of(new_message(), epoch=2)])
    async with open_background() as nursery:
        nursery.start_soon(Recorder(fake_log, fake_chats).run)
        await trio.sleep(1)
        fake_log.records[0].clear()
        fake_log.publish([fence_of(0), truth_of(new_message(), epoch=1)])
        await trio.sleep(1)
    assert len(fake_chats.events) == 2


# ---- when things fail


async def run_for(recorder: Recorder, seconds: float) -> None:
    with trio.move_on_after(seconds):
        await recorder.run()


@pytest.mark.parametrize("failure", [Unavailable("disk full"), RuntimeError("anything")])
async def test_a_store_that_recovers_receives_the_same_batch(
    autojump_clock: MockClock, fake_log: Any, fake_chats: Any, failure: Exception
) -> None:
    fake_chats.failures = [failure] * 10
    events = [new_message() for _ in range(7)]
    fake_log.publish([truth_of(event, n % 2) for n, event in enumerate(events)])
    recorder = Recorder(fake_log, fake_chats)
    await run_for(recorder, 12 * MAX_PAUSE)
    assert sorted(fake_chats.events) == [event.event_id for event in events]
    assert fake_log.committed == {0: 4, 1: 3}
    assert recorder.statistics().retries == 10


async def test_retries_become_rare_but_never_end(autojump_clock: MockClock, fake_log: Any, fake_chats: Any) -> None:
    fake_chats.failures = [Unavailable("away")] * 10_000
    fake_log.publish([truth_of(new_message())])
    recorder = Recorder(fake_log, fake_chats)
    await run_for(recorder, 100 * MAX_PAUSE)
    assert 100 < recorder.statistics().retries < 220
    assert fake_log.committed == {0: 0, 1: 0}


async def test_a_store_that_hangs_is_retried(autojump_clock: MockClock, fake_log: Any, fake_chats: Any) -> None:
    hangs = [trio.sleep_forever]

    async def step() -> None:
        await (hangs.pop() if hangs else trio.lowlevel.checkpoint)()

    fake_chats.step = step
    fake_log.publish([truth_of(new_message())])
    await run_for(Recorder(fake_log, fake_chats), 2 * STORE_DEADLINE)
    assert len(fake_chats.events) == 1


async def test_the_group_is_joined_again_when_the_log_recovers(
    autojump_clock: MockClock, fake_log: Any, fake_chats: Any
) -> None:
    fake_log.publish([truth_of(new_message())])
    steps = 0

    async def fail_twice() -> None:
        nonlocal steps
        steps += 1
        await trio.lowlevel.checkpoint()
        if steps in (1, 3):
            raise Unavailable("no broker")

    fake_log.step = fail_twice
    recorder = Recorder(fake_log, fake_chats)
    await run_for(recorder, 10)
    assert len(fake_chats.events) == 1
    assert recorder.statistics().retries == 2


async def test_a_failed_commit_is_repeated_later(autojump_clock: MockClock, fake_log: Any, fake_chats: Any) -> None:
    fake_log.publish([truth_of(new_message())])
    async with open_background() as nursery:
        nursery.start_soon(Recorder(fake_log, fake_chats).run)
        await trio.sleep(COMMIT_SECONDS / 2)

        async def fail() -> None:
            raise Unavailable("no broker")

        fake_log.step = fail
        await trio.sleep(COMMIT_SECONDS)
        assert fake_log.committed == {}
        fake_log.step = trio.lowlevel.checkpoint
        await trio.sleep(COMMIT_SECONDS)
        assert fake_log.committed == {0: 1, 1: 0}


async def test_a_log_that_was_replaced_is_read_from_its_start(
    autojump_clock: MockClock, fake_log: Any, fake_chats: Any
) -> None:
    fake_chats.offsets = {0: 900, 1: 1}
    fake_log.publish([truth_of(new_message()), truth_of(new_message(), 1)])
    await run_for(Recorder(fake_log, fake_chats), 5)
    assert len(fake_chats.events) == 1
    assert fake_chats.offsets == {0: 1, 1: 1}


async def test_partitions_are_committed_before_they_are_released(
    autojump_clock: MockClock, fake_log: Any, fake_chats: Any
) -> None:
    fake_log.loses = True
    fake_log.publish([truth_of(new_message()), truth_of(new_message())])
    await run_for(Recorder(fake_log, fake_chats), COMMIT_SECONDS / 2)
    assert fake_log.committed_when_lost == {0: 2, 1: 0}


# ---- watermarks


async def test_the_watermark_of_what_is_recorded_or_dead_lettered_is_stored_with_the_offsets(
    autojump_clock: MockClock, fake_log: Any, fake_chats: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(watermarks: object) -> None:
        await trio.sleep_forever()

    bad = new_message()
    bad.message.chat_id = "bad"
    fake_log.publish([truth_of(new_message()), Record(0, b"\xff not an envelope"), truth_of(bad)])
    async with open_background() as nursery:
        nursery.start_soon(Recorder(fake_log, fake_chats).run)
        with monkeypatch.context() as patch:
            patch.setattr(fake_chats, "raise_watermarks", hang)
            await trio.sleep(COMMIT_SECONDS + 0.1)
        assert (fake_log.committed[0], fake_chats.stored) == (3, {}), "the store does not answer"
        await trio.sleep(STORE_DEADLINE + COMMIT_SECONDS)
        assert fake_chats.stored[0] == NOW_MS + 2_000 - 1
        fake_log.publish([truth_of(new_message())])
        await trio.sleep(COMMIT_SECONDS)
        assert fake_chats.stored[0] == NOW_MS + 3_000 - 1


@pytest.mark.parametrize(
    ("obstacle", "rising"),
    [("", {0, 1}), ("removed", {0, 1}), ("store", {1}), ("group", set()), ("log", set()), ("fetch", set())],
)
async def test_the_watermark_of_an_idle_partition_follows_the_clock_if_all_is_recorded_and_it_is_held(
    autojump_clock: MockClock, fake_log: Any, fake_chats: Any, obstacle: str, rising: set[int]
) -> None:
    async def end_offset(partition: int) -> int:
        if obstacle == "log":
            raise Unavailable("no broker")
        return 5  # more than the consumer gets

    fake_log.publish([truth_of(new_message())])
    match obstacle:
        case "removed":  # by the log, since it is too old
            fake_log.removed = 1
        case "store":
            fake_chats.failures = [Unavailable("away")] * 1_000
        case "group":
            fake_log.held_until = -math.inf
        case "log" | "fetch":
            fake_log.end_offset = end_offset
    recorder = Recorder(fake_log, fake_chats)
    await run_for(recorder, 100)
    present_ms = NOW_MS + 100_000 - IDLE_MARGIN_MS
    age_ms = {part: present_ms - at_ms for part, at_ms in recorder.statistics().watermarks.items()}
    assert {part for part, age in age_ms.items() if age <= (IDLE_SECONDS + COMMIT_SECONDS) * 1000} == rising
    assert fake_chats.stored.keys() >= rising
    assert obstacle != "group" or fake_chats.stored == {}


async def test_a_watermark_does_not_rise_above_an_event_that_is_being_written(
    autojump_clock: MockClock, fake_log: Any, fake_chats: Any
) -> None:
    event = new_message()

    async def end_offset(partition: int) -> int:
        """The end, which is out of date as soon as it is known."""
        if trio.current_time() >= 4 * IDLE_SECONDS and not fake_log.records[0]:
            fake_log.publish([truth_of(event)])
            await trio.sleep(0.1)
            return 0
        return len(fake_log.records[partition])

    fake_log.end_offset, fake_chats.step = end_offset, partial(trio.sleep, 0.5)
    recorder = Recorder(fake_log, fake_chats)
    async with open_background() as nursery:
        nursery.start_soon(recorder.run)
        while not fake_log.records[0]:
            await trio.sleep(0.1)
        await trio.sleep(0.2)
        meanwhile_ms = recorder.statistics().watermarks[0]
        await trio.sleep(1)
    assert NOW_MS < meanwhile_ms < fake_chats.times[event.event_id]


async def test_a_watermark_stays_with_its_partition_and_is_stored_for_no_lost_one(
    autojump_clock: MockClock, fake_log: Any, fake_chats: Any
) -> None:
    fake_log.loses = True
    first = Recorder(fake_log, fake_chats)
    fake_log.publish([truth_of(new_message())])
    await run_for(first, 100)
    assert first.statistics().watermarks == {}
    assert fake_chats.stored == {0: NOW_MS - 1}
    fake_log.loses, fake_chats.stored[1] = False, NOW_MS + 7
    late = new_message()
    fake_log.publish([truth_of(late, 1)])
    second = Recorder(fake_log, fake_chats)
    await run_for(second, 0.01)
    assert second.statistics().watermarks[1] == NOW_MS + 7
    assert fake_chats.times[late.event_id] == NOW_MS + 8, "clients may have read up to the watermark"


# ---- batches, cancellation


async def test_a_single_message_is_recorded_at_once_and_many_in_batches(
    autojump_clock: MockClock, fake_log: Any, fake_chats: Any
) -> None:
    async with open_background() as nursery:
        nursery.start_soon(Recorder(fake_log, fake_chats).run)
        await trio.sleep(5)
        fake_log.publish([truth_of(new_message())])
        await wait_all_tasks_blocked()
        assert len(fake_chats.events) == 1
        for _ in range(30):
            await trio.sleep(GATHER_SECONDS / 3)
            fake_log.publish([truth_of(new_message())])
        await trio.sleep(2 * GATHER_SECONDS)
    assert len(fake_chats.events) == 31
    assert len(fake_chats.batches) <= 14


@pytest.mark.parametrize(("limit", "sizes"), [(0, [1, 1, 1]), (2, [2, 1])])
async def test_a_batch_of_large_events_is_written_in_parts(
    autojump_clock: MockClock, fake_log: Any, fake_chats: Any, monkeypatch: pytest.MonkeyPatch, limit: int, sizes: Any
) -> None:
    records = [truth_of(new_message()) for _ in range(3)]  # which the log returns at once
    monkeypatch.setattr(module, "MAX_WRITE_BYTES", limit * max(len(record.value) for record in records))
    fake_log.publish(records)
    await record_until(Recorder(fake_log, fake_chats), events=3)
    assert [len(batch) for batch in fake_chats.batches] == sizes
    assert fake_chats.offsets == {records[0].partition: 3}


async def test_a_batch_that_takes_a_slow_store_too_long_is_written_in_parts(
    autojump_clock: MockClock, fake_log: Any
) -> None:
    class SlowChats(FakeChats):
        async def record(self, events: Sequence[Logged], offsets: Mapping[int, int]) -> None:
            await trio.sleep(0.4 * STORE_DEADLINE * len(events))
            await super().record(events, offsets)

    chats: Any = SlowChats()
    events = [new_message() for _ in range(3)]  # which the log returns at once
    fake_log.publish([truth_of(event) for event in events])
    await run_for(Recorder(fake_log, chats), 4 * STORE_DEADLINE)
    assert chats.batches == [[events[0].event_id], [event.event_id for event in events[1:]]]
    assert chats.offsets == {0: 3}


async def test_a_stop_finishes_and_commits_the_current_batch(
    autojump_clock: MockClock, fake_log: Any, fake_chats: Any
) -> None:
    async def slow() -> None:
        await trio.sleep(1)

    fake_log.publish([truth_of(new_message())])
    async with open_background() as nursery:
        nursery.start_soon(Recorder(fake_log, fake_chats).run)
        await trio.sleep(0.01)
        fake_chats.step = slow
        fake_log.publish([truth_of(new_message())])
        await trio.sleep(GATHER_SECONDS + 0.5)
        assert len(fake_chats.events) == 1
    assert len(fake_chats.events) == 2
    assert fake_log.committed == {0: 2, 1: 0}


@pytest.mark.parametrize("keeps_offsets", [True, False])
async def test_a_cancellation_at_any_await_loses_nothing(autojump_clock: MockClock, keeps_offsets: bool) -> None:
    events = [new_message() for _ in range(10)]
    for last_step in range(1, 60):
        log: Any = FakeLog()
        chats: Any = FakeChats(keeps_offsets=keeps_offsets)
        log.publish([truth_of(event, n % 2) for n, event in enumerate(events)])
        with trio.move_on_after(10) as scope:
            log.step = chats.step = cancel_at(last_step, scope)
            await Recorder(log, chats).run()
        assert all(log.committed[partition] <= chats.offsets.get(partition, 0) for partition in log.committed)
        for partition, at_ms in chats.stored.items():
            unrecorded = log.records[partition][chats.offsets.get(partition, 0) :]
            assert not unrecorded or at_ms < unrecorded[0].at_ms
        log.step = chats.step = trio.lowlevel.checkpoint
        await run_for(Recorder(log, chats), 10)
        assert sorted(chats.events) == [event.event_id for event in events]
        assert log.committed == {0: 5, 1: 5}


def cancel_at(last_step: int, scope: trio.CancelScope) -> Callable[[], Awaitable[None]]:
    """A step that cancels the scope at its last call."""
    steps = itertools.count(1)

    async def step() -> None:
        if next(steps) == last_step:
            scope.cancel()
        await trio.lowlevel.checkpoint()

    return step
