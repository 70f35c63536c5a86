"""Each traced record of a batch has its own span, with a child span for each attempt to write it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import trio
from opentelemetry.trace import SpanKind, StatusCode

from messaging.archive.recorder import Recorder
from messaging.archive.store.sqlite.store import SqliteChats
from rookery.v1.session_pb2 import Event
from shared.background import open_background
from shared.backplane.publishing import publish_and_wait
from shared.backplane.sqlite.log import SqliteLog
from shared.contract.errors import Unavailable
from shared.telemetry import traces
from tests.messaging.archive.conftest import FakeChats
from tests.spans import Spans, attributes_of, ids_of

PATIENCE = 20.0


async def record_until(recorder: Recorder, is_done: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE):
        async with open_background() as nursery:
            nursery.start_soon(recorder.run)
            while not is_done():
                await trio.sleep(0.001)


async def publish(log: SqliteLog, people: Any, *, traced: Sequence[bool]) -> list[Event]:
    """Publish records of truth; a traced one has a parent span."""
    events = [people.message() for _ in traced]
    records = [people.truth(event) for event in events]
    for index, is_traced in enumerate(traced):
        if is_traced:
            first = traces.begin(f"first {index}", SpanKind.SERVER, {})
            records[index] = records[index]._replace(traceparent=traces.traceparent_of(first))
            first.end()
    await publish_and_wait(log, records)
    return events


async def test_only_the_traced_records_of_a_batch_have_spans(
    log: SqliteLog, chats: SqliteChats, people: Any, spans: Spans
) -> None:
    events = await publish(log, people, traced=[False, True, False, True])
    recorder = Recorder(log, chats)
    await record_until(recorder, lambda: recorder.statistics().events == 4)
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
    log: SqliteLog, chats: SqliteChats, people: Any, spans: Spans, monkeypatch: pytest.MonkeyPatch
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
    await publish(log, people, traced=[True])
    recorder = Recorder(log, chats)
    await record_until(recorder, lambda: recorder.statistics().events == 1)
    record = spans.one("record log")
    assert record.status.status_code is StatusCode.UNSET
    failed, done = sorted(spans.below(record), key=lambda span: span.start_time or 0)
    assert (failed.status.status_code, attributes_of(failed)["error.type"]) == (StatusCode.ERROR, "Unavailable")
    assert done.status.status_code is StatusCode.UNSET
    assert "secret" not in spans.text()


async def test_a_poison_record_fails_its_own_span_only(log: SqliteLog, people: Any, spans: Spans) -> None:
    events = [people.message() for _ in range(3)]
    events[1].message.chat_id = "bad"
    records = []
    for index, event in enumerate(events):
        first = traces.begin(f"first {index}", SpanKind.SERVER, {})
        records.append(people.truth(event)._replace(traceparent=traces.traceparent_of(first)))
        first.end()
    await publish_and_wait(log, records)
    chats: Any = FakeChats()
    recorder = Recorder(log, chats)
    await record_until(recorder, lambda: recorder.statistics().events == 2)
    failed = [
        index
        for index in range(3)
        for span in spans.below(spans.one(f"first {index}"))
        if span.status.status_code is StatusCode.ERROR
    ]
    assert failed == [1]


async def test_a_recorder_that_stops_during_a_retry_ends_its_spans(log: SqliteLog, people: Any, spans: Spans) -> None:
    chats: Any = FakeChats()
    asked = 0

    async def refuse(events: Sequence[Event], offsets: Mapping[int, int]) -> None:
        nonlocal asked
        asked += 1
        raise Unavailable("away")

    chats.record = refuse
    await publish(log, people, traced=[True])
    await record_until(Recorder(log, chats), lambda: asked)
    record = spans.one("record log")
    assert (record.status.status_code, attributes_of(record)["error.type"]) == (StatusCode.ERROR, "Cancelled")
