"""What every backplane promises, whatever its engine."""

from collections import Counter
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.backplane import Assignment, Backplane, Consumer, DeadLetter, Fetched, Record, StoredRecord
from shared.backplane.protocol import MAX_RECORD_BYTES
from shared.backplane.publishing import publish_and_wait
from tests.shared.backplane.conftest import PATIENCE, TRACEPARENT

OpenBackplane = Callable[[], AbstractAsyncContextManager[Backplane]]


async def assigned(consumer: Consumer) -> frozenset[int]:
    """The partitions of the consumer's next assignment."""
    with trio.fail_after(PATIENCE):
        event = await consumer.fetch()
    assert isinstance(event, Assignment)
    return event.gained


async def read(consumer: Consumer, count: int) -> list[StoredRecord]:
    """The next records, at least so many; assignments on the way are passed over."""
    records: list[StoredRecord] = []
    with trio.fail_after(PATIENCE):
        while len(records) < count:
            event = await consumer.fetch()
            if isinstance(event, Fetched):
                records.extend(event.records)
    return records


async def test_what_is_published_is_read_in_order(backplane: Backplane) -> None:
    values = [b"%d" % number for number in range(50)]
    offsets = await publish_and_wait(backplane, [Record(1, value) for value in values])
    assert list(offsets) == list(range(offsets[0], offsets[0] + 50))
    async with backplane.consume("readers") as consumer:
        await assigned(consumer)
        records = await read(consumer, 50)
    assert [record.value for record in records] == values
    assert [record.offset for record in records] == list(offsets)
    assert {record.partition for record in records} == {1}


async def test_a_record_of_a_trace_is_read_with_it_as_it_comes_and_later(backplane: Backplane) -> None:
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


async def test_a_live_consumer_gets_what_comes(backplane: Backplane) -> None:
    async with backplane.consume("readers") as consumer:
        assert await assigned(consumer) == set(range(backplane.partitions))
        for number in range(20):
            partition = number % backplane.partitions
            await publish_and_wait(backplane, [Record(partition, b"%d" % number)])
            (record,) = await read(consumer, 1)
            assert (record.partition, record.value) == (partition, b"%d" % number)


async def test_calls_of_publish_keep_their_order_in_a_partition(backplane: Backplane) -> None:
    answers: list[int] = []
    async with backplane.consume("readers") as consumer:
        await assigned(consumer)
        for number in range(500):
            backplane.publish([Record(0, b"%d" % number)], lambda _, number=number: answers.append(number))  # type: ignore[misc]
        records = await read(consumer, 500)
        with trio.fail_after(PATIENCE):  # a consumer may have a record before its publisher hears of it
            while len(answers) < 500:
                await trio.sleep(0.001)
    assert [int(record.value) for record in records] == list(range(500))
    assert answers == list(range(500))


async def test_what_was_acknowledged_is_there_after_a_restart(open_backplane: OpenBackplane) -> None:
    async with open_backplane() as first:
        await publish_and_wait(first, [Record(2, b"kept"), Record(3, b"too")])
    async with open_backplane() as second, second.consume("readers") as consumer:
        await assigned(consumer)
        assert {record.value for record in await read(consumer, 2)} == {b"kept", b"too"}
        (offset,) = await publish_and_wait(second, [Record(2, b"next")])
        (record,) = await read(consumer, 1)
        assert (record.offset, record.value) == (offset, b"next")


async def test_a_group_goes_on_where_it_committed(backplane: Backplane) -> None:
    offsets = await publish_and_wait(backplane, [Record(0, b"%d" % number) for number in range(10)])
    async with backplane.consume("readers") as consumer:
        await assigned(consumer)
        await read(consumer, 10)
        await consumer.commit({0: offsets[4]})
        await consumer.commit({})
    async with backplane.consume("readers") as consumer:
        await assigned(consumer)
        records = await read(consumer, 6)
    assert [record.offset for record in records] == list(offsets[4:])


async def test_every_group_gets_everything(backplane: Backplane) -> None:
    async with backplane.consume("one") as one, backplane.consume("other") as other:
        await assigned(one)
        await assigned(other)
        await publish_and_wait(backplane, [Record(0, b"both")])
        assert [record.value for record in await read(one, 1)] == [b"both"]
        assert [record.value for record in await read(other, 1)] == [b"both"]


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


async def test_partitions_are_divided_among_the_members_and_pass_on_when_one_goes(backplane: Backplane) -> None:
    everything = set(range(backplane.partitions))
    async with backplane.consume("group") as one:
        has = set(await assigned(one))
        assert has == everything
        async with backplane.consume("group") as two, trio.open_nursery() as nursery:
            others: set[int] = set()

            async def follow(consumer: Consumer, owned: set[int]) -> None:
                while True:
                    event = await consumer.fetch()
                    if isinstance(event, Assignment):
                        owned -= event.lost
                        owned |= event.gained
                        assert not has & others, "no partition has two owners"

            nursery.start_soon(follow, one, has)
            nursery.start_soon(follow, two, others)
            with trio.fail_after(PATIENCE):
                while len(others) < backplane.partitions // 2 or len(has) > backplane.partitions // 2:
                    await trio.sleep(0.001)
            assert has | others == everything
            nursery.cancel_scope.cancel()
        with trio.fail_after(PATIENCE):
            while has != everything:
                event = await one.fetch()
                if isinstance(event, Assignment):
                    has = (has - event.lost) | event.gained


async def test_a_partition_is_given_on_only_when_its_owner_has_heard_of_the_loss_and_fetches_again(
    backplane: Backplane,
) -> None:
    async with backplane.consume("group") as one:
        await assigned(one)
        async with backplane.consume("group") as two, trio.open_nursery() as nursery:
            gained: set[int] = set()

            async def follow(consumer: Consumer) -> None:
                while True:
                    event = await consumer.fetch()
                    if consumer is two and isinstance(event, Assignment):
                        gained.update(event.gained)

            nursery.start_soon(follow, two)
            lost = await losses(one)
            await one.commit(dict.fromkeys(lost, 0))  # there is time for it
            with trio.move_on_after(0.5):
                while True:
                    assert not gained & lost
                    await trio.sleep(0.01)
            nursery.start_soon(follow, one)
            with trio.fail_after(PATIENCE):
                while not gained >= lost:
                    await trio.sleep(0.001)
            nursery.cancel_scope.cancel()


async def losses(consumer: Consumer) -> frozenset[int]:
    with trio.fail_after(PATIENCE):
        while True:
            event = await consumer.fetch()
            if isinstance(event, Assignment) and event.lost:
                return event.lost


async def test_the_epoch_rises_when_the_partitions_are_divided_anew(backplane: Backplane) -> None:
    owners: list[tuple[int, str, frozenset[int]]] = []

    async def follow(name: str, consumer: Consumer) -> None:
        while True:
            event = await consumer.fetch()
            if isinstance(event, Assignment):
                owners.append((event.epoch, name, event.gained))

    async with backplane.consume("group") as one, trio.open_nursery() as nursery:
        nursery.start_soon(follow, "one", one)
        with trio.fail_after(PATIENCE):
            while not owners:
                await trio.sleep(0.001)
        async with backplane.consume("group") as two:
            nursery.start_soon(follow, "two", two)
            with trio.fail_after(PATIENCE):
                while not any(name == "two" and gained for _, name, gained in owners):
                    await trio.sleep(0.001)
            (first,) = [epoch for epoch, name, gained in owners if name == "one" and gained]
            assert min(epoch for epoch, name, gained in owners if name == "two" and gained) > first
            nursery.cancel_scope.cancel()
    for name in ("one", "two"):
        epochs = [epoch for epoch, who, _ in owners if who == name]
        assert epochs == sorted(epochs)


async def test_a_member_that_lives_holds_its_partitions_for_a_while_to_come(backplane: Backplane) -> None:
    async with backplane.consume("group") as consumer:
        await assigned(consumer)
        before = consumer.held_until
        assert before > trio.current_time()
        with trio.fail_after(PATIENCE):
            while not (consumer.held_until > before or before == float("inf")):
                await trio.sleep(0.01)


async def test_the_lag_is_what_was_not_given_yet(backplane: Backplane) -> None:
    async with backplane.consume("readers") as consumer:
        await assigned(consumer)
        await publish_and_wait(backplane, [Record(1, b"%d" % number) for number in range(10)])
        await read(consumer, 10)
        assert consumer.lag()[1] == 0
        offsets = await publish_and_wait(backplane, [Record(1, b"%d" % number) for number in range(5)])
        with trio.fail_after(PATIENCE):
            while consumer.lag()[1] != 5:
                await trio.sleep(0.001)
        await read(consumer, 5)
        assert consumer.lag()[1] == 0
        consumer.seek(1, offsets[1])
        assert consumer.lag()[1] == 4
    assert set(consumer.lag()) <= set(range(backplane.partitions))


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
        with trio.fail_after(PATIENCE):
            while others < 100:
                event = await consumer.fetch()
                if isinstance(event, Fetched):
                    others += sum(record.partition == 1 for record in event.records)
                    assert await backplane.end_offset(0) >= others


async def test_what_one_partition_began_keeps_its_order_everywhere(backplane: Backplane) -> None:
    async with backplane.consume("readers") as consumer:
        await assigned(consumer)
        for number in range(200):
            sender = number % 2
            others = [Record((sender + step) % 4, b"%d %d" % (sender, number)) for step in range(1 + number % 4)]
            backplane.publish(others, lambda _: None)
        records = await read(consumer, sum(1 + number % 4 for number in range(200)))
    for partition in range(4):
        for name in (b"0", b"1"):
            mine = [record.value.split() for record in records if record.partition == partition]
            numbers = [int(number) for began, number in mine if began == name]
            assert numbers == sorted(numbers)


async def test_dead_letters_are_kept_with_their_trace_and_one_that_is_written_again_is_shown_once(
    open_backplane: OpenBackplane,
) -> None:
    letters = [
        DeadLetter(
            StoredRecord(2, 40 + number, 1_700_000_000_000, bytes([number, 255, 0]), traceparent), "archive", "röt"
        )
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


async def test_a_record_goes_to_one_member_of_a_group_only(backplane: Backplane) -> None:
    seen: Counter[bytes] = Counter()

    async def follow(consumer: Consumer) -> None:
        while True:
            event = await consumer.fetch()
            if isinstance(event, Fetched):
                seen.update(record.value for record in event.records)
                await consumer.commit({record.partition: record.offset + 1 for record in event.records})

    async with backplane.consume("group") as one, backplane.consume("group") as two, trio.open_nursery() as nursery:
        nursery.start_soon(follow, one)
        nursery.start_soon(follow, two)
        await trio.testing.wait_all_tasks_blocked(0.01)
        for number in range(100):
            await publish_and_wait(backplane, [Record(number % backplane.partitions, b"%d" % number)])
        with trio.fail_after(PATIENCE):
            while len(seen) < 100:
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert set(seen.values()) == {1}


@pytest.mark.parametrize("partition", [-1, 4, 10**6])
async def test_a_partition_that_is_not_there_is_an_error(backplane: Backplane, partition: int) -> None:
    with pytest.raises(ValueError, match="partition must be 0 to 3"):
        await publish_and_wait(backplane, [Record(partition, b"")])


async def test_a_record_over_the_limit_is_an_error(backplane: Backplane) -> None:
    with pytest.raises(ValueError, match=str(MAX_RECORD_BYTES)):
        await publish_and_wait(backplane, [Record(0, b"x" * (MAX_RECORD_BYTES + 1))])
    await publish_and_wait(backplane, [Record(0, b"x" * MAX_RECORD_BYTES)])


async def test_a_consumer_that_is_cancelled_while_it_waits_loses_nothing(backplane: Backplane) -> None:
    async with backplane.consume("readers") as consumer:
        await assigned(consumer)
        for number in range(30):
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:

                    async def wait() -> None:
                        await consumer.fetch()
                        raise AssertionError("nothing was published")

                    nursery.start_soon(wait)
                    await trio.lowlevel.checkpoint()
                    scope.cancel()
            await publish_and_wait(backplane, [Record(0, b"%d" % number)])
            assert [record.value for record in await read(consumer, 1)] == [b"%d" % number]


@settings(max_examples=25)
@given(batches=st.lists(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=20)), max_size=8), max_size=8))
async def test_each_partition_is_read_as_it_was_written(
    open_backplane: OpenBackplane, batches: list[list[tuple[int, bytes]]]
) -> None:
    written = [item for batch in batches for item in batch]
    async with open_backplane() as backplane:
        starts = {partition: await backplane.end_offset(partition) for partition in range(backplane.partitions)}
        for batch in batches:
            await publish_and_wait(backplane, [Record(*item) for item in batch])
        async with backplane.consume("readers") as consumer:
            await assigned(consumer)
            for partition, offset in starts.items():
                consumer.seek(partition, offset)
            records = await read(consumer, len(written))
    for partition in starts:
        mine = [record for record in records if record.partition == partition]
        assert [record.value for record in mine] == [value for where, value in written if where == partition]
        assert [record.offset for record in mine] == list(range(starts[partition], starts[partition] + len(mine)))
