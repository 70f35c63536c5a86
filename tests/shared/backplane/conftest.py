"""The engines on which the contract suite runs. A further twin needs a line in ENGINES."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import uuid4

import pytest
import trio

from shared.backplane import Assignment, Backplane, Consumer, StoredRecord
from shared.backplane.kafka import backplane as kafka_backplane
from shared.backplane.kafka import client as kafka_client
from shared.backplane.kafka import consumer as kafka_consumer
from shared.backplane.kafka import dead_letters as kafka_dead_letters
from shared.backplane.kafka import member as kafka_member
from shared.backplane.kafka import producer as kafka_producer
from shared.backplane.kafka.backplane import open_kafka
from shared.backplane.kafka.topics import migrate_topics
from shared.backplane.sqlite.log import open_sqlite_log
from shared.settings import KafkaSettings
from tests.waiting import PATIENCE
from tools.engines.kafka import Kafka

PARTITIONS = 4

LONG_SESSION = 30.0
"""Session time-out of a member that must not be excluded in the test: no machine stands still for so long."""

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

OpenBackplane = Callable[[], AbstractAsyncContextManager[Backplane]]
"""Opens the same backplane each time: records that were published before are still there."""


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine, Kafka may take longer than the timeouts that the test is not about."""
    for module, name in (
        (kafka_backplane, "LOOKUP_TIMEOUT"),
        (kafka_backplane, "DEAD_LETTER_TIMEOUT"),
        (kafka_dead_letters, "DEAD_LETTER_TIMEOUT"),
        (kafka_client, "CONNECT_TIMEOUT"),
        (kafka_consumer, "CLOSE_TIMEOUT"),
        (kafka_consumer, "COMMIT_TIMEOUT"),
        (kafka_member, "RELEASE_TIMEOUT"),
        (kafka_producer, "DELIVERY_TIMEOUT"),
    ):
        monkeypatch.setattr(module, name, PATIENCE)
    monkeypatch.setattr(kafka_member, "LEAVE_TIMEOUT_MS", PATIENCE * 1000)
    monkeypatch.setattr(kafka_member, "REBALANCE_TIMEOUT_MS", int(2 * PATIENCE * 1000))


def sqlite(request: pytest.FixtureRequest) -> OpenBackplane:
    path = request.getfixturevalue("tmp_path") / "log.sqlite3"
    return lambda: open_sqlite_log(path, partitions=PARTITIONS, retention_hours=1)


def kafka(request: pytest.FixtureRequest) -> OpenBackplane:
    request.getfixturevalue("patient")
    settings = kafka_settings(request.getfixturevalue("kafka_server"))

    @asynccontextmanager
    async def open_it() -> AsyncIterator[Backplane]:
        await migrate_topics(settings)
        async with open_kafka(settings) as backplane:
            yield backplane

    return open_it


def kafka_settings(server: Kafka, instance: str = "tests") -> KafkaSettings:
    """Settings with new topics, and so with new groups, whose names begin with the topic's."""
    name = f"test-{uuid4().hex}"
    return KafkaSettings(
        servers=(server.address,),
        topic=name,
        dead_letter_topic=f"{name}.dead-letters",
        partitions=PARTITIONS,
        instance=instance,
        session_timeout_seconds=LONG_SESSION,
    )


ENGINES = {"sqlite": sqlite, "kafka": kafka}


@pytest.fixture(params=sorted(ENGINES))
def open_backplane(request: pytest.FixtureRequest) -> OpenBackplane:
    return ENGINES[request.param](request)


@pytest.fixture
async def backplane(open_backplane: OpenBackplane) -> AsyncIterator[Backplane]:
    async with open_backplane() as opened:
        yield opened


async def read(consumer: Consumer, count: int) -> list[StoredRecord]:
    """Fetch until there are at least this many records; skip assignments."""
    records: list[StoredRecord] = []
    with trio.fail_after(PATIENCE):
        while len(records) < count:
            event = await consumer.fetch()
            if not isinstance(event, Assignment):
                records.extend(event.records)
    return records
