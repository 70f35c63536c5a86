"""Each traced record of a batch has its own span, with a child span for each attempt to write it."""

from collections.abc import Collection, Sequence
from typing import Any

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from messaging.archive.recorder import Recorder
from messaging.archive.store.sqlite.store import SqliteChats
from rookery.v1.session_pb2 import Event
from shared.backplane.publishing import publish_and_wait
from shared.backplane.sqlite.log import SqliteLog
from shared.contract.errors import Unavailable
from shared.telemetry import traces
from tests.messaging.archive.conftest import FakeChats, new_message, record_until, truth_of
from tests.spans import Spans, attributes_of, ids_of


async def publish(log: SqliteLog, events: Sequence[Event], *, traced: Collection[int]) -> None:
    """Publish records of truth; the records of the traced indexes have a parent span."""
    records = [truth_of(event) for event in events]
    for index in traced:
        first = traces.begin(f"first {index}", SpanKind.SERVER, {})
        records[index] = records[index]._replace(traceparent=traces.traceparent_of(first))
        first.end()
    await publish_and_wait(log, records)


async def test_only_the_traced_records_of_a_batch_have_spans(log: SqliteLog, chats: SqliteChats, spans: Spans) -> None:
    events = [new_message() for _ in range(4)]
    await publish(log, events, traced=[1, 3])
    recorder = Recorder(log, chats)
    await record_until(recorder, events=4)
    assert recorder.statistics().batches == 1
    for index in (1, 3):
        first = spans.one(f"first {index}")
        (record,) = spans.below(first)
        attributes = attributes_of(record)
        assert attributes["messaging.message.id"] == str(events[index].event_id)
        assert attributes["messaging.batch.message_count"] == 4
        assert attributes["messaging.kafka.offset"] == index
        assert [span.name for span in spans.below(record)] == ["write chats.sqlite3"]
    assert len(spans.named("record log")) == len(spans.named("write chats.sqlite3")) == 2
    assert len({ids_of(span)[0] for span in spans}) == 2


async def test_each_failed_attempt_of_the_store_is_a_failed_span(
    log: SqliteLog, chats: SqliteChats, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 0
    submit = chats._database._writer.call

    async def fail_once(job: Any) -> object:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise Unavailable("secret")
        return await submit(job)

    monkeypatch.setattr(chats._database._writer, "call", fail_once)
    monkeypatch.setattr("messaging.archive.recorder.COMMIT_SECONDS", 60.0)  # nothing else writes meanwhile
    await publish(log, [new_message()], traced=[0])
    recorder = Recorder(log, chats)
    await record_until(recorder, events=1)
    record = spans.one("record log")
    assert record.status.status_code is StatusCode.UNSET
    failed, done = sorted(spans.below(record), key=lambda span: span.start_time or 0)
    assert (failed.status.status_code, attributes_of(failed)["error.type"]) == (StatusCode.ERROR, "Unavailable")
    assert done.status.status_code is StatusCode.UNSET
    assert "secret" not in spans.exported()


async def test_a_poison_record_fails_its_own_span_only(log: SqliteLog, spans: Spans) -> None:
    events = [new_message() for _ in range(3)]
    events[1].message.chat_id = "bad"
    await publish(log, events, traced=range(3))
    chats: Any = FakeChats()
    recorder = Recorder(log, chats)
    await record_until(recorder, events=2)
    failed = [
        index
        for index in range(3)
        for span in spans.below(spans.one(f"first {index}"))
        if span.status.status_code is StatusCode.ERROR
    ]
    assert failed == [1]


async def test_a_recorder_that_stops_during_a_retry_ends_its_spans(log: SqliteLog, spans: Spans) -> None:
    chats: Any = FakeChats(failures=[Unavailable("away")] * 1_000)
    await publish(log, [new_message()], traced=[0])
    await record_until(Recorder(log, chats), retries=1)
    record = spans.one("record log")
    assert (record.status.status_code, attributes_of(record)["error.type"]) == (StatusCode.ERROR, "Cancelled")
