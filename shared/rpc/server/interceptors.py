"""Interceptors for `serve_rpc`: logs, metrics, traces, tokens, limits. The first one is outermost.

The counterparts for our own calls are in `client/prepare.py`.
"""

import hmac
import logging
from collections.abc import Callable, Collection, Iterator

import structlog
import trio
from opentelemetry import trace

from shared.contract.errors import Code, Refusal
from shared.rpc.refusals import error_of
from shared.rpc.server.methods import AnyServerStream, Handler, Interceptor
from shared.rpc.server.standard_services import STANDARD_SERVICES
from shared.rpc.status import Metadata, RpcError, Status
from shared.telemetry import traces
from shared.telemetry.metrics.catalogue import RPC_CALLS

LEVELS = {
    Status.UNKNOWN: logging.WARNING,
    Status.UNAVAILABLE: logging.WARNING,
    Status.DATA_LOSS: logging.WARNING,
    Status.DEADLINE_EXCEEDED: logging.INFO,  # the client sets the deadline
}
"""The log level of a call of an authenticated client, by the status with which its handler ended it; DEBUG for any
other. The cause of INTERNAL is logged already; the other statuses are errors of the client."""

SPAN_ERRORS = frozenset(
    (
        Status.UNKNOWN,
        Status.DEADLINE_EXCEEDED,
        Status.UNIMPLEMENTED,
        Status.INTERNAL,
        Status.UNAVAILABLE,
        Status.DATA_LOSS,
    )
)
"""The statuses that OpenTelemetry's conventions for gRPC treat as errors of a server's span."""

RETRY_AFTER = 1.0
"""Seconds after which a call that was refused by `limit_calls` may be retried."""

MAX_STRANGERS = 1_000
"""Concurrent calls without a sign-in, some 10 KiB each: more than the probes and balancers of one server need."""

MAX_REFLECTIONS = 32
"""Concurrent calls to reflection without a sign-in, which tools make, one after the other: each response is large."""

TRACE_HEADERS = ("traceparent", "tracestate")
"""The metadata of W3C Trace Context."""

_log = structlog.get_logger(__name__)


def except_standard(interceptor: Interceptor) -> Interceptor:
    """Apply the interceptor to all services except health and reflection, which probes and tools call without a token,
    and which must respond while other calls are refused."""

    async def intercept(stream: AnyServerStream, handler: Handler) -> None:
        if _service_of(stream) in STANDARD_SERVICES:
            await handler(stream)
        else:
            await interceptor(stream, handler)

    return intercept


async def count_calls(stream: AnyServerStream, handler: Handler) -> None:
    """Count ended calls by method and status. Calls of unknown methods do not reach interceptors."""
    status = Status.OK
    try:
        await handler(stream)
    except BaseException as error:  # trio.Cancelled too: only to note the status; raised again
        status = _status_of(stream, error)
        raise
    finally:
        RPC_CALLS.inc(stream.method[1:], status.name)


async def log_calls(stream: AnyServerStream, handler: Handler) -> None:
    """Log the end of each call at its level of `LEVELS`, or DEBUG if the client has left, or if neither the call nor,
    at its end, its connection is authenticated: strangers may make calls that fail at any rate. Logs no metadata."""
    began = trio.current_time()
    status = Status.OK
    try:
        await handler(stream)
    except BaseException as error:  # trio.Cancelled too: only to note the status; raised again
        status = _status_of(stream, error)
        raise
    finally:
        level = logging.DEBUG
        if stream.failure is None and (stream.is_authenticated or stream.authenticated_by_call):
            level = LEVELS.get(status, logging.DEBUG)
        milliseconds = round((trio.current_time() - began) * 1000, 1)
        _log.log(
            level,
            "rpc_call_ended",
            method=stream.method,
            peer=stream.peer,
            status=status.name,
            milliseconds=milliseconds,
        )


async def trace_calls(stream: AnyServerStream, handler: Handler) -> None:
    """Record each call whose client has sent a span (W3C Trace Context) as a child of that span, and make it current.

    No trace begins here: use it where clients may decide what is traced. If no spans are recorded, or the client's is
    not sampled, the client's span becomes current, so that `propagate_trace` sends it on.
    """
    headers = _trace_headers(stream.metadata)
    context = traces.sent_context(headers) if headers else None
    if context is None:
        await handler(stream)
        return
    span = traces.begin(stream.method[1:], trace.SpanKind.SERVER, _span_attributes(stream), below=context)
    await _run_traced(span, stream, handler)


def sample_calls(ratio: Callable[[], float]) -> Interceptor:
    """Record this share of the calls, each as a trace of its own. A span that the client has sent is linked only: use
    it where clients may not decide what is traced."""

    async def sample(stream: AnyServerStream, handler: Handler) -> None:
        if not traces.should_sample(ratio()):
            await handler(stream)
            return
        context = traces.sent_context(_trace_headers(stream.metadata))
        links = [] if context is None else [trace.Link(trace.get_current_span(context).get_span_context())]
        span = traces.begin(stream.method[1:], trace.SpanKind.SERVER, _span_attributes(stream), links=links)
        await _run_traced(span, stream, handler)

    return sample


def authenticate(is_valid: Callable[[str], bool], *, optional_for: Collection[str] = ()) -> Interceptor:
    """Refuse calls without a valid bearer token in the metadata `authorization` with UNAUTHENTICATED, except calls to
    the services `optional_for`. A valid token authenticates the connection of the call too."""

    async def check(stream: AnyServerStream, handler: Handler) -> None:
        token = bearer_token(stream.metadata)
        if token and is_valid(token):
            stream.authenticate()
        elif _service_of(stream) not in optional_for:
            raise RpcError(Status.UNAUTHENTICATED, "a valid bearer token must be in the metadata `authorization`")
        await handler(stream)

    return check


def bearer_token(metadata: Metadata) -> str:
    """Return the token of the only `authorization: Bearer <token>`; empty if there is none, or more than one."""
    values = [str(value) for name, value in metadata if name == "authorization"]
    scheme, _, token = values[0].partition(" ") if len(values) == 1 else ("", "", "")
    return token if scheme.lower() == "bearer" else ""


def equals(*secrets: str) -> Callable[[str], bool]:
    """Return a predicate for tokens that equal one of the secrets, compared in constant time."""
    return lambda token: any([hmac.compare_digest(token.encode(), secret.encode()) for secret in secrets])


def limit_calls(total: int) -> Interceptor:
    """Bound the concurrent calls.

    A call over the bound gets RESOURCE_EXHAUSTED, to be retried after RETRY_AFTER seconds. gRPC's own retries read
    `grpc-retry-pushback-ms`, other clients the RetryInfo.
    """
    under_way = 0
    refusal = Refusal(Code.RATE_LIMITED, "Too many calls are under way.", retry_after_ms=round(RETRY_AFTER * 1000))

    async def limit(stream: AnyServerStream, handler: Handler) -> None:
        nonlocal under_way
        if under_way >= total:
            error = error_of(refusal)
            error.retry_after = RETRY_AFTER
            raise error
        under_way += 1
        try:
            await handler(stream)
        finally:
            under_way -= 1

    return limit


def bound_strangers(most: int = MAX_STRANGERS, services: Collection[str] = STANDARD_SERVICES) -> Interceptor:
    """Bound the concurrent calls to these services on connections that are not authenticated: watches of health and
    reflections may last for ever. One more ends the oldest with UNAVAILABLE, so that its client calls again."""
    strangers: dict[trio.CancelScope, AnyServerStream] = {}

    async def bound(stream: AnyServerStream, handler: Handler) -> None:
        if stream.is_authenticated or _service_of(stream) not in services:
            await handler(stream)
            return
        while len(strangers) >= most:
            oldest = next(iter(strangers))
            if not strangers.pop(oldest).is_authenticated:
                oldest.cancel()
        scope = trio.CancelScope()
        strangers[scope] = stream
        try:
            with scope:
                await handler(stream)
        finally:
            strangers.pop(scope, None)
        if scope.cancelled_caught:
            raise RpcError(Status.UNAVAILABLE, "too many calls of clients that have not signed in: call again")

    return bound


def _status_of(stream: AnyServerStream, failure: BaseException) -> Status:
    """Return the status of a call whose handler has raised this exception."""
    leaves = list(_leaves(failure))
    if not all(isinstance(leaf, RpcError | trio.Cancelled) for leaf in leaves):
        return Status.INTERNAL
    for leaf in leaves:
        if isinstance(leaf, RpcError):
            return leaf.status
    if stream.failure is not None:
        return stream.failure.status
    return Status.DEADLINE_EXCEEDED if trio.current_time() >= stream.deadline else Status.CANCELLED


def _leaves(failure: BaseException) -> Iterator[BaseException]:
    if isinstance(failure, BaseExceptionGroup):
        for each in failure.exceptions:
            yield from _leaves(each)
    else:
        yield failure


def _trace_headers(metadata: Metadata) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for name, value in metadata:
        if name in TRACE_HEADERS:
            headers.setdefault(name, []).append(str(value))
    return headers


def _span_attributes(stream: AnyServerStream) -> dict[str, str | int]:
    """Return a span's attributes by OpenTelemetry's conventions for gRPC, version 1.40."""
    address, _, port = stream.peer.rpartition(":")
    attributes: dict[str, str | int] = {"rpc.system.name": "grpc", "rpc.method": stream.method[1:]}
    if port.isdecimal():
        attributes |= {"network.peer.address": address, "network.peer.port": int(port)}
    return attributes


def _end_span(span: trace.Span, status: Status, *, is_error: bool) -> None:
    span.set_attribute("rpc.response.status_code", status.name)
    if is_error:
        traces.fail(span, status.name)


def _service_of(stream: AnyServerStream) -> str:
    return stream.method.split("/")[1]


async def _run_traced(span: trace.Span, stream: AnyServerStream, handler: Handler) -> None:
    """Handle the call in the span, and end it with the status of the call."""
    status = Status.OK
    with traces.current(span):
        try:
            await handler(stream)
        except BaseException as error:  # trio.Cancelled too: only to note the status; raised again
            status = _status_of(stream, error)
            raise
        finally:
            if span.is_recording():
                _end_span(span, status, is_error=status in SPAN_ERRORS and stream.failure is None)
            span.end()
