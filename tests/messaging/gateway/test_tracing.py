"""Every frame's and every delivery's span ends, with its outcome."""

from collections.abc import Callable, Sequence

import pytest
import trio
import trio.testing
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from messaging.gateway.gateway import Gateway
from messaging.gateway.session import State
from rookery.v1.session_pb2 import Marked
from shared.backplane import Record
from shared.backplane.protocol import Done
from shared.configuration import LiveConfiguration
from shared.contract.errors import Unavailable
from tests.messaging.gateway.harness import ANN, BEN, PATIENCE, REPLAY_SECONDS, Platform, change_frame
from tests.spans import Spans, attributes_of, ids_of

TRACED = LiveConfiguration(trace_ratio=1, replay_seconds=REPLAY_SECONDS)


@pytest.fixture
async def traced(platform: Platform, spans: Spans) -> Gateway:
    """A gateway that traces every frame."""
    return await platform.start_gateway(TRACED)


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(PATIENCE):
        while not condition():
            await trio.sleep(0.001)


def outcome(span: ReadableSpan) -> tuple[bool, object]:
    """Whether the span failed, and its error."""
    return span.status.status_code is StatusCode.ERROR, attributes_of(span).get("error.type")


async def test_a_full_log_fails_both_spans(
    platform: Platform, traced: Gateway, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(records: Sequence[Record], done: Done, *, until: float) -> None:
        raise Unavailable("secret")

    async with platform.sign_in(traced, ANN) as ann:
        monkeypatch.setattr(platform.backplane, "publish", refuse)
        await ann.send_text("a", BEN)
        await ann.expect("refused")
    first = spans.one("session send")
    assert outcome(first) == (True, "unavailable")
    assert attributes_of(first)["rookery.refusal"] == "unavailable"
    assert outcome(spans.one("publish log")) == (True, "Unavailable")
    assert "secret" not in spans.exported()


async def test_a_log_that_does_not_acknowledge_fails_the_spans_at_that_time(
    platform: Platform, traced: Gateway, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting: list[Done] = []

    def take(records: Sequence[Record], done: Done, *, until: float) -> None:
        waiting.append(done)

    async with platform.sign_in(traced, ANN) as ann:
        monkeypatch.setattr(platform.backplane, "publish", take)
        await ann.send_text("a", BEN)
        await ann.send_text("a", BEN)
        await ann.send(change_frame("", marked=Marked(read_up_to=1)))
        await until(lambda: len(waiting) == 2)
        assert not {"session send", "session marked", "publish log"} & set(spans.names)
        for done in waiting:
            done(Unavailable("secret"))
        assert [(await ann.next()).WhichOneof("frame") for _ in range(3)] == ["refused"] * 3
    assert [outcome(span) for span in spans.named("session send")] == [(True, "unavailable")] * 2
    assert outcome(spans.one("session marked")) == (True, "unavailable")
    assert [outcome(span) for span in spans.named("publish log")] == [(True, "Unavailable")] * 2
    assert "secret" not in spans.exported()


async def test_a_retry_of_an_accepted_send_has_its_own_trace(platform: Platform, traced: Gateway, spans: Spans) -> None:
    async with platform.sign_in(traced, ANN) as ann:
        for _ in range(2):
            await ann.send_accepted("a", BEN)
    first, second = spans.named("session send")
    assert ids_of(first)[0] != ids_of(second)[0]
    assert attributes_of(first)["rookery.event_id"] == attributes_of(second)["rookery.event_id"]


async def test_a_connection_that_is_lost_during_a_frame_ends_its_span(
    platform: Platform, traced: Gateway, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_begun = trio.Event()

    async def never(_: object) -> None:
        has_begun.set()
        await trio.sleep_forever()

    async with platform.sign_in(traced, ANN) as ann:
        monkeypatch.setattr(platform.accounts, "users", never)
        await ann.send_text("a", BEN)
        await has_begun.wait()
    assert outcome(spans.one("session send")) == (True, "Cancelled")
    assert not spans.named("publish log")


async def test_a_frame_that_a_stopping_gateway_does_not_answer_ends_its_span(
    platform: Platform, traced: Gateway, spans: Spans
) -> None:
    async with platform.sign_in(traced, ANN) as ann:
        traced.publisher.is_closed = True
        await ann.send_text("a", BEN)
        await until(lambda: spans.named("session send"))
    assert spans.one("session send").status.status_code is StatusCode.UNSET


async def test_a_delivery_lasts_until_it_is_sent_and_fails_where_it_is_not(
    platform: Platform, traced: Gateway, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of Ben's sessions reads, one is too slow, one has ended, one is lost before its flush."""
    async with (
        platform.sign_in(traced, ANN) as ann,
        platform.sign_in(traced, BEN) as reading,
        platform.sign_in(traced, BEN),
        platform.sign_in(traced, BEN),
        platform.sign_in(traced, BEN),
    ):
        reader, slow, ended, lost = traced.registry.of(BEN)
        slow.dropped = 1
        ended.state = State.ENDED
        monkeypatch.setattr(lost, "on_change", lambda: None)
        await ann.send_text("a", BEN)
        await reading.until("event")
        await until(lambda: len(spans.named("session deliver")) == 3)
        assert [span.name for span in lost.deliveries if isinstance(span, ReadableSpan)] == ["session deliver"]
    results = {attributes_of(span)["session.id"]: outcome(span) for span in spans.named("session deliver")}
    assert results == {
        reader.session_id: (False, None),
        slow.session_id: (True, "dropped"),
        ended.session_id: (True, "ended"),
        lost.session_id: (True, "disconnected"),
    }
    (delivery,) = [span for span in spans.named("deliver log") if spans.below(span)]
    assert len(spans.below(delivery)) == 4


async def test_a_rebuild_of_a_tail_makes_no_delivery_spans(platform: Platform, traced: Gateway, spans: Spans) -> None:
    async with platform.sign_in(traced, ANN) as ann:
        await ann.send_accepted("a", BEN)
        await until(lambda: spans.named("deliver log"))
    await traced.log_consumer.leave()
    spans.clear()
    other = await platform.start_gateway(TRACED)
    async with platform.sign_in(other, BEN) as ben:
        assert (await ben.expect("event")).event.message.client_message_id == "a"
    assert not spans.names


async def test_authentication_is_not_traced(platform: Platform, traced: Gateway, spans: Spans) -> None:
    async with platform.sign_in(traced, ANN):
        pass
    assert not spans.named("session send")
    assert [name for name in spans.names if name.startswith("session")] == []
