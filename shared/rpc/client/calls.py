"""Calls over a channel: their deadlines, attempts and retries."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, TypeVar, cast

import trio
from google.protobuf.message import Message
from opentelemetry.trace import SpanKind

from shared.rpc.client.channel import Channel
from shared.rpc.client.connection import AnyClientStream
from shared.rpc.client.retries import RETRYABLE, Retries
from shared.rpc.protocol import OutgoingCall
from shared.rpc.status import Metadata, RpcError, Status
from shared.telemetry import traces

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


async def call_unary(
    method: Callable[[Request], Awaitable[Response]],
    request: Request,
    *,
    timeout: float,  # noqa: ASYNC109 - it is sent to the server too
    metadata: Metadata = (),
    attempts: int = 1,
    attempt_timeout: float | None = None,
    retry_on: Collection[Status] = RETRYABLE,
    wait_for_ready: bool = False,
) -> Response:
    """Call a stub's unary method, such as `ArchiveServiceStub(channel).GetChat`, and return its response.

    `timeout`, in seconds, covers the wait for a server, all attempts and the pauses between them. Raises RpcError with
    DEADLINE_EXCEEDED after it, UNAVAILABLE if no server can be reached, else the server's status. With
    `wait_for_ready`, an unreachable server is waited for.

    With more than one of `attempts`, which the method must allow to be repeated, a call that ends with a status of
    `retry_on` is retried: after the server's pause, else a random one (`backoff.py`), unless the deadline would pass
    first or too many of the channel's calls fail (`retries.py`). `attempt_timeout`, in seconds, bounds each attempt
    but the last while more than one server is ready, so that another may respond while one hangs: the only one would
    only begin the same work anew. An unprocessed call is always retried once, at once.
    """
    channel, call = _call(method, trio.current_time() + timeout, metadata)
    with _client_span(call) if traces.current_spans() else nullcontext():
        answer = await _try(channel, call, request, attempts, attempt_timeout, retry_on, wait_for_ready)
    return cast(Response, answer)


async def _try(
    channel: Channel,
    call: OutgoingCall,
    request: Message,
    attempts: int,
    attempt_timeout: float | None,
    retry_on: Collection[Status],
    wait_for_ready: bool,
) -> Message:
    """Repeat the call until it has its response, or an error that is not retried."""
    retries = Retries(attempts, retry_on, channel.throttle)
    while True:
        deadline = call.deadline
        if attempt_timeout is not None and retries.has_more and channel.servers_ready > 1:
            deadline = min(deadline, trio.current_time() + attempt_timeout)
        try:
            response = await _attempt(channel, replace(call, deadline=deadline), request, wait_for_ready)
        except RpcError as error:
            pause = retries.pause_after(error, cut_short=deadline < call.deadline)
            if pause is None or trio.current_time() + pause >= call.deadline:
                raise
        else:
            retries.succeeded()
            return response
        channel.counters.retries += 1
        await trio.sleep(pause)


def open_stream(
    method: Callable[..., Any],
    *,
    timeout: float | None = None,
    metadata: Metadata = (),
    compressed: bool = False,
    wait_for_ready: bool = False,
) -> AbstractAsyncContextManager[AnyClientStream]:
    """Begin a call of a stub's method, such as `SessionServiceStub(channel).Connect`. The end of the block ends it.

    `timeout`, in seconds, is sent to the server and covers the wait for one; after it the block raises
    DEADLINE_EXCEEDED. Raises RpcError with UNAVAILABLE if no server can be reached, unless `wait_for_ready` is set.
    With `compressed`, sent messages are gzip; received ones may be in any case.

    The call is never retried, since sent messages are not stored. If it ends with an `unprocessed` error, no handler
    has seen it, and its caller may safely repeat it.
    """
    deadline = math.inf if timeout is None else trio.current_time() + timeout
    channel, call = _call(method, deadline, metadata, compressed=compressed)
    return _begin(channel, call, wait_for_ready)


@contextmanager
def _client_span(call: OutgoingCall) -> Iterator[None]:
    """Record the call with all its attempts as one span, by OpenTelemetry's conventions for gRPC."""
    method = f"{call.service}/{call.method}"
    attributes = {"rpc.system.name": "grpc", "rpc.method": method}
    span = traces.begin(method, SpanKind.CLIENT, attributes, below=traces.current_spans()[0])
    status = Status.OK
    try:
        with traces.current(span):
            yield
    except BaseException as error:  # trio.Cancelled too: the span records the outcome, and it is raised again
        status = error.status if isinstance(error, RpcError) else Status.CANCELLED
        traces.fail(span, status.name)
        raise
    finally:
        span.set_attribute("rpc.response.status_code", status.name)
        span.end()


async def _attempt(channel: Channel, call: OutgoingCall, request: Message, wait_for_ready: bool) -> Message:
    async with _begin(channel, call, wait_for_ready) as stream:
        await stream.send(request)
        await stream.end()
        response = await stream.receive()
        if response is None or await stream.receive() is not None:
            raise RpcError(Status.UNIMPLEMENTED, "the server did not respond with exactly one message")
        return cast(Message, response)


@asynccontextmanager
async def _begin(channel: Channel, call: OutgoingCall, wait_for_ready: bool) -> AsyncIterator[AnyClientStream]:
    """Begin a call, count it, and end it with the block."""
    began = trio.current_time()
    channel.counters.begun += 1
    outcome = Status.CANCELLED
    stream: AnyClientStream | None = None
    try:
        with trio.CancelScope(deadline=call.deadline) as scope:
            stream = await channel.start_call(call, wait_for_ready=wait_for_ready)
            try:
                yield stream
            finally:
                outcome = outcome if stream.outcome is None else stream.outcome
                stream.close()
        if scope.cancelled_caught:
            if stream is not None:
                stream.probe_server(silent_since=began)
            raise RpcError(Status.DEADLINE_EXCEEDED, f"no response within {call.deadline - began:.3g} s")
    except RpcError as error:
        outcome = error.status
        raise
    finally:
        channel.counters.ended[outcome] += 1


def _call(
    method: Callable[..., Any], deadline: float, metadata: Metadata, *, compressed: bool = False
) -> tuple[Channel, OutgoingCall]:
    """Return the channel of a stub's method, and a call of the method."""
    invoke = cast(Any, method)._stream_fn  # purerpc's stub method is a partial of its Client's method
    name, _, response_type = invoke.args
    client = invoke.func.__self__
    return client.channel, OutgoingCall(client.service_name, name, response_type, deadline, metadata, compressed)
