"""What runs around the handlers of calls: logs, traces, tokens, bounds. Given to `serve_rpc`, the first one outermost.

What goes out with one's own calls is in `client/prepare.py`.
"""

import hmac
import logging
import math
from collections import Counter
from collections.abc import Callable, Iterator

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
    Status.DEADLINE_EXCEEDED: logging.INFO,  # how long is too long, the client says
}
"""What a call is logged at whose handler ended it so; all others for debugging. Of INTERNAL the cause is in the log
already; the rest is between the client and what it asked for."""

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
"""What OpenTelemetry's conventions for gRPC count as errors of a server's span."""

RETRY_AFTER = 1.0
"""Seconds after which a client that was refused for too many calls may come again."""

TRACE_HEADERS = ("traceparent", "tracestate")
"""The metadata of W3C Trace Context."""

_log = structlog.get_logger(__name__)


def except_standard(interceptor: Interceptor) -> Interceptor:
    """The interceptor for all services but health and reflection, which probes and tools call without a token, and
    which must answer while calls are refused."""

    async def intercept(stream: AnyServerStream, handler: Handler) -> None:
        if stream.method.split("/")[1] in STANDARD_SERVICES:
            await handler(stream)
        else:
            await interceptor(stream, handler)

    return intercept


async def count_calls(stream: AnyServerStream, handler: Handler) -> None:
    """Count how each call ended, by its method: those that no method takes never come here."""
    status = Status.OK
    try:
        await handler(stream)
    except BaseException as error:  # trio.Cancelled too: only to note the status; raised again
        status = _status_of(stream, error)
        raise
    finally:
        RPC_CALLS.inc(stream.method[1:], status.name)


async def log_calls(stream: AnyServerStream, handler: Handler) -> None:
    """Log how each call ended, at the level of `LEVELS`: for debugging, if the client has left. No metadata."""
    began = trio.current_time()
    status = Status.OK
    try:
        await handler(stream)
    except BaseException as error:  # trio.Cancelled too: only to note the status; raised again
        status = _status_of(stream, error)
        raise
    finally:
        level = LEVELS.get(status, logging.DEBUG) if stream.failure is None else logging.DEBUG
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
    """Make each call of a client that has sent a span (W3C Trace Context) one below that, and the current one.

    No trace begins here, so this is for those whose clients may say what is traced. Where no spans are made, or the
    client's is not traced, that is the current one nevertheless, so that `propagate_trace` hands it on.
    """
    headers = _trace_headers(stream.metadata)
    context = traces.sent_context(headers) if headers else None
    if context is None:
        await handler(stream)
        return
    span = traces.begin(stream.method[1:], trace.SpanKind.SERVER, _span_attributes(stream), below=context)
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


def authenticate(is_valid: Callable[[str], bool]) -> Interceptor:
    """Refuse calls without a valid bearer token in the metadata `authorization`, as UNAUTHENTICATED."""

    async def check(stream: AnyServerStream, handler: Handler) -> None:
        tokens = [value for name, value in stream.metadata if name == "authorization"]
        scheme, _, token = str(tokens[0]).partition(" ") if len(tokens) == 1 else ("", "", "")
        if scheme.lower() != "bearer" or not is_valid(token):
            raise RpcError(Status.UNAUTHENTICATED, "a valid bearer token must be in the metadata `authorization`")
        await handler(stream)

    return check


def equals(*secrets: str) -> Callable[[str], bool]:
    """Whether a token is one of the secrets, found out in a time that does not tell how much of it was right."""
    return lambda token: any([hmac.compare_digest(token.encode(), secret.encode()) for secret in secrets])


def limit_calls(
    *, total: float = math.inf, per_peer: float = math.inf, retry_after: float = RETRY_AFTER
) -> Interceptor:
    """Bound the calls under way, in all and of each client's address, as those who have it share it.

    One more is refused as RESOURCE_EXHAUSTED, to be tried again after `retry_after` seconds: what retries by itself
    goes by `grpc-retry-pushback-ms`, others by the RetryInfo.
    """
    everyone = "everyone"
    under_way: Counter[str] = Counter()
    refusal = Refusal(Code.RATE_LIMITED, "Too many calls are under way.", retry_after_ms=round(retry_after * 1000))

    async def limit(stream: AnyServerStream, handler: Handler) -> None:
        peer = stream.peer.rpartition(":")[0]
        if under_way[everyone] >= total or under_way[peer] >= per_peer:
            error = error_of(refusal)
            error.retry_after = retry_after
            raise error
        under_way.update((everyone, peer))
        try:
            await handler(stream)
        finally:
            under_way.subtract((everyone, peer))
            if not under_way[peer]:
                del under_way[peer]

    return limit


def _status_of(stream: AnyServerStream, failure: BaseException) -> Status:
    """What a call ends as whose handler has raised this."""
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
    """By OpenTelemetry's conventions for gRPC, as of 1.40."""
    address, _, port = stream.peer.rpartition(":")
    attributes: dict[str, str | int] = {"rpc.system.name": "grpc", "rpc.method": stream.method[1:]}
    if port.isdecimal():
        attributes |= {"network.peer.address": address, "network.peer.port": int(port)}
    return attributes


def _end_span(span: trace.Span, status: Status, *, is_error: bool) -> None:
    span.set_attribute("rpc.response.status_code", status.name)
    if is_error:
        traces.fail(span, status.name)
