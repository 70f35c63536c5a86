"""Dead letters in Kafka: a topic of one partition. A letter's value is the record's; the rest is in its headers."""

import time
from collections.abc import Sequence
from typing import Any

from shared.backplane.kafka.client import REQUEST_TIMEOUT_MS, KafkaLoop
from shared.backplane.kafka.library import (
    Client,
    DefaultRecordBatchBuilder,
    Fetcher,
    Place,
    ProduceRequest,
    SubscriptionState,
    TopicPartition,
    errors,
)
from shared.backplane.protocol import DeadLetter, StoredRecord

PATIENCE = 5.0
"""Seconds for putting aside a letter, or for reading some."""

RETRY_BACKOFF = 0.1


async def write_letter(loop: KafkaLoop, client: Client, letter: DeadLetter) -> None:
    """Put a letter aside; twice, if Kafka does not say that it has it. For the loop's thread. Raises a KafkaError."""
    place = TopicPartition(loop.settings.dead_letter_topic, 0)
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            await _produce(client, place, _encode(letter))
            return
        except errors.RetriableError:
            if time.monotonic() > deadline:
                raise
            client.cluster.request_update()
            await loop.net.sleep(RETRY_BACKOFF)


def _encode(letter: DeadLetter) -> bytearray:
    record = letter.record
    headers = {
        "partition": str(record.partition),
        "offset": str(record.offset),
        "at_ms": str(record.at_ms),
        "group": letter.group,
        "reason": letter.reason,
    }
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 31)
    builder.append(0, record.at_ms, None, record.value, [(key, value.encode()) for key, value in headers.items()])
    buffer: bytearray = builder.build()
    return buffer


async def _produce(client: Client, place: Place, batch: bytearray) -> None:
    data = ProduceRequest.TopicProduceData
    topic = data(name=place.topic, partition_data=[data.PartitionProduceData(index=place.partition, records=batch)])
    request = ProduceRequest(
        transactional_id=None, acks=-1, timeout_ms=REQUEST_TIMEOUT_MS, topic_data=[topic], max_version=9
    )
    leader = client.cluster.leader_for_partition(place)
    if leader is None or leader == -1:
        raise errors.LeaderNotAvailableError(f"{place.topic} has no leader")
    response = await client._manager.send(request, node_id=leader)
    outcome = response.responses[0].partition_responses[0]
    if outcome.error_code:
        raise errors.for_code(outcome.error_code)(outcome.error_message)


async def read_letters(loop: KafkaLoop, client: Client, limit: int) -> Sequence[DeadLetter]:
    """The newest letters, oldest first. For the loop's thread, with a client for this alone. Raises a KafkaError."""
    place = TopicPartition(loop.settings.dead_letter_topic, 0)
    subscription = SubscriptionState("earliest")
    fetcher = Fetcher(client, subscription, api_version=client._manager.broker_version)
    milliseconds = int(PATIENCE * 1000)
    oldest = (await fetcher._fetch_offsets_by_times_async({place: -2}, milliseconds))[place].offset
    end = (await fetcher._fetch_offsets_by_times_async({place: -1}, milliseconds))[place].offset
    subscription.assign_from_user([place])
    subscription.seek(place, max(oldest, end - limit))
    letters: list[DeadLetter] = []
    deadline = time.monotonic() + PATIENCE
    while subscription.position(place).offset < end:
        if time.monotonic() > deadline:
            raise errors.KafkaTimeoutError("the dead letters can't be read")
        for future in await fetcher._send_fetches_async():
            await future
        records, _ = fetcher.fetched_records()
        letters += [_decode(record) for record in records.get(place, ())]
    return letters[-limit:] if limit > 0 else []


def _decode(record: Any) -> DeadLetter:
    """A letter; what somebody else has put into the topic is one too, from nowhere: it must not hide the others."""
    value = record.value or b""
    try:
        headers = {key: content.decode() for key, content in record.headers}
        place = int(headers["partition"]), int(headers["offset"]), int(headers["at_ms"])
        return DeadLetter(StoredRecord(*place, value), headers["group"], headers["reason"])
    except (AttributeError, LookupError, ValueError):
        return DeadLetter(StoredRecord(-1, record.offset, record.timestamp, value), "", "this was no dead letter")
