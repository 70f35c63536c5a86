"""Look up offsets by time, and the committed offsets of groups. For Kafka's thread."""

from shared.backplane.kafka.kafka_python import (
    Client,
    ConsumerCoordinator,
    Fetcher,
    Place,
    SubscriptionState,
    WeakMethod,
)

OLDEST = -2
"""Kafka's code, in place of a time, for the offset of the oldest record."""

END = -1
"""Kafka's code, in place of a time, for the offset of the next record."""


async def find_offset(client: Client, place: Place, at_ms: int, timeout_ms: int) -> int | None:
    """Return the first offset at this time (milliseconds since 1970, OLDEST or END) or later; None if there is none.

    Raises a KafkaError, KafkaTimeoutError included.
    """
    fetcher = Fetcher(client, SubscriptionState("earliest"), api_version=client._manager.broker_version)
    found = (await fetcher._fetch_offsets_by_times_async({place: at_ms}, timeout_ms)).get(place)
    return None if found is None else int(found.offset)


async def committed_offset(client: Client, group_id: str, place: Place, timeout_ms: int) -> int:
    """Return the offset that the group has committed, without joining it; 0 if it has committed none.

    Raises a KafkaError, KafkaTimeoutError included.
    """
    options = {"group_id": group_id, "enable_auto_commit": False, "api_version": client._manager.broker_version}
    coordinator = ConsumerCoordinator(client, SubscriptionState("earliest"), **options)
    try:
        committed = await coordinator.fetch_committed_offsets_async({place}, timeout_ms)
    finally:  # a coordinator that is gone would fail each update of the client's metadata
        client.cluster.remove_listener(WeakMethod(coordinator._handle_metadata_update))
    return int(committed[place].offset) if place in committed else 0
