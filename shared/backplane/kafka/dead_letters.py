"""Dead letters in Kafka: a topic of one partition. A record's value is the letter's; its headers hold the other fields.

A letter may be in the topic several times: a producer whose request was stored but not answered writes it again, and so
does a recorder that starts again before its commit. The reader returns one of each identity.

Everything here is for Kafka's thread.
"""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from shared.backplane.kafka.batches import TRACEPARENT
from shared.backplane.kafka.client import REQUEST_TIMEOUT_MS, KafkaLoop
from shared.backplane.kafka.kafka_python import (
    Client,
    DefaultRecordBatchBuilder,
    Fetcher,
    Place,
    ProduceRequest,
    SubscriptionState,
    TopicPartition,
    errors,
)
from shared.backplane.kafka.offsets import END, OLDEST, find_offset
from shared.backplane.protocol import DeadLetter, StoredRecord

DEAD_LETTER_TIMEOUT = 5.0
"""Seconds for writing a letter, or for reading a page of them."""

RETRY_BACKOFF = 0.1
"""Seconds before a letter is written again."""


async def write_letter(loop: KafkaLoop, client: Client, letter: DeadLetter) -> None:
    """Write a letter, again after each retriable error until DEAD_LETTER_TIMEOUT has passed. Raises a KafkaError."""
    loop.assert_in_kafka_thread()
    place = TopicPartition(loop.settings.dead_letter_topic, 0)
    deadline = time.monotonic() + DEAD_LETTER_TIMEOUT
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
    if record.traceparent:
        headers[TRACEPARENT] = record.traceparent
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
    """Return the newest letters, at most `limit`, oldest first. Needs a client of its own. Raises a KafkaError."""
    loop.assert_in_kafka_thread()
    if limit <= 0:
        return []
    place = TopicPartition(loop.settings.dead_letter_topic, 0)
    deadline = time.monotonic() + DEAD_LETTER_TIMEOUT
    oldest = await find_offset(client, place, OLDEST, int(DEAD_LETTER_TIMEOUT * 1000)) or 0
    end = await find_offset(client, place, END, int(DEAD_LETTER_TIMEOUT * 1000)) or 0
    span = limit
    while True:
        start = max(oldest, end - span)
        letters = _distinct(await _read_range(client, place, start, end, deadline))
        if len(letters) >= limit or start == oldest:
            return letters[-limit:]
        span *= 2  # some were there several times: read further back


async def _read_range(client: Client, place: Place, start: int, end: int, deadline: float) -> list[DeadLetter]:
    subscription = SubscriptionState("earliest")
    fetcher = Fetcher(client, subscription, api_version=client._manager.broker_version)
    subscription.assign_from_user([place])
    subscription.seek(place, start)
    letters: list[DeadLetter] = []
    while subscription.position(place).offset < end:
        if time.monotonic() > deadline:
            raise errors.KafkaTimeoutError("the dead letters can't be read")
        for future in await fetcher._send_fetches_async():
            await future
        records, _ = fetcher.fetched_records()
        letters += [_decode(record) for record in records.get(place, ())]
    return letters


def _distinct(letters: Iterable[DeadLetter]) -> list[DeadLetter]:
    """The last letter of each identity, in the order of the topic."""
    newest: dict[tuple[str, int, int, int], DeadLetter] = {}
    for letter in letters:
        newest.pop(letter.identity, None)
        newest[letter.identity] = letter
    return list(newest.values())


def _decode(record: Any) -> DeadLetter:
    """Decode a letter. A record of another program becomes one at partition -1, so that it can't hide the others."""
    value = record.value or b""
    try:
        headers = {key: content.decode() for key, content in record.headers}
        position = int(headers["partition"]), int(headers["offset"]), int(headers["at_ms"])
        stored = StoredRecord(*position, value, headers.get(TRACEPARENT, ""))  # older letters have none
        return DeadLetter(stored, headers["group"], headers["reason"])
    except (AttributeError, LookupError, ValueError):
        return DeadLetter(StoredRecord(-1, record.offset, record.timestamp, value), "", "this was no dead letter")
