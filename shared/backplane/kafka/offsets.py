"""Look up offsets by time. For Kafka's thread."""

from shared.backplane.kafka.kafka_python import Client, Fetcher, Place, SubscriptionState

OLDEST = -2
"""Kafka's code, in place of a time, for the offset of the oldest record."""

END = -1
"""Kafka's code, in place of a time, for the offset of the next record."""


async def find_offset(client: Client, place: Place, at_ms: int, timeout: float) -> int | None:  # noqa: ASYNC109 - the library's loop has no cancel scopes
    """Return the first offset at this time (milliseconds since 1970, OLDEST or END) or later; None if there is none.

    `timeout` is in seconds. Raises a KafkaError.
    """
    fetcher = Fetcher(client, SubscriptionState("earliest"), api_version=client._manager.broker_version)
    found = (await fetcher._fetch_offsets_by_times_async({place: at_ms}, int(timeout * 1000))).get(place)
    return None if found is None else int(found.offset)
