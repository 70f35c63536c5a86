"""The engines that the contract of the backplane is held to. A twin joins by a line in ENGINES."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from uuid import uuid4

import pytest

from shared.backplane import Backplane
from shared.backplane.embedded import open_embedded_log
from shared.backplane.kafka import open_kafka
from shared.backplane.kafka_topics import migrate_topics
from shared.settings import KafkaSettings
from tests.backends.kafka import Kafka

PARTITIONS = 4

OpenBackplane = Callable[[], AbstractAsyncContextManager[Backplane]]
"""Opens the same backplane again each time: what was published before is still there."""


def embedded(request: pytest.FixtureRequest) -> OpenBackplane:
    path = request.getfixturevalue("tmp_path") / "log.sqlite3"
    return lambda: open_embedded_log(path, partitions=PARTITIONS, retention_hours=1)


def kafka(request: pytest.FixtureRequest) -> OpenBackplane:
    settings = kafka_settings(request.getfixturevalue("kafka_server"))

    @asynccontextmanager
    async def open_it() -> AsyncIterator[Backplane]:
        await migrate_topics(settings)
        async with open_kafka(settings) as backplane:
            yield backplane

    return open_it


def kafka_settings(server: Kafka, instance: str = "tests") -> KafkaSettings:
    """Topics that no other test has. The groups of one test can be met in another, but no topic of theirs."""
    name = f"test-{uuid4().hex}"
    return KafkaSettings(
        servers=(server.address,),
        topic=name,
        dead_letter_topic=f"{name}.dead-letters",
        partitions=PARTITIONS,
        instance=instance,
    )


ENGINES = {"embedded": embedded, "kafka": kafka}


@pytest.fixture(params=sorted(ENGINES))
def open_backplane(request: pytest.FixtureRequest) -> OpenBackplane:
    return ENGINES[request.param](request)


@pytest.fixture
async def backplane(open_backplane: OpenBackplane) -> AsyncIterator[Backplane]:
    async with open_backplane() as opened:
        yield opened
