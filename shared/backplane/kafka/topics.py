"""The topics: `rookery migrate` creates them, opening the backplane checks them, and nothing else creates any."""

from shared.backplane.kafka.client import CONNECT_TIMEOUT, KafkaLoop, describe, open_kafka_loop
from shared.backplane.kafka.kafka_python import Client, CreateTopicsRequest, errors
from shared.backplane.protocol import DEAD_LETTER_HOURS, MAX_RECORD_BYTES
from shared.contract.errors import Unavailable
from shared.settings import KafkaSettings

MAX_BATCH_BYTES = 2 * MAX_RECORD_BYTES
"""The topics' limit for a batch: a record of MAX_RECORD_BYTES, and the records before it."""

VISIBLE_INTERVAL = 0.05
"""Seconds between checks whether a new topic's partitions have leaders."""


async def migrate_topics(settings: KafkaSettings) -> None:
    """Create the topics that do not exist. Idempotent, and safe in several processes at once.

    Raises Unavailable, also if the topic exists with another number of partitions.
    """
    names = [settings.topic, settings.dead_letter_topic]
    async with open_kafka_loop(settings) as loop, loop.open_client() as client:
        await loop.connect(client, names)

        async def create() -> None:
            for name, partitions, retention_hours in (
                (settings.topic, settings.partitions, settings.retention_hours),
                (settings.dead_letter_topic, 1, DEAD_LETTER_HOURS),
            ):
                await _create_topic(client, settings, name, partitions, retention_hours)
            while not all(client.cluster.available_partitions_for_topic(name) for name in names):
                await loop.net.sleep(VISIBLE_INTERVAL)
                await client.cluster.refresh_metadata()

        await loop.call("the topics can't be made", 2 * CONNECT_TIMEOUT, create)
        check_topic(client, settings)


async def _create_topic(
    client: Client, settings: KafkaSettings, name: str, partitions: int, retention_hours: float
) -> None:
    topic = CreateTopicsRequest.CreatableTopic
    configs = {
        "retention.ms": str(int(retention_hours * 3_600_000)),
        "min.insync.replicas": str(min(settings.min_in_sync, settings.replication)),
        "message.timestamp.type": "LogAppendTime",  # one clock for all producers, the broker's
        "max.message.bytes": str(MAX_BATCH_BYTES),
        "cleanup.policy": "delete",
    }
    request = CreateTopicsRequest(
        topics=[
            topic(
                name=name,
                num_partitions=partitions,
                replication_factor=settings.replication,
                assignments=[],
                configs=[topic.CreatableTopicConfig(name=key, value=value) for key, value in configs.items()],
            )
        ],
        timeout_ms=int(CONNECT_TIMEOUT * 1000),
        validate_only=False,
    )
    controller = client.cluster.controller
    response = await client._manager.send(request, node_id=None if controller is None else controller.node_id)
    (outcome,) = response.topics
    error = errors.for_code(outcome.error_code)
    if error not in (errors.NoError, errors.TopicAlreadyExistsError):
        raise Unavailable(f"Kafka can't make the topic {name}: {describe(error(outcome.error_message))}")


async def open_topic(loop: KafkaLoop, client: Client, settings: KafkaSettings) -> None:
    """Load the topics' metadata and check it against the settings. Raises Unavailable."""
    await loop.connect(client, [settings.topic, settings.dead_letter_topic])
    check_topic(client, settings)


def check_topic(client: Client, settings: KafkaSettings) -> None:
    """Raise Unavailable unless the topic has the settings' number of partitions: it decides the partition of a user."""
    topic = settings.topic
    found = len(client.cluster.partitions_for_topic(topic) or ())
    if not found:
        raise Unavailable(f"Kafka has no topic {topic} (`kafka.topic`): `rookery migrate` makes it")
    if found != settings.partitions:
        raise Unavailable(
            f"Kafka's topic {topic} has {found} partitions, `kafka.partitions` is {settings.partitions}: the number"
            f" is fixed when `rookery migrate` makes it. Set `kafka.partitions` to {found}, or choose another topic"
        )
