"""Takes messages: gives each an id, publishes it, and answers when it is on disk. A retried send makes one message."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import trio
from opentelemetry.trace import Span

from messaging.envelopes import fan_out
from messaging.gateway import tracing
from messaging.gateway.requests import SendRequest
from messaging.gateway.session import Session
from messaging.gateway.tail import Tail
from rookery.v1.session_pb2 import Event, Message
from shared.backplane import Backplane, Record
from shared.backplane.tracing import publish
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.partitions import partition_of
from shared.telemetry.metrics.catalogue import ACCEPT

RETRY_AFTER_MS = 1_000
"""What a client is told when the log does not take its message."""

MAX_DOUBTFUL = 100_000
"""Messages remembered that the log did not acknowledge, and may have kept: about 20 MB."""

Sent = tuple[int, str]
"""A user and the client_message_id under which they sent: what a message is the same by."""


class _Waiter(NamedTuple):
    session: Session
    frame: int
    arrived_at: float
    span: Span | None


class _UnderWay(NamedTuple):
    chat_id: str
    waiters: list[_Waiter]


class Publisher:
    """One for each gateway."""

    def __init__(self, backplane: Backplane) -> None:
        self._backplane = backplane
        self._under_way: dict[Sent, _UnderWay] = {}
        self._doubtful: dict[Sent, tuple[int, str]] = {}
        self._answered = trio.lowlevel.ParkingLot()

    async def wait_idle(self, partitions: Collection[int] | None = None) -> None:
        """Wait until no message is on its way to the disk, or none of the users of these partitions."""
        while any(partitions is None or self._partition_of(sent) in partitions for sent in self._under_way):
            await self._answered.park()

    def _partition_of(self, sent: Sent) -> int:
        return partition_of(sent[0], self._backplane.partitions)

    def send(self, session: Session, frame: int, request: SendRequest, tail: Tail, message_id: int) -> None:
        """Publish the message as `message_id`, unless it was sent before, and answer once it is on disk."""
        sent = (session.user_id, request.client_message_id)
        waiter = _Waiter(session, frame, session.received_at, session.take_span())
        session.unanswered += 1
        under_way = self._under_way.get(sent)
        known = (0, under_way.chat_id) if under_way else tail.message_of(sent)
        doubtful = self._doubtful.pop(sent, None)
        if known is None and doubtful is not None and doubtful[1] == request.chat_id:
            # It may be in the log after all: under the same id, both are one message.
            message_id = doubtful[0]
        if known is None:
            self._publish(sent, waiter, request, tail, message_id, self._records(session, request, message_id))
        elif known[1] != request.chat_id:
            message = "This `client_message_id` was used for a message to another chat."
            _refuse(waiter, sent, Refusal(Code.INVALID, message, "send.client_message_id"))
        elif under_way:
            under_way.waiters.append(waiter)
        elif others := self._records(session, request, known[0])[1:]:
            # The gateway that took it may have died before the copies were written.
            self._publish(sent, waiter, request, tail, known[0], others)
        else:
            _accept(waiter, request, known[0])

    def _records(self, session: Session, request: SendRequest, message_id: int) -> list[Record]:
        message = Message(
            message_id=message_id,
            chat_id=request.chat_id,
            sender_id=session.user_id,
            client_message_id=request.client_message_id,
            text=request.text,
            reply_to=request.reply_to,
        )
        return fan_out(
            Event(event_id=message_id, message=message),
            sender_id=session.user_id,
            recipient_ids=request.members,
            partitions=self._backplane.partitions,
            session_id=session.session_id,
        )

    def _publish(
        self,
        sent: Sent,
        waiter: _Waiter,
        request: SendRequest,
        tail: Tail,
        message_id: int,
        records: Sequence[Record],
    ) -> None:
        def done(result: Sequence[int] | Exception) -> None:
            waiters = self._under_way.pop(sent).waiters
            self._answered.unpark_all()
            if isinstance(result, Exception):
                self._doubt(sent, message_id, request.chat_id)
                refusal = Refusal(Code.UNAVAILABLE, "The message could not be stored.", "", RETRY_AFTER_MS)
                for each in waiters:
                    _refuse(each, sent, refusal)
                return
            tail.accept(sent, message_id, request.chat_id)
            for each in waiters:
                _accept(each, request, message_id)

        self._under_way[sent] = _UnderWay(request.chat_id, [waiter])
        try:
            publish(self._backplane, records, done, waiter.span)
        except Unavailable as error:
            done(error)

    def _doubt(self, sent: Sent, message_id: int, chat_id: str) -> None:
        if len(self._doubtful) >= MAX_DOUBTFUL:
            del self._doubtful[next(iter(self._doubtful))]
        self._doubtful[sent] = message_id, chat_id


def _accept(waiter: _Waiter, request: SendRequest, message_id: int) -> None:
    waiter.session.unanswered -= 1
    ACCEPT.observe(trio.current_time() - waiter.arrived_at)
    waiter.session.accept(request.client_message_id, message_id, request.chat_id)
    if waiter.span is not None:
        tracing.answered(waiter.span, message_id)


def _refuse(waiter: _Waiter, sent: Sent, refusal: Refusal) -> None:
    waiter.session.unanswered -= 1
    waiter.session.refuse(refusal, waiter.frame, sent[1])
    if waiter.span is not None:
        tracing.answered(waiter.span, refusal)
