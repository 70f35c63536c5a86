"""What traces tell of a gateway: a client's frame until it is answered, and each delivery until it is sent."""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry.trace import Span, SpanKind

from messaging.gateway.requests import ReactRequest, ReceiptRequest, Request, SendRequest, TypingRequest
from messaging.gateway.session import Session, State
from rookery.v1.backplane_pb2 import Envelope
from shared.backplane import Destination, StoredRecord
from shared.backplane.tracing import consumed
from shared.contract.errors import Code, Refusal
from shared.telemetry import traces

NAMES: dict[type[Request], str] = {
    SendRequest: "session send",
    ReactRequest: "session react",
    ReceiptRequest: "session receipt",
    TypingRequest: "session typing",
}
"""Of the first span of a trace, by what the client asks."""

OUR_FAULTS = frozenset((Code.UNAVAILABLE, Code.INTERNAL))
"""Refusals that make a span one that failed; others are between the client and what it asked for."""


@contextmanager
def frame(session: Session, request: Request) -> Iterator[None]:
    """A trace begins with what the client asks. It ends with the block, or by whoever has taken the session's span."""
    attributes = {**_attributes(session), "rookery.frame": session.frames_received, "rookery.chat_id": request.chat_id}
    span = session.span = traces.begin(NAMES[type(request)], SpanKind.SERVER, attributes)
    outcome: BaseException | None = None
    try:
        with traces.current(span):
            yield
    except BaseException as error:
        outcome = error
        raise
    finally:
        if session.take_span() is not None:
            traces.end(span, outcome)


def answered(span: Span, answer: Refusal | int) -> None:
    """The client has its answer: a refusal, or the message's id (0 if it is told of none)."""
    if isinstance(answer, Refusal):
        refused(span, answer)
    elif answer:
        span.set_attribute("rookery.message_id", str(answer))
    span.end()


def refused(span: Span, refusal: Refusal) -> None:
    """Say by which code."""
    span.set_attribute("rookery.refusal", refusal.code)
    if refusal.code in OUR_FAULTS:
        traces.fail(span, refusal.code)


def begin_delivery(destination: Destination, group: str, record: StoredRecord, envelope: Envelope) -> Span | None:
    """The step in which a record's event goes to those who are here; None if it is not traced."""
    context = traces.sent_context({"traceparent": record.traceparent})
    if context is None:
        return None
    attributes = consumed(destination, group, record) | {
        "messaging.message.id": str(envelope.event.event_id),
        "rookery.event": envelope.event.WhichOneof("event") or "",
        "rookery.recipients": len(envelope.recipient_ids),
    }
    return traces.begin(f"deliver {destination.name}", SpanKind.CONSUMER, attributes, below=context)


def hand_over(delivery: Span, session: Session) -> None:
    """The session was given the event just now: its step lasts until that is sent, unless it was dropped."""
    span = traces.begin("session deliver", SpanKind.INTERNAL, _attributes(session), below=delivery)
    if session.state is not State.LIVE:
        _end_failed(span, "ended")
    elif session.dropped:
        _end_failed(span, "dropped")
    else:
        session.deliveries.append(span)


def sent(session: Session) -> None:
    """All that waited was given to the client's connection."""
    for span in session.deliveries:
        span.end()
    session.deliveries.clear()


def lost(session: Session) -> None:
    """What waited will not be sent."""
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
