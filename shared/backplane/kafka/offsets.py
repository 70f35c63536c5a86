"""Look up offsets by time. For Kafka's thread."""

from shared.backplane.kafka.kafka_python import Client, Fetcher, Place, SubscriptionState

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
