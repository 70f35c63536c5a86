"""The decision to trace is made once; spans find their parents; and no secret is exported."""

import pytest
import trio
import trio.testing
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, StatusCode

from shared.telemetry import traces
from tests.spans import Spans, attributes_of, ids_of

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def begin(name: str = "first") -> trace.Span:
    return traces.begin(name, SpanKind.SERVER, {})


def begin_below(context: Context | None) -> trace.Span:
    assert context is not None
    return traces.begin("here", SpanKind.SERVER, {}, below=context)


def test_nothing_is_traced_without_a_tracer() -> None:
    assert not traces.should_sample(1.0)
    assert not begin().is_recording()


def test_the_share_that_is_traced_is_the_ratio(spans: Spans) -> None:
    assert not any(traces.should_sample(0.0) for _ in range(1_000))
    assert all(traces.should_sample(1.0) for _ in range(1_000))
    sampled = sum(traces.should_sample(0.25) for _ in range(10_000))
    assert 2_000 < sampled < 3_000  # 11 standard deviations


async def test_steps_are_children_of_the_span_of_their_task(spans: Spans) -> None:
    first = begin()
    with traces.current(first):
        assert trace.get_current_span() is first
        with traces.child_spans(traces.current_spans(), "second", SpanKind.CLIENT, {"count": 2}) as (second,):
            assert traces.current_spans() == [second]
        assert traces.current_spans() == [first]
    assert not traces.current_spans()
    traces.end(first)
    assert [span.name for span in spans.below(spans.one("first"))] == ["second"]
    assert attributes_of(spans.one("second")) == {"count": 2}
    assert spans.one("second").kind is SpanKind.CLIENT


async def test_work_for_several_spans_is_a_step_of_each(spans: Spans) -> None:
    several = [begin(f"first of {number}") for number in range(3)]
    with traces.current(*several), traces.child_spans(traces.current_spans(), "all", SpanKind.CLIENT, {}):
        pass
    for span in several:
        span.end()
    for number in range(3):
        assert [span.name for span in spans.below(spans.one(f"first of {number}"))] == ["all"]
    assert len({ids_of(span)[0] for span in spans.named("all")}) == 3


async def test_a_task_that_outlives_its_span_is_no_step_of_it(spans: Spans) -> None:
    over = trio.Event()
    found: list[int] = []

    async def look() -> None:
        found.append(len(traces.current_spans()))
        await over.wait()
        found.append(len(traces.current_spans()))

    async with trio.open_nursery() as nursery:
        span = begin()
        with traces.current(span):
            nursery.start_soon(look)
        await trio.testing.wait_all_tasks_blocked()
        span.end()
        over.set()
    assert found == [1, 0]


async def test_a_span_whose_step_raises_fails_with_the_exception_type_and_no_text(spans: Spans) -> None:
    first = begin()
    with pytest.raises(ValueError, match="secret"), traces.child_spans([first], "second", SpanKind.CLIENT, {}):
        raise ValueError("secret")
    with trio.CancelScope() as scope, traces.child_spans([first], "third", SpanKind.CLIENT, {}):
        scope.cancel()
        await trio.sleep_forever()
    first.end()
    for name, error in (("second", "ValueError"), ("third", "Cancelled")):
        span = spans.one(name)
        assert span.status.status_code is StatusCode.ERROR
        assert attributes_of(span) == {"error.type": error}
        assert not span.events
    assert spans.one("first").status.status_code is StatusCode.UNSET
    assert "secret" not in spans.exported()


def test_a_span_is_continued_in_another_process(spans: Spans) -> None:
    first = begin()
    context = traces.sent_context({"traceparent": traces.traceparent_of(first)})
    assert context is not None
    traces.begin("elsewhere", SpanKind.CONSUMER, {}, below=context).end()
    first.end()
    assert spans.below(spans.one("first")) == [spans.one("elsewhere")]


@pytest.mark.parametrize(
    "header", ["", "00", f"00-{TRACE}-{PARENT}", f"00-{'0' * 32}-{PARENT}-01", "\ufffd", "x" * 9_999]
)
def test_an_invalid_traceparent_is_ignored(header: str) -> None:
    assert traces.sent_context({"traceparent": header}) is None


def test_an_unsampled_trace_is_not_recorded_here_and_stays_unsampled_elsewhere(spans: Spans) -> None:
    context = traces.sent_context({"traceparent": f"00-{TRACE}-{PARENT}-00"})
    span = begin_below(context)
    assert not span.is_recording()
    version, trace_id, _, flags = traces.traceparent_of(span).split("-")
    assert (version, trace_id, flags) == ("00", TRACE, "00")
    span.end()
    assert not spans.names
