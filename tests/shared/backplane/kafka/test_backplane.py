"""The backplane while its broker dies or freezes, while it is cancelled, and beside other programs."""

import threading
import time
from contextlib import closing, suppress
from importlib import import_module
from itertools import pairwise
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from shared.backplane import Backplane, Checkpoint, Record, StoredRecord
from shared.backplane.kafka import backplane as kafka_backplane
from shared.backplane.kafka import consumer as kafka_consumer
from shared.backplane.kafka import producer as kafka_producer
from shared.backplane.kafka.backplane import open_kafka
from shared.backplane.kafka.topics import migrate_topics
from shared.backplane.publishing import publish_and_wait
from shared.contract.errors import Unavailable
from shared.settings import KafkaSettings
from tests.shared.backplane.conftest import PARTITIONS, TRACEPARENT, kafka_settings, read
from tests.shared.backplane.kafka.conftest import CLOSE_SECONDS, Publisher, gain, opened, publish_until_accepted
from tests.stepping import cancel_at_step
from tests.waiting import PATIENCE, until
from tools.engines.engine import free_port
from tools.engines.kafka import Kafka

REFUSED_SECONDS = kafka_producer.DELIVERY_TIMEOUT + 15
"""Limit for the answer to a publication while the broker fails: the delivery timeout, and 15 s for a busy machine. The
library's own limit is minutes."""

RECOVERY_SECONDS = 28.0
"""Limit from the restart of a broker to the first accepted publication. It takes 1 or 2 s; the library on its own
retries after 30 s."""

stock: Any = import_module("kafka")
"""kafka-python as other programs use it."""


async def read_again(backplane: Backplane, publisher: Publisher) -> list[StoredRecord]:
    """Read partitions 0 and 1 from their beginning up to the last accepted numbers."""
    ends = {0: max(publisher.accepted), 1: max(publisher.accepted)}
    records: list[StoredRecord] = []
    async with backplane.consume("another group") as consumer:
        while ends:
            for record in await read(consumer, 1):
                if record.partition < 2:
                    records.append(record)
                    if int(record.value) == ends.get(record.partition):
                        del ends[record.partition]
    return records


async def consume_and_close_without_a_broker(backplane: Backplane) -> None:
    async with backplane.consume("without a broker") as consumer:
        with trio.move_on_after(0.5) as waited:
            await consumer.fetch()
        assert waited.cancelled_caught
        with pytest.raises(Unavailable):
            await backplane.end_offset(0)
        began = trio.current_time()
    assert trio.current_time() - began < CLOSE_SECONDS


async def test_acknowledged_records_survive_a_killed_broker_and_the_others_are_answered_once(
    fragile_kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_backplane, "LOOKUP_TIMEOUT", 0.5)
    async with opened(kafka_settings(fragile_kafka)) as backplane, backplane.consume("readers") as consumer:
        publisher = Publisher(backplane)
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publisher.publish_until, stop)
            await read(consumer, 100)
            await trio.to_thread.run_sync(fragile_kafka.kill)
            await consume_and_close_without_a_broker(backplane)
            async with backplane.consume("early") as early:
                await trio.to_thread.run_sync(fragile_kafka.start)
                back = trio.current_time()
                await publish_until_accepted(backplane)
                assert trio.current_time() - back < RECOVERY_SECONDS, "it recovers by itself"
                stop.set()
                assert await gain(early, PARTITIONS) == set(range(PARTITIONS)), "a member waits for its broker"
        await publisher.until_answered()
        records = await read_again(backplane, publisher)
        publisher.assert_stored(records)
        assert len(records) == len(set(records)), "no record is stored twice"
        assert max(publisher.times.values()) < REFUSED_SECONDS
        with trio.fail_after(PATIENCE):
            await consumer.commit({0: Checkpoint(1)})
        before = consumer.held_until
        await until(lambda: consumer.held_until > before)


async def test_while_a_broker_is_frozen_calls_are_rejected_once_and_closing_rejects_the_pending_ones(
    fragile_kafka: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The outage is logged at its start and at its end."""
    monkeypatch.setattr(kafka_producer, "DELIVERY_TIMEOUT", 1.0)
    monkeypatch.setattr(kafka_consumer, "COMMIT_TIMEOUT", 1.0)
    with capture_logs() as lines:
        async with opened(kafka_settings(fragile_kafka)) as backplane:
            publisher = Publisher(backplane)
            async with backplane.consume("readers") as consumer, trio.open_nursery() as nursery:
                stop = trio.Event()
                nursery.start_soon(publisher.publish_until, stop)
                await read(consumer, 100)
                fragile_kafka.freeze()
                try:
                    with pytest.raises(Unavailable):
                        await consumer.commit({0: Checkpoint(1)})
                    await until(lambda: publisher.refused)
                finally:
                    fragile_kafka.thaw()
                await publish_until_accepted(backplane)
                stop.set()
            await publisher.until_answered()
            publisher.assert_stored(await read_again(backplane, publisher))
            monkeypatch.setattr(kafka_producer, "DELIVERY_TIMEOUT", PATIENCE)
            fragile_kafka.freeze()
            last = Publisher(backplane)
            last.publish()
            closing = trio.current_time()
        fragile_kafka.thaw()
    assert trio.current_time() - closing < PATIENCE
    assert last.refused == {0}
    events = [line["event"] for line in lines if line["event"].startswith("publishing")]
    assert events[:2] == ["publishing_failing", "publishing_recovered"]
    assert all(one != following for one, following in pairwise(events)), "a slow broker may fail again"
    with pytest.raises(Unavailable, match="closed"):
        last.publish()


async def test_times_of_records_are_the_broker_s(kafka_server: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(kafka_settings(kafka_server)) as backplane, backplane.consume("readers") as consumer:
        now = time.time_ns
        monkeypatch.setattr(time, "time_ns", lambda: now() - 10_000 * 10**9)
        await publish_and_wait(backplane, [Record(0, b"x")])
        (record,) = await read(consumer, 1)
        assert abs(record.at_ms - now() // 10**6) < 1000 * PATIENCE


async def test_a_group_s_offset_is_looked_up_without_a_trace_in_the_client(kafka_server: Kafka) -> None:
    async with opened(kafka_settings(kafka_server)) as backplane:
        cluster: Any = backplane._client.cluster
        before = set(cluster._listeners)
        assert await backplane.committed_offset("readers", 0) == 0
        assert cluster._listeners == before, "a listener that is gone fails each update of the metadata"


async def test_other_programs_find_the_trace_in_its_usual_header(kafka_server: Kafka) -> None:
    settings = kafka_settings(kafka_server)
    others = [("tracestate", b"vendor=1"), ("empty", b""), ("traceparent", TRACEPARENT.encode())]

    def produce() -> None:
        with closing(stock.KafkaProducer(bootstrap_servers=kafka_server.address)) as producer:
            producer.send(settings.topic, b"theirs", headers=others, partition=0).get(PATIENCE)

    def consume() -> list[tuple[bytes, list[tuple[str, bytes]]]]:
        place = stock.TopicPartition(settings.topic, 0)
        with closing(stock.KafkaConsumer(bootstrap_servers=kafka_server.address)) as consumer:
            consumer.assign([place])
            consumer.seek_to_beginning(place)
            records: list[Any] = []
            while len(records) < 3:
                records += consumer.poll(1_000).get(place, [])
            return [(record.value, list(record.headers)) for record in records]

    async with opened(settings) as backplane, backplane.consume("readers") as consumer:
        await publish_and_wait(backplane, [Record(0, b"untraced"), Record(0, b"traced", TRACEPARENT)])
        await trio.to_thread.run_sync(produce)
        records = await read(consumer, 3)
    assert [record.traceparent for record in records] == ["", TRACEPARENT, TRACEPARENT]
    assert (await trio.to_thread.run_sync(consume))[:2] == [
        (b"untraced", []),
        (b"traced", [("traceparent", TRACEPARENT.encode())]),
    ]


# ---- cancelled


async def everything(settings: KafkaSettings) -> None:
    """Run each operation that waits once."""
    async with open_kafka(settings) as backplane, backplane.consume("cancelled") as consumer:
        backplane.publish([Record(0, b"x"), Record(1, b"x")], lambda _: None)
        await gain(consumer, PARTITIONS)
        consumer.seek(0, 0)
        await read(consumer, 1)
        await consumer.commit({0: Checkpoint(1)})
        await backplane.offset_at(0, 2**50)


async def until_no_thread_is_left() -> None:
    """Soon: closing does not wait for a loop that a callback blocks."""
    await until(lambda: not any("kafka" in thread.name for thread in threading.enumerate()))


async def test_cancelled_at_any_await_it_closes_and_leaves_no_thread(kafka_server: Kafka) -> None:
    settings, this = kafka_settings(kafka_server), trio.lowlevel.current_task()
    await migrate_topics(settings)

    async def use() -> None:
        with suppress(Unavailable):
            await everything(settings)

    step, is_cancelled = 0, True
    while is_cancelled and step < 200:
        step += 1
        with trio.fail_after(PATIENCE):
            is_cancelled = await cancel_at_step(step, lambda task: task is this, use)
        await until_no_thread_is_left()
    assert 5 < step < 200


async def test_cancelled_while_the_broker_is_away_it_closes_at_once() -> None:
    settings = KafkaSettings(servers=(f"127.0.0.1:{free_port()}",))
    for seconds in (0.0, 0.05, 0.3):
        began = trio.current_time()
        with trio.move_on_after(seconds) as scope:
            await everything(settings)
        assert scope.cancelled_caught
        assert trio.current_time() - began < seconds + CLOSE_SECONDS
        await until_no_thread_is_left()
