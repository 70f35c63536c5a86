"""Each call is a child span of its client's span, from hop to hop, if spans are recorded."""

from collections.abc import Awaitable, Callable

import pytest
from opentelemetry import trace
from opentelemetry.trace import SpanKind, StatusCode

from rookery.v1.archive_pb2 import GetChatRequest, GetChatResponse
from shared.rpc import Metadata, RpcError, Status
from shared.rpc.client.prepare import propagate_trace
from shared.rpc.server.interceptors import trace_calls
from shared.telemetry import traces
from tests.shared.rpc.calling import failing, get_chat
from tests.shared.rpc.conftest import make_services, open_client
from tests.spans import Spans, attributes_of, ids_of

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED: Metadata = [("traceparent", f"00-{TRACE}-{PARENT}-01")]
UNSAMPLED: Metadata = [("traceparent", f"00-{TRACE}-{PARENT}-00")]


class CurrentSpans:
    """A GetChat that records the current span of each call."""

    def __init__(self, and_then: Callable[[], Awaitable[object]] | None = None) -> None:
        self.contexts: list[trace.SpanContext] = []
        self._and_then = and_then

    async def __call__(self, _: GetChatRequest) -> GetChatResponse:
        self.contexts.append(trace.get_current_span().get_span_context())
        if self._and_then is not None:
            await self._and_then()
        return GetChatResponse()


async def span_in_handler(metadata: Metadata) -> trace.SpanContext:
    """Make a call with the metadata; return the current span of its handler."""
    current = CurrentSpans()
    async with open_client(make_services(get_chat=current), trace_calls, prepare=[propagate_trace]) as channel:
        await get_chat(channel, metadata=metadata)
    (context,) = current.contexts
    return context


async def test_a_call_is_a_span_by_the_conventions_for_grpc(spans: Spans) -> None:
    async with open_client(make_services(), trace_calls) as channel:
        await get_chat(channel, metadata=SAMPLED)
    [span] = spans
    assert span.name == "rookery.v1.ArchiveService/GetChat"
    assert span.kind is SpanKind.SERVER
    attributes = attributes_of(span)
    assert isinstance(attributes.pop("network.peer.port"), int)
    assert attributes == {
        "rpc.system.name": "grpc",
        "rpc.method": "rookery.v1.ArchiveService/GetChat",
        "rpc.response.status_code": "OK",
        "network.peer.address": "127.0.0.1",
    }
    assert span.status.status_code is StatusCode.UNSET


@pytest.mark.parametrize(
    ("error", "status", "is_error"),
    [
        (ValueError("secret"), "INTERNAL", True),
        (RpcError(Status.UNAVAILABLE, "secret"), "UNAVAILABLE", True),
        (RpcError(Status.NOT_FOUND, "secret"), "NOT_FOUND", False),
    ],
)
async def test_a_span_records_the_status_of_a_failed_call_and_no_text(
    spans: Spans, error: Exception, status: str, *, is_error: bool
) -> None:
    async with open_client(make_services(get_chat=failing(error)), trace_calls) as channel:
        with pytest.raises(RpcError):
            await get_chat(channel, metadata=SAMPLED)
    [span] = spans
    attributes = span.attributes or {}
    assert attributes["rpc.response.status_code"] == status
    assert attributes.get("error.type") == (status if is_error else None)
    assert (span.status.status_code is StatusCode.ERROR) == is_error
    assert not span.events
    assert "secret" not in span.to_json()


async def test_the_span_is_below_the_clients_and_the_handler_is_in_it(spans: Spans) -> None:
    current = await span_in_handler([*SAMPLED, ("tracestate", "vendor=1")])
    [span] = spans
    assert span.parent is not None
    assert ids_of(span)[0] == TRACE
    assert trace.format_span_id(span.parent.span_id) == PARENT
    assert span.context is not None
    assert span.context.trace_state.get("vendor") == "1"
    assert current == span.context


async def test_a_client_that_does_not_sample_is_not_recorded_but_propagated(spans: Spans) -> None:
    context = await span_in_handler(UNSAMPLED)
    assert not spans.names
    assert trace.format_trace_id(context.trace_id) == TRACE
    assert not context.trace_flags.sampled


async def test_no_trace_begins_with_a_call(spans: Spans) -> None:
    assert not (await span_in_handler([])).is_valid
    assert not spans.names


async def test_a_trace_goes_from_hop_to_hop(spans: Spans) -> None:
    async with open_client(make_services(), trace_calls, prepare=[propagate_trace]) as behind:
        through = CurrentSpans(and_then=lambda: get_chat(behind))
        async with open_client(make_services(get_chat=through), trace_calls) as front:
            await get_chat(front, metadata=SAMPLED)
    inner, between, outer = spans
    assert {ids_of(span)[0] for span in spans} == {TRACE}
    assert spans.below(outer) == [between]
    assert spans.below(between) == [inner]
    assert (inner.kind, between.kind, outer.kind) == (SpanKind.SERVER, SpanKind.CLIENT, SpanKind.SERVER)
    assert between.name == inner.name
    assert attributes_of(between) == {
        "rpc.system.name": "grpc",
        "rpc.method": "rookery.v1.ArchiveService/GetChat",
        "rpc.response.status_code": "OK",
    }


@pytest.mark.parametrize("status", [Status.NOT_FOUND, Status.UNAVAILABLE])
async def test_a_call_without_a_response_has_failed_for_its_client(spans: Spans, status: Status) -> None:
    services = make_services(get_chat=failing(RpcError(status, "secret")))
    async with open_client(services) as channel:
        first = traces.begin("first", SpanKind.SERVER, {})
        with traces.current(first), pytest.raises(RpcError):
            await get_chat(channel)
        first.end()
    (span,) = spans.below(spans.one("first"))
    assert span.status.status_code is StatusCode.ERROR
    assert attributes_of(span)["error.type"] == attributes_of(span)["rpc.response.status_code"] == status.name
    assert "secret" not in spans.exported()


@pytest.mark.parametrize("metadata", [SAMPLED, UNSAMPLED])
async def test_without_a_recorder_the_clients_span_is_propagated(metadata: Metadata) -> None:
    last = CurrentSpans()
    async with open_client(make_services(get_chat=last), trace_calls, prepare=[propagate_trace]) as behind:
        through = CurrentSpans(and_then=lambda: get_chat(behind))
        async with open_client(make_services(get_chat=through), trace_calls) as front:
            await get_chat(front, metadata=metadata)
    [context] = last.contexts
    assert (trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id)) == (TRACE, PARENT)
    assert context.trace_flags.sampled == (metadata == SAMPLED)


@pytest.mark.parametrize("header", ["", "00-zz", f"00-{'0' * 32}-{PARENT}-01", f"ff-{TRACE}-{PARENT}-01", "x" * 4000])
async def test_an_invalid_traceparent_is_ignored(header: str) -> None:
    assert not (await span_in_handler([("traceparent", header)])).is_valid
