"""Topics: `migrate_topics` creates them, opening checks them, and nothing else creates any."""

import pytest
import trio

from shared.backplane import Record
from shared.backplane.kafka.backplane import open_kafka
from shared.backplane.kafka.topics import migrate_topics
from shared.backplane.publishing import publish_and_wait
from shared.contract.errors import Unavailable
from tests.shared.backplane.conftest import PARTITIONS, kafka_settings
from tools.engines.kafka import Kafka


async def test_several_processes_create_the_topics_once_and_another_number_of_partitions_is_refused(
    kafka_server: Kafka,
) -> None:
    settings = kafka_settings(kafka_server)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(migrate_topics, settings)
    async with open_kafka(settings) as backplane:
        await publish_and_wait(backplane, [Record(partition, b"x") for partition in range(PARTITIONS)])
    other = settings.model_copy(update={"partitions": 7})
    with pytest.raises(Unavailable, match=r"has 4 partitions, `kafka.partitions` is 7.*`rookery migrate`"):
        async with open_kafka(other):
            pass
    with pytest.raises(Unavailable, match=r"has 4 partitions, `kafka.partitions` is 7"):
        await migrate_topics(other)


async def test_opening_creates_no_topic_even_if_the_broker_would(fragile_kafka: Kafka) -> None:
    settings = kafka_settings(fragile_kafka)
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"has no topic test-.*`rookery migrate` makes it"):
            async with open_kafka(settings):
                pass
