"""The gateway's spans: a client's frame until it is answered, and each delivery until it is sent."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind

from messaging.envelopes import kind_name
from messaging.gateway.requests import FollowRequest, WatchRequest
from messaging.gateway.session import Command, Session, State
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.session_pb2 import Accepted, Authenticate, Renew
from shared.backplane import Destination, StoredRecord
from shared.backplane.tracing import consumed
from shared.contract.errors import Code, Refusal
from shared.telemetry import traces

SERVER_FAULTS = frozenset((Code.UNAVAILABLE, Code.INTERNAL))
"""Refusals that make a span a failed one; the others are the client's fault."""


@contextmanager
def frame(command: Command) -> Iterator[None]:
    """Begin a trace with a command's span. It ends with the block, or with the answer if that is deferred. Sign-in,
    watching and following are not traced."""
    request = command.request
    if isinstance(request, Authenticate | Renew | WatchRequest | FollowRequest):
        yield
        return
    attributes = {
        **_attributes(command.session),
        "rookery.frame": command.frame,
        "rookery.chat_id": request.chat_id,
    }
    span = command.span = traces.begin(request.span_name, SpanKind.SERVER, attributes)
    outcome: BaseException | None = None
    try:
        with traces.current(span):
            yield
    except BaseException as error:  # trio.Cancelled too: it is the span's outcome, and raised again
        outcome = error
        raise
    finally:
        if not command.is_deferred:
            traces.end(span, outcome)


def end_frame(span: Span, answer: Refusal | Accepted) -> None:
    """End the span of a deferred command that is answered now."""
    if isinstance(answer, Refusal):
        refused(span, answer)
    elif answer.event_id:
        span.set_attribute("rookery.event_id", str(answer.event_id))
    span.end()


def refused(span: Span, refusal: Refusal) -> None:
    """Record the refusal's code."""
    span.set_attribute("rookery.refusal", refusal.code)
    if refusal.code in SERVER_FAULTS:
        traces.fail(span, refusal.code)


def begin_delivery(destination: Destination, group: str, record: StoredRecord, envelope: Envelope) -> Span | None:
    """The span in which a record's event is delivered to sessions; None if it is not traced."""
    context = traces.sent_context({"traceparent": record.traceparent})
    if context is None:
        return None
    attributes = consumed(destination, group, record) | {
        "messaging.message.id": str(envelope.event.event_id),
        "rookery.event": kind_name(envelope.event),
        "rookery.recipients": len(envelope.recipient_ids),
    }
    return traces.begin(f"deliver {destination.name}", SpanKind.CONSUMER, attributes, below=context)


def queue_delivery(delivery: Span, session: Session) -> None:
    """Begin the span of an event that was just queued for the session, until it is sent; failed if it was dropped."""
    span = traces.begin("session deliver", SpanKind.INTERNAL, _attributes(session), below=delivery)
    if session.state is not State.LIVE:
        _end_failed(span, "ended")
    elif session.dropped:
        _end_failed(span, "dropped")
    else:
        session.deliveries.append(span)


def end_deliveries(session: Session) -> None:
    """End the spans of the queued events, which were all sent."""
    for span in session.deliveries:
        span.end()
    session.deliveries.clear()


def fail_deliveries(session: Session) -> None:
    """End the spans of the queued events, which will not be sent."""
    for span in session.deliveries:
        _end_failed(span, "disconnected")
    session.deliveries.clear()


def _attributes(session: Session) -> dict[str, str | int]:
    return {
        "session.id": session.session_id,
        "user.id": str(session.user_id),
        "rookery.transport": session.transport,
    }


def _end_failed(span: Span, error: str) -> None:
    traces.fail(span, error)
    span.end()
