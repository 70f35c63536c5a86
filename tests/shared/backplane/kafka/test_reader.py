"""The reader: where it continues, that it loses no record, and how much it buffers."""

import itertools
import math

import pytest
import trio

from shared.backplane import Record
from shared.backplane.kafka import fetch_queue, reader
from shared.backplane.kafka.kafka_python import errors
from shared.backplane.kafka.member import HEARTBEAT_MS
from shared.backplane.publishing import publish_and_wait
from shared.contract.errors import Unavailable
from tests.shared.backplane.conftest import PARTITIONS, kafka_settings, read
from tests.shared.backplane.kafka.conftest import acknowledge, gain, opened
from tests.waiting import PATIENCE
from tools.engines.kafka import Kafka


async def test_after_a_seek_to_a_missing_offset_it_continues_at_the_oldest(kafka_server: Kafka) -> None:
    async with opened(kafka_settings(kafka_server)) as backplane, backplane.consume("readers") as consumer:
        await publish_and_wait(backplane, [Record(0, b"oldest"), Record(0, b"next")])
        await gain(consumer, PARTITIONS)
        consumer.seek(0, 1_000)
        records = await read(consumer, 2)
        assert [record.value for record in records] == [b"oldest", b"next"]


async def test_a_fetch_that_can_not_be_sent_loses_nothing_of_the_one_before(kafka_server: Kafka) -> None:
    async with opened(kafka_settings(kafka_server)) as backplane, backplane.consume("readers") as consumer:
        await gain(consumer, PARTITIONS)
        fetcher = consumer._member.reader._fetcher
        send, calls = fetcher._send_fetches_async, itertools.count()

        async def send_every_other() -> object:
            if next(calls) % 2:
                raise errors.NodeNotReadyError
            return await send()

        fetcher._send_fetches_async = send_every_other
        for number in range(50):
            await publish_and_wait(backplane, [Record(0, b"%d" % number)])
        records = await read(consumer, 50)
        assert [int(record.value) for record in records] == list(range(50))


async def test_a_fault_of_the_reader_ends_its_member_so_that_the_consumer_joins_again(kafka_server: Kafka) -> None:
    """Otherwise it would stay in its group, and hold partitions of which it reads nothing."""
    async with opened(kafka_settings(kafka_server)) as backplane:
        async with backplane.consume("readers") as consumer:
            await gain(consumer, PARTITIONS)
            consumer._member.reader._fetcher.fetched_records = lambda: 1 // 0
            await publish_and_wait(backplane, [Record(0, b"one")])
            with trio.fail_after(PATIENCE), pytest.raises(Unavailable, match="ZeroDivisionError"):
                await consumer.fetch()
            await trio.sleep(2 * HEARTBEAT_MS / 1000)
            assert consumer.held_until == -math.inf
        async with backplane.consume("readers") as consumer:
            await gain(consumer, PARTITIONS)
            assert [record.value for record in await read(consumer, 1)] == [b"one"]


async def test_the_queue_of_a_consumer_that_does_not_fetch_is_bounded(
    kafka_server: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_queue, "MAX_BUFFERED_BYTES", 20_000)
    monkeypatch.setattr(reader, "FETCH_MAX_BYTES", 100_000)  # one response may exceed the bound
    async with opened(kafka_settings(kafka_server)) as backplane, backplane.consume("readers") as consumer:
        await gain(consumer, PARTITIONS)
        await acknowledge(consumer)
        for _ in range(100):
            await publish_and_wait(backplane, [Record(0, bytes(1_000))] * 10)
        with trio.move_on_after(1):
            while True:
                assert consumer._queue.size < 500_000
                await trio.sleep(0.01)
        assert len(await read(consumer, 1_000)) == 1_000
