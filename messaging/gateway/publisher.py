"""Publishes the events of commands: checks a request, takes an id, fans out, publishes, and answers.

A retried Send makes one message: its `SendKey` is looked up among the sends in flight and in the tail, and in
history if the first Send may be older than the tail.
"""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import trio

from messaging.envelopes import fan_out, fan_out_signal
from messaging.gateway import tracing
from messaging.gateway.lookups import Lookups
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.requests import SendRequest, TypingRequest
from messaging.gateway.session import RETRY_AFTER_MS, Command, Session
from messaging.gateway.tail import SendKey, Sent, Tail, content_hash
from rookery.v1.session_pb2 import Accepted, Event, Message, Typing
from shared.backplane import Backplane, Record
from shared.backplane.protocol import Done
from shared.backplane.publishing import publish
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import SnowflakeGenerator, time_of, wall_clock_ms
from shared.contract.partitions import partition_of
from shared.telemetry.metrics.catalogue import ACCEPT

MAX_UNCONFIRMED = 100_000
"""Sends remembered that the log did not acknowledge, and may have kept: about 20 MB."""

CLOCK_LEEWAY_MS = 5_000
"""How far in the future a receipt's message may seem to be, since gateways' clocks differ a little."""

RETRY_MARGIN_MS = 60_000
"""By so much the tail must reach back further than to a retry's first Send: the retry may have been on its way for as
long as its connection was not found dead, and clocks differ."""

_HELD_BACK = Refusal(
    Code.UNAVAILABLE, "An earlier message of this session was refused: send that one again first.", "", RETRY_AFTER_MS
)

_NOT_SERVED = Refusal(Code.UNAVAILABLE, "This gateway does not serve this user now.", "", RETRY_AFTER_MS)

_NOT_STORED = Refusal(Code.UNAVAILABLE, "The event could not be stored.", "", RETRY_AFTER_MS)


class _InFlight(NamedTuple):
    """A message on its way to the log, and the commands that its acknowledgement answers: the Send and its retries."""

    sent: Sent
    commands: list[Command]


class Publisher:
    """One for each gateway. Each handler returns a Refusal, or None if the command is deferred or stays unanswered."""

    def __init__(
        self, backplane: Backplane, lookups: Lookups, partitions: OwnedPartitions, ids: SnowflakeGenerator
    ) -> None:
        self._backplane = backplane
        self._lookups = lookups
        self._partitions = partitions
        self._ids = ids
        self._in_flight: dict[SendKey, _InFlight] = {}
        self._unconfirmed: dict[SendKey, Sent] = {}
        self._acknowledged = trio.lowlevel.ParkingLot()
        self.is_closed = False
        """Whether all further commands stay unanswered, since their sessions get Reconnect: the client retries."""

    async def wait_idle(self, partitions: Collection[int] | None = None) -> None:
        """Wait until no message is in flight, or none of the users of these partitions."""
        count = self._partitions.count
        while any(partitions is None or partition_of(key[0], count) in partitions for key in self._in_flight):
            await self._acknowledged.park()

    # ---- requests

    async def send(self, command: Command, request: SendRequest) -> Refusal | None:
        """Publish a message, unless it was sent before."""
        session = command.session
        recipient_id = request.members[request.members[0] == session.user_id]
        no_recipient: Refusal | None = None
        if not self._lookups.is_cached(recipient_id):
            no_recipient = await self._lookups.check_user(recipient_id, "send.recipient_id")
        if no_recipient is not None and no_recipient.code is not Code.RECIPIENT_DELETED:
            return no_recipient  # else it may be the retry of a message that was accepted before the deletion
        if request.reply_to and (
            refusal := await self._lookups.check_message(session.user_id, request.chat_id, request.reply_to)
        ):
            return refusal
        forgotten = await self._lookups.find_sent(session.user_id, request) if self._is_late(command, request) else None
        if isinstance(forgotten, Refusal):
            if request.first_sent_ms_ago is not None:
                return forgotten
            forgotten = None  # most likely it repeats nothing, and first sends do not depend on the archive
        message_id = self._ids.next_nowait() or await self._ids.next()
        # No `await` from here to the publish: a send is looked up and put in flight in one step.
        if self._is_leaving(session):
            return None
        tail = self._partitions.tail_of(session.user_id)
        if tail is None:
            return _NOT_SERVED
        if not session.may_send(request.client_message_id, command.received_at):
            return _HELD_BACK
        return self._send_once(command, request, tail, message_id, forgotten, no_recipient)

    def type(self, command: Command, request: TypingRequest) -> Refusal | None:
        """Publish that the user is typing, to the other members."""
        user_id = command.session.user_id
        event = Event(typing=Typing(chat_id=request.chat_id, user_id=user_id))
        others = [member for member in request.members if member != user_id]
        records = fan_out_signal(event, sender_id=user_id, recipient_ids=others, partitions=self._partitions.count)
        return self._publish_event(command, records, None)

    # ---- events

    def _newest_ms(self, user_id: int) -> int:
        """The latest time that an existing message's id may have: the clock's, or that of the newest message that this
        gateway has seen, if its clock has been set back since."""
        tail = self._partitions.tails.get(self._partitions.partition_of(user_id))
        seen_ms = time_of(tail.highest_event_id) if tail else 0
        return max(wall_clock_ms() + CLOCK_LEEWAY_MS, self._ids.last_ms, seen_ms)

    def _is_leaving(self, session: Session) -> bool:
        """Whether the session gets Reconnect within moments. Its commands stay unanswered: the client retries them
        where it connects next, as after any end of a session."""
        return self.is_closed or self._partitions.is_leaving(session.user_id)

    def _is_late(self, command: Command, request: SendRequest) -> bool:
        """Whether the message may have been sent before the tail begins, and is not in it."""
        session, ago_ms = command.session, request.first_sent_ms_ago
        if ago_ms == 0 or (ago_ms is None and not session.may_repeat(command.received_at)):
            return False
        key = (session.user_id, request.client_message_id)
        tail = self._partitions.tail_of(session.user_id)
        if tail is None or key in self._in_flight or tail.sent_with(key):
            return False
        return ago_ms is None or wall_clock_ms() - ago_ms - RETRY_MARGIN_MS < tail.complete_from_ms

    def _send_once(
        self,
        command: Command,
        request: SendRequest,
        tail: Tail,
        message_id: int,
        forgotten: Sent | None,
        no_recipient: Refusal | None,
    ) -> Refusal | None:
        """Publish the message as `message_id`, unless its key is in flight or in the tail, or `forgotten` is its first
        message, from before the tail: answer with the first. A first message gets `no_recipient`, if that is given."""
        key = (command.session.user_id, request.client_message_id)
        in_flight = self._in_flight.get(key)
        stored = tail.sent_with(key)
        first = in_flight.sent if in_flight else stored or forgotten or self._unconfirmed.get(key)
        if first is None and no_recipient is not None:
            return no_recipient
        sent = Sent(message_id, request.chat_id, content_hash(request.text, request.reply_to))
        if first is not None:
            if first[1:] != sent[1:]:
                what = "to another chat" if first.chat_id != sent.chat_id else "with another content"
                message = f"This `client_message_id` was used for a message {what}."
                return Refusal(Code.INVALID, message, "send.client_message_id")
            sent = first  # if unconfirmed, the log may keep it: under the same id, both are one message
        if in_flight:
            command.defer()
            in_flight.commands.append(command)
            return None
        records = self._message_records(command, request, sent.message_id, tail.fences.epoch)
        if stored is not None:
            records = records[1:]  # the gateway that accepted it may have died before it published the copies
        elif forgotten is not None:
            records = []  # by now its recipients have it from history, and no device shows it as new again
        self._unconfirmed.pop(key, None)
        if records:
            self._publish_message(command, request, tail, sent, records)
        else:
            command.defer()
            _answer(command, _accepted(request, sent.message_id))
        return None

    def _message_records(self, command: Command, request: SendRequest, message_id: int, epoch: int) -> list[Record]:
        session = command.session
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
            partitions=self._partitions.count,
            session_id=session.session_id,
            epoch=epoch,
        )

    def _publish_message(
        self, command: Command, request: SendRequest, tail: Tail, sent: Sent, records: Sequence[Record]
    ) -> None:
        """Publish a message's records; when they are acknowledged, answer the command and its retries."""
        key = (command.session.user_id, request.client_message_id)
        epoch = tail.fences.epoch
        self._in_flight[key] = _InFlight(sent, [command])

        def done(result: Sequence[int] | Exception) -> None:
            commands = self._in_flight.pop(key).commands
            self._acknowledged.unpark_all()
            answer: Refusal | Accepted
            if isinstance(result, Exception) or not self._partitions.holds(tail, epoch):
                self._remember_unconfirmed(key, sent)
                answer = _NOT_STORED
            else:
                tail.accept(key, sent)
                answer = _accepted(request, sent.message_id)
            for each in commands:
                _answer(each, answer)

        self._publish(command, records, done)

    def _publish_change(self, command: Command, event: Event, members: Sequence[int]) -> Refusal | None:
        user_id = command.session.user_id
        tail = self._partitions.tail_of(user_id)
        if tail is None:
            return None if self._is_leaving(command.session) else _NOT_SERVED
        epoch, count = tail.fences.epoch, self._partitions.count
        records = fan_out(event, sender_id=user_id, recipient_ids=members, partitions=count, epoch=epoch)
        return self._publish_event(command, records, tail)

    def _publish_event(self, command: Command, records: Sequence[Record], tail: Tail | None) -> Refusal | None:
        """Publish an event other than a message. It is its own answer, unless it could not be stored. `tail` is that of
        its record of truth; None if it has none."""
        if self._is_leaving(command.session):
            return None
        epoch = 0 if tail is None else tail.fences.epoch

        def done(result: Sequence[int] | Exception) -> None:
            counts = tail is None or self._partitions.holds(tail, epoch)
            _answer(command, _NOT_STORED if isinstance(result, Exception) or not counts else None)

        self._publish(command, records, done)
        return None

    def _publish(self, command: Command, records: Sequence[Record], done: Done) -> None:
        """Publish as a step of the command's trace, if it has one. `done` is called once, also if the log is full."""
        command.defer()
        try:
            publish(self._backplane, records, done, command.span, until=self._partitions.held_until)
        except Unavailable as error:
            done(error)

    def _remember_unconfirmed(self, key: SendKey, sent: Sent) -> None:
        if len(self._unconfirmed) >= MAX_UNCONFIRMED:
            del self._unconfirmed[next(iter(self._unconfirmed))]
        self._unconfirmed[key] = sent


def _accepted(request: SendRequest, message_id: int) -> Accepted:
    return Accepted(client_message_id=request.client_message_id, message_id=message_id, chat_id=request.chat_id)


def _answer(command: Command, answer: Refusal | Accepted | None) -> None:
    """Answer a deferred command; None: its event is its answer."""
    session = command.session
    session.unanswered -= 1
    if isinstance(answer, Accepted):
        ACCEPT.observe(trio.current_time() - command.received_at)
        session.accept(answer)
    elif answer is None:
        session.on_change()  # more may be read from the client now
    else:
        session.refuse(answer, command.frame, command.client_message_id)
    if command.span is not None:
        tracing.end_frame(command.span, answer)
