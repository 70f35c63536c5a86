"""Dead letters in Kafka: their encoding, and letters that are in the topic several times."""

from types import SimpleNamespace
from typing import Any

import pytest

from shared.backplane import DeadLetter, StoredRecord
from shared.backplane.kafka import dead_letters
from shared.backplane.kafka.backplane import open_kafka
from shared.backplane.kafka.dead_letters import _decode, _encode
from shared.backplane.kafka.kafka_python import DefaultRecordBatch, errors
from shared.backplane.kafka.topics import migrate_topics
from tests.shared.backplane.conftest import TRACEPARENT, kafka_settings
from tools.engines.kafka import Kafka


def letter(number: int, traceparent: str = "") -> DeadLetter:
    return DeadLetter(StoredRecord(2, number, 1_700_000_000_000, b"\xff", traceparent), "archive", "röt")


@pytest.mark.parametrize("traceparent", [TRACEPARENT, ""])
def test_a_letter_is_decoded_as_it_was_encoded_and_an_untraced_one_is_encoded_as_before(traceparent: str) -> None:
    (record,) = DefaultRecordBatch(_encode(letter(17, traceparent)))
    assert _decode(record) == letter(17, traceparent)
    assert ("traceparent" in dict(record.headers)) == bool(traceparent)


@pytest.mark.parametrize("headers", [[], [("partition", b"x")], [("group", None)], [("reason", b"\xff")]])
def test_a_record_of_another_program_is_shown_at_no_partition(headers: list[tuple[str, bytes | None]]) -> None:
    shown = _decode(SimpleNamespace(headers=headers, value=None, offset=5, timestamp=6))
    assert shown == DeadLetter(StoredRecord(-1, 5, 6, b""), "", "this was no dead letter")


async def test_a_letter_whose_acknowledgement_was_lost_is_shown_once(
    kafka_server: Kafka, monkeypatch: pytest.MonkeyPatch, patient: None
) -> None:
    settings = kafka_settings(kafka_server)
    await migrate_topics(settings)
    produce, losses = dead_letters._produce, iter([True, True, True])

    async def produce_and_lose_the_response(*arguments: Any) -> None:
        await produce(*arguments)
        if next(losses, False):
            raise errors.RequestTimedOutError

    async with open_kafka(settings) as backplane:
        for number in range(3):
            await backplane.dead_letter(letter(number))
        monkeypatch.setattr(dead_letters, "_produce", produce_and_lose_the_response)
        await backplane.dead_letter(letter(3))
        assert await backplane.dead_letters(10) == [letter(number) for number in range(4)]
        assert await backplane.dead_letters(3) == [letter(number) for number in range(1, 4)], "it reads further back"
