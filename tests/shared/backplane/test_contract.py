"""The promises of every backplane, whatever its engine."""

import random
from collections import Counter

import pytest
import trio
import trio.testing

from shared.backplane import Assignment, Backplane, Checkpoint, Consumer, DeadLetter, Record, StoredRecord
from shared.backplane.protocol import MAX_RECORD_BYTES
from shared.backplane.publishing import publish_and_wait
from tests.shared.backplane.conftest import TRACEPARENT, OpenBackplane, read
from tests.waiting import PATIENCE, until


async def assigned(consumer: Consumer) -> frozenset[int]:
    """Fetch the next assignment, which must be the next event; return the gained partitions."""
    with trio.fail_after(PATIENCE):
        event = await consumer.fetch()
    assert isinstance(event, Assignment)
    return event.gained


class Member:
    """Fetches for ever, and keeps the assignments and values."""

    def __init__(self, consumer: Consumer) -> None:
        self.consumer = consumer
        self.owned: set[int] = set()
        self.gains: list[int] = []
        """The epochs of the assignments that gained partitions."""
        self.epochs: list[int] = []
        self.values: Counter[bytes] = Counter()

    async def run(self) -> None:
        while True:
            await self.step()

    async def step(self) -> frozenset[int]:
        """Fetch once; return the partitions that were lost."""
        event = await self.consumer.fetch()
        if not isinstance(event, Assignment):
            self.values.update(record.value for record in event.records)
            return frozenset()
        self.owned = (self.owned - event.lost) | event.gained
        self.epochs.append(event.epoch)
        if event.gained:
            self.gains.append(event.epoch)
        return event.lost


# ---- publishing and reading


async def test_each_partition_is_read_as_it_was_written(backplane: Backplane) -> None:
    draw = random.Random(11)
    written: list[StoredRecord] = []
    for _ in range(25):
        batch = [Record(draw.randrange(4), draw.randbytes(draw.choice([0, 1, 20]))) for _ in range(draw.randrange(8))]
        offsets = await publish_and_wait(backplane, batch)
        written += [
            StoredRecord(partition, offset, 0, value)
            for (partition, value, _), offset in zip(batch, offsets, strict=True)
        ]
    async with backplane.consume("readers") as consumer:
        await assigned(consumer)
        records = [record._replace(at_ms=0) for record in await read(consumer, len(written))]
    for partition in range(4):
        mine = [record for record in records if record.partition == partition]
        assert mine == [record for record in written if record.partition == partition]
        assert [record.offset for record in mine] == list(range(len(mine)))


async def test_a_traced_record_is_read_with_its_trace_live_and_later(backplane: Backplane) -> None:
    traced = {2: TRACEPARENT, 5: f"{TRACEPARENT[:-2]}00"}
    records = [Record(1, b"%d" % number, traced.get(number, "")) for number in range(7)]
    expected = [(record.value, record.traceparent) for record in records]
    async with backplane.consume("readers") as consumer:
        await assigned(consumer)
        await publish_and_wait(backplane, [Record(1, b"before")])
        await read(consumer, 1)
        offsets = await publish_and_wait(backplane, records)
        live = await read(consumer, 7)
        consumer.seek(1, offsets[0])
        again = await read(consumer, 7)
    assert [(record.value, record.traceparent) for record in live] == expected
    assert again == live


async def test_acknowledged_records_are_there_after_a_restart(open_backplane: OpenBackplane) -> None:
    async with open_backplane() as first:
        await publish_and_wait(first, [Record(2, b"kept"), Record(3, b"too")])
    async with open_backplane() as second, second.consume("readers") as consumer:
        await assigned(consumer)
        assert {record.value for record in await read(consumer, 2)} == {b"kept", b"too"}
        (offset,) = await publish_and_wait(second, [Record(2, b"next")])
        (record,) = await read(consumer, 1)
        assert (record.offset, record.value) == (offset, b"next")


async def test_the_first_record_of_a_call_is_safe_before_the_others_are_written(backplane: Backplane) -> None:
    async with backplane.consume("readers") as consumer, trio.open_nursery() as nursery:
        await assigned(consumer)

        async def publish() -> None:
            for _ in range(20):
                for _ in range(5):
                    backplane.publish([Record(0, b"first"), Record(1, b"other")], lambda _: None)
                await trio.sleep(0.002)

        nursery.start_soon(publish)
        others = 0
        while others < 100:
            others += sum(record.partition == 1 for record in await read(consumer, 1))
            assert await backplane.end_offset(0) >= others


async def test_calls_that_begin_in_one_partition_keep_their_order_everywhere(backplane: Backplane) -> None:
    async with backplane.consume("readers") as consumer:
        await assigned(consumer)
        for number in range(200):
            sender = number % 2
            others = [Record((sender + step) % 4, b"%d %d" % (sender, number)) for step in range(1 + number % 4)]
            backplane.publish(others, lambda _: None)
        records = await read(consumer, sum(1 + number % 4 for number in range(200)))
    for partition in range(4):
        for sender_name in (b"0", b"1"):
            mine = [record.value.split() for record in records if record.partition == partition]
            numbers = [int(number) for sender_of, number in mine if sender_of == sender_name]
            assert numbers == sorted(numbers)


async def test_a_missing_partition_or_a_record_over_the_limit_is_an_error(backplane: Backplane) -> None:
    for partition in (-1, 4, 10**6):
        with pytest.raises(ValueError, match="partition must be 0 to 3"):
            await publish_and_wait(backplane, [Record(partition, b"")])
    with pytest.raises(ValueError, match=str(MAX_RECORD_BYTES)):
        await publish_and_wait(backplane, [Record(0, b"x" * (MAX_RECORD_BYTES + 1))])
    await publish_and_wait(backplane, [Record(0, b"x" * MAX_RECORD_BYTES)])


# ---- offsets


async def test_a_group_continues_where_it_committed_and_others_read_everything(backplane: Backplane) -> None:
    offsets = await publish_and_wait(backplane, [Record(0, b"%d" % number) for number in range(10)])
    async with backplane.consume("readers") as consumer, backplane.consume("others") as other:
        await assigned(consumer)
        await read(consumer, 10)
        assert await backplane.committed_offset("readers", 0) == 0
        await consumer.commit({0: Checkpoint(offsets[4], 3), 1: Checkpoint(0)})
        await consumer.commit({})
        assert await backplane.committed_offset("readers", 0) == offsets[4]
        await assigned(other)
        assert [record.offset for record in await read(other, 10)] == offsets
    async with backplane.consume("readers") as consumer:
        gained = await assigned(consumer)
        assert await consumer.committed(gained) == {0: Checkpoint(offsets[4], 3), 1: Checkpoint(0)}
        assert [record.offset for record in await read(consumer, 6)] == list(offsets[4:])


async def test_seek_goes_back_and_forward(backplane: Backplane) -> None:
    offsets = await publish_and_wait(backplane, [Record(0, b"%d" % number) for number in range(10)])
    async with backplane.consume("readers") as consumer:
        await assigned(consumer)
        await read(consumer, 10)
        consumer.seek(0, offsets[3])
        assert [record.offset for record in await read(consumer, 7)] == list(offsets[3:])
        consumer.seek(0, offsets[8])
        assert [record.offset for record in await read(consumer, 2)] == list(offsets[8:])
        await publish_and_wait(backplane, [Record(0, b"live again")])
        assert [record.value for record in await read(consumer, 1)] == [b"live again"]


async def test_offsets_are_found_by_time(backplane: Backplane) -> None:
    assert await backplane.offset_at(0, 0) == await backplane.end_offset(0)
    first, second = await publish_and_wait(backplane, [Record(0, b"a"), Record(0, b"b")])
    async with backplane.consume("readers") as consumer:
        await assigned(consumer)
        at_ms = (await read(consumer, 2))[0].at_ms
    assert await backplane.offset_at(0, at_ms) == first
    assert await backplane.offset_at(0, at_ms - 1_000_000) == first
    assert await backplane.offset_at(0, at_ms + 1_000_000) == second + 1 == await backplane.end_offset(0)


async def test_the_lag_is_the_number_of_records_not_yet_fetched(backplane: Backplane) -> None:
    async with backplane.consume("readers") as consumer:
        await assigned(consumer)
        await publish_and_wait(backplane, [Record(1, b"%d" % number) for number in range(10)])
        await read(consumer, 10)
        assert consumer.lag()[1] == 0
        offsets = await publish_and_wait(backplane, [Record(1, b"%d" % number) for number in range(5)])
        await until(lambda: consumer.lag()[1] == 5)
        await read(consumer, 5)
        assert consumer.lag()[1] == 0
        consumer.seek(1, offsets[1])
        assert consumer.lag()[1] == 4
    assert set(consumer.lag()) <= set(range(backplane.partitions))


# ---- groups


async def test_partitions_are_divided_among_the_members_and_again_when_one_leaves(backplane: Backplane) -> None:
    everything = set(range(backplane.partitions))
    async with backplane.consume("group") as consumer, trio.open_nursery() as nursery:
        one = Member(consumer)
        nursery.start_soon(one.run)
        await until(lambda: one.owned == everything)
        async with backplane.consume("group") as other_consumer, trio.open_nursery() as others:
            two = Member(other_consumer)
            others.start_soon(two.run)

            def is_divided() -> bool:
                assert not one.owned & two.owned, "no partition has two owners"
                return len(one.owned) == len(two.owned) == backplane.partitions // 2

            await until(is_divided)
            assert min(two.gains) > one.gains[0], "the epoch rises"
            held = consumer.held_until
            await until(lambda: held < consumer.held_until or held == float("inf"))
            for number in range(100):
                backplane.publish([Record(number % backplane.partitions, b"%d" % number)], lambda _: None)
            await until(lambda: len(one.values | two.values) == 100)
            assert set((one.values + two.values).values()) == {1}, "a record goes to one member of a group only"
            others.cancel_scope.cancel()
        await until(lambda: one.owned == everything)
        nursery.cancel_scope.cancel()
    assert one.epochs == sorted(one.epochs)


async def test_a_partition_moves_only_when_its_owner_has_fetched_the_loss_and_fetches_again(
    backplane: Backplane,
) -> None:
    async with backplane.consume("group") as consumer:
        await assigned(consumer)
        async with backplane.consume("group") as other_consumer, trio.open_nursery() as nursery:
            one, two = Member(consumer), Member(other_consumer)
            nursery.start_soon(two.run)
            lost: frozenset[int] = frozenset()
            with trio.fail_after(PATIENCE):
                while not lost:
                    lost = await one.step()
            await consumer.commit(dict.fromkeys(lost, Checkpoint(0)))  # there is time for it
            with trio.move_on_after(0.5):
                while True:
                    assert not two.owned & lost
                    await trio.sleep(0.01)
            nursery.start_soon(one.run)
            await until(lambda: two.owned >= lost)
            nursery.cancel_scope.cancel()


async def test_a_consumer_that_is_cancelled_while_it_waits_loses_nothing(backplane: Backplane) -> None:
    async with backplane.consume("readers") as consumer:
        await assigned(consumer)
        for number in range(30):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(consumer.fetch)
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
            partition = number % backplane.partitions
            await publish_and_wait(backplane, [Record(partition, b"%d" % number)])
            (record,) = await read(consumer, 1)
            assert (record.partition, record.value) == (partition, b"%d" % number)


# ---- dead letters


async def test_dead_letters_are_stored_with_their_trace_and_a_repeated_one_is_listed_once(
    open_backplane: OpenBackplane,
) -> None:
    letters = [
        DeadLetter(StoredRecord(2, number, 1_700_000_000_000, bytes([number, 255]), traceparent), "archive", "röt")
        for number, traceparent in enumerate(["", TRACEPARENT, "", "", ""])
    ]
    async with open_backplane() as first:
        assert await first.dead_letters(10) == []
        for letter in (letters[0], *letters, letters[4]):
            await first.dead_letter(letter)
    async with open_backplane() as second:
        assert await second.dead_letters(10) == letters
        assert await second.dead_letters(2) == letters[-2:]
        assert await second.dead_letters(0) == []
        await second.dead_letter(letters[3])  # a retry after others
        other_group = letters[0]._replace(group="another")
        await second.dead_letter(other_group)
        assert await second.dead_letters(10) == [*letters[:3], letters[4], letters[3], other_group]
