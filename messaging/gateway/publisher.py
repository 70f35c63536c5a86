"""Publishes the events of commands: checks a request, takes an id, fans out, publishes, and answers.

A retry of a message or of a change makes no second event: its `SendKey` is looked up among those in flight and in the
tail, and in history if it may have been sent before the tail begins.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import trio

from messaging.envelopes import by_partition, fan_out, fan_out_to
from messaging.gateway import tracing
from messaging.gateway.access import ROSTER_DROPPED, Access
from messaging.gateway.files import FileLookups
from messaging.gateway.lookups import Lookups
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.requests import ChangeRequest, KeptRequest, SendRequest, TypingRequest
from messaging.gateway.rosters import Rosters
from messaging.gateway.sent import SendKey, Sent
from messaging.gateway.session import RETRY_AFTER_MS, UNAVAILABLE_NOW, Command, Session
from messaging.gateway.tail import Tail
from messaging.kinds.kind import THE_CHAT, Target, refuse_without
from rookery.v1.files_pb2 import FileInfo
from rookery.v1.session_pb2 import Accepted, Typing
from shared.backplane import Backplane, Record
from shared.backplane.publishing import publish
from shared.contract.changes import outlives, wins
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.groups import Permission, Roster
from shared.contract.ids import SnowflakeGenerator, time_of, wall_clock_ms
from shared.contract.partitions import partition_of
from shared.signals.publisher import SignalPublisher
from shared.telemetry.metrics.catalogue import ACCEPT

MAX_UNCONFIRMED = 100_000
"""Messages and changes remembered that the log did not acknowledge, and may have kept: about 20 MB."""

RETRY_MARGIN_MS = 60_000
"""How far the tail must reach back beyond the first Send of a retry: the retry may have been on its way for as long as
its connection was not found dead, and clocks differ. Also how long after a failure the log may still take an event."""

MAX_TYPING_MEMBERS = 500
"""Members of a group with which the others still learn who is typing."""

_HELD_BACK = Refusal(
    Code.UNAVAILABLE,
    "An earlier message or change of this session was refused: send that one again first.",
    "",
    RETRY_AFTER_MS,
)

_NOT_SERVED = Refusal(Code.UNAVAILABLE, "This gateway does not serve this user now.", "", RETRY_AFTER_MS)

_NOT_STORED = Refusal(Code.UNAVAILABLE, "The event could not be stored.", "", RETRY_AFTER_MS)


OnDone = Callable[[int, KeptRequest, int, bool], None]
"""Called with the user, the request, the id of the event, and whether the event is stored."""


class _Unconfirmed(NamedTuple):
    """An event that the log did not acknowledge, and may have kept."""

    sent: Sent
    epoch: int
    """The epoch of its records."""
    failed_ms: int
    """When its last publication failed, in milliseconds since 1970."""
    is_lost: bool = False
    """Whether the log is known not to have it."""


class _InFlight(NamedTuple):
    """An event on its way to the log, and the commands that its acknowledgement answers: the first and its retries."""

    sent: Sent
    commands: list[Command]


class Publisher:
    """Publishes the events of commands; one for each gateway. Each handler returns a Refusal, or None if the command is
    answered, is deferred, or stays unanswered. While the session is leaving, a retryable refusal is not sent: see
    `is_leaving`."""

    def __init__(
        self,
        backplane: Backplane,
        lookups: Lookups,
        files: FileLookups,
        rosters: Rosters,
        access: Access,
        partitions: OwnedPartitions,
        ids: SnowflakeGenerator,
        signals: SignalPublisher,
    ) -> None:
        self._backplane = backplane
        self._lookups = lookups
        self._files = files
        self._rosters = rosters
        self._access = access
        self._partitions = partitions
        self._ids = ids
        self._signals = signals
        self._in_flight: dict[SendKey, _InFlight] = {}
        self._unconfirmed: dict[SendKey, _Unconfirmed] = {}
        self._acknowledged = trio.lowlevel.ParkingLot()
        self.on_done: OnDone | None = None
        """Called for each new message and change of a client."""
        self.is_closed = False
        """Whether all further commands stay unanswered, since their sessions get Reconnect: the client retries."""

    async def wait_idle(self, partitions: Collection[int] | None = None) -> None:
        """Wait until no message or change with a client id is in flight, or none of the users of these partitions."""
        count = self._partitions.count
        while any(partitions is None or partition_of(key[0], count) in partitions for key in self._in_flight):
            await self._acknowledged.park()

    # ---- requests

    async def keep(self, command: Command, request: KeptRequest) -> Refusal | None:
        """Publish a message or a change, unless it was sent before."""
        session = command.session
        target: Target | Refusal = THE_CHAT
        if not self._may_send(command, request):  # before the look-up, too: no queue of frames waits for each
            return _HELD_BACK
        if not self._access.is_known(session.user_id, request):
            try:
                target = await self._access.look_up(session.user_id, request)
            except Unavailable:
                target = UNAVAILABLE_NOW
                if not self._is_in_tail((session.user_id, request.client_id)):
                    raise
            if (
                isinstance(target, Refusal)
                and target.retryable
                and not self._is_in_tail((session.user_id, request.client_id))  # else it is answered all the same
            ):
                return target
        is_late = self._is_late(command, request)
        forgotten = await self._lookups.find_sent(session.user_id, request) if is_late else None
        if isinstance(forgotten, Refusal):
            if request.first_sent_ms_ago is not None:
                return forgotten
            forgotten, is_late = None, False  # most likely it repeats nothing: first sends do not depend on the archive
        if self._unconfirmed and forgotten is None:  # no `await` since history has answered
            self._find_lost(session.user_id, request, history_lacks_it=is_late)
        files: Sequence[FileInfo] | Refusal = ()
        if request.files and isinstance(request, SendRequest) and forgotten is None:
            if not self._is_in_tail((session.user_id, request.client_id)):
                files = await self._files.find(session.user_id, request)
            if isinstance(files, Refusal) and files.retryable:
                return files
        event_id = self._ids.next_nowait() or await self._ids.next()
        # No `await` from here to the publish: it is looked up and put in flight in one step.
        tail = self._partitions.tail_of(session.user_id)
        if tail is None or self.is_closed:
            return _NOT_SERVED
        if not self._may_send(command, request):
            return _HELD_BACK
        roster = None if request.members else self._rosters.cached(request.chat_id)
        refusal = (
            target
            if isinstance(target, Refusal)
            else self._access.refuse(session.user_id, request, target, roster, event_id)
        )
        if refusal is ROSTER_DROPPED:
            return refusal
        if isinstance(files, Refusal):
            refusal, files = refusal or files, ()
        return self._publish_once(command, request, tail, event_id, forgotten, roster, refusal, files)

    async def make(self, user_id: int, request: ChangeRequest) -> bool:
        """Publish a change that the server makes as a user of this gateway, also to the session that caused it. Return
        whether it is stored: not if the user may not make it now, or it was made before. Raises Unavailable."""
        target = await self._access.look_up(user_id, request)
        event_id = self._ids.next_nowait() or await self._ids.next()
        # No `await` from here to the publish, as in `keep`.
        tail, key = self._partitions.tail_of(user_id), (user_id, request.client_id)
        if isinstance(target, Refusal) or tail is None or self.is_closed or self._is_in_tail(key):
            return False
        roster = None if request.members else self._rosters.cached(request.chat_id)
        if self._access.refuse(user_id, request, target, roster, event_id) is not None:
            return False
        sent = Sent(event_id, request.chat_id, request.content_hash())
        records = self._records(user_id, "", request, sent, tail.fences.epoch, roster, is_first=True)
        answered, answers = trio.Event(), list[bool]()

        def on_done(user_id: int, request: KeptRequest, event_id: int, is_stored: bool) -> None:
            answers.append(is_stored)
            answered.set()

        self._publish_kept(user_id, request, tail, sent, records, [], on_done)
        await answered.wait()
        return answers[0]

    async def type(self, command: Command, request: TypingRequest) -> Refusal | None:
        """Signal that the user is typing to the other members; in channels and in groups of more than
        MAX_TYPING_MEMBERS, to none. Raises Unavailable."""
        user_id, chat_id = command.session.user_id, request.chat_id
        users: Mapping[int, Sequence[int]] = {}
        if not request.members:
            if refusal := await self._access.find_roster([user_id], chat_id, "typing.chat_id"):
                return refusal
            roster = self._rosters.cached(chat_id)
            if roster is None or not roster.knows([user_id]):
                return ROSTER_DROPPED
            if Permission.POST not in roster.permissions(user_id):
                return refuse_without(Permission.POST, "typing.chat_id")
            if not roster.is_channel and roster.member_count <= MAX_TYPING_MEMBERS:
                users = self._rosters.by_partition(chat_id)
        elif await self._access.check_direct(user_id, request) is None:
            users = by_partition(request.members, self._partitions.count)
        if not self.is_leaving(command.session):
            self._signals.typing(Typing(chat_id=chat_id, user_id=user_id), users)
            command.session.accept(Accepted(frame=command.frame))
        return None

    def is_leaving(self, session: Session) -> bool:
        """Whether the session gets Reconnect within moments. Its commands stay unanswered: the client retries them
        where it connects next, as after any end of a session."""
        return self.is_closed or self._partitions.is_leaving(session.user_id)

    # ---- checks

    def _may_send(self, command: Command, request: KeptRequest) -> bool:
        return not request.client_id or command.session.may_send(request.client_id, command.received_at)

    def _is_late(self, command: Command, request: KeptRequest) -> bool:
        """Whether the request may have been sent before the tail begins, and is not in it."""
        session, ago_ms = command.session, request.first_sent_ms_ago
        if ago_ms == 0 or (ago_ms is None and not session.may_repeat(command.received_at)) or not request.client_id:
            return False
        tail = self._partitions.tail_of(session.user_id)
        if tail is None or self._is_in_tail((session.user_id, request.client_id)):
            return False
        return ago_ms is None or wall_clock_ms() - ago_ms - RETRY_MARGIN_MS < tail.complete_from_ms

    def _is_in_tail(self, key: SendKey) -> bool:
        """Whether a message or a change with this key is in the tail, or on its way there."""
        tail = self._partitions.tail_of(key[0])
        return key in self._in_flight or (tail is not None and tail.sent_with(key) is not None)

    # ---- events

    def _publish_once(
        self,
        command: Command,
        request: KeptRequest,
        tail: Tail,
        event_id: int,
        forgotten: Sent | None,
        roster: Roster | None,
        refusal: Refusal | None,
        files: Sequence[FileInfo],
    ) -> Refusal | None:
        """Publish the event as `event_id`, unless its key is in flight or in the tail, or `forgotten` is its first
        event, from before the tail: answer with the first. A first event, and one that the log has lost, get `refusal`,
        if that is given: an event that was accepted stays accepted, even if it would be refused now. `files` are the
        files of a first message."""
        session = command.session
        key = (session.user_id, request.client_id)  # without a client id, it is never found
        in_flight = self._in_flight.get(key)
        stored = tail.sent_with(key)
        first = in_flight.sent if in_flight else stored or forgotten
        if first is None:
            unconfirmed = self._unconfirmed_of(key, tail)
            if refusal is not None and (unconfirmed is None or unconfirmed.is_lost):
                return refusal
            first = None if unconfirmed is None else unconfirmed.sent
        sent = Sent(event_id, request.chat_id, request.content_hash(), files)
        if first is not None:
            if not first.is_repeated_by(sent):
                return _used_for_another(request, first)
            # If unconfirmed, the log may keep it: under the same id, both are one event.
            sent = sent._replace(event_id=first.event_id, files=files or _recorded_files(request, first, tail))
        if in_flight:
            command.defer()
            in_flight.commands.append(command)
            return None
        if refusal is not None and not _knows_recipients(session.user_id, request, roster, refusal):
            return refusal if refusal.retryable else ROSTER_DROPPED  # no answer yet: the copies can't be published
        has_files = bool(sent.files) or not request.files
        if not has_files and not (stored or forgotten):
            return refusal or _NOT_STORED  # instead of a look-up, it was in flight, and has failed
        records = self._records(
            session.user_id, session.session_id, request, sent, tail.fences.epoch, roster, is_first=first is None
        )
        is_kept = bool(stored or forgotten)
        if is_kept:  # the gateway that accepted it may have died before it published the copies
            is_deleted = _removed_with(request, sent) in tail.deletions or (first is not None and first.content is None)
            records = records[1:] if has_files and not is_deleted else []
        self._unconfirmed.pop(key, None)
        if records:
            command.defer()
            on_done = None if is_kept else self.on_done
            self._publish_kept(session.user_id, request, tail, sent, records, [command], on_done, is_kept=is_kept)
        else:
            command.defer()
            _answer(command, _accepted(request, sent.event_id))
        return None

    def _records(
        self,
        user_id: int,
        session_id: str,
        request: KeptRequest,
        sent: Sent,
        epoch: int,
        roster: Roster | None,
        *,
        is_first: bool,
    ) -> list[Record]:
        """The records of an event. Its recipients in a group are the members, in a channel the user and the members
        whom it mentions; if it was accepted before, those of them who were members then."""
        event_id, partitions = sent.event_id, self._partitions.count
        event = request.event(event_id, user_id, sent.files)
        if request.members or request.is_personal:
            recipients = request.recipients
            if request.members and request.is_mark and not self._shares_mark(request):
                event.change.is_private, recipients = True, ()
            return fan_out(
                event,
                sender_id=user_id,
                recipient_ids=recipients,
                partitions=partitions,
                session_id=session_id,
                epoch=epoch,
            )
        if roster is not None and roster.is_channel:
            concerned = (user_id, *(each for each in request.mentioned if each != user_id))
            return fan_out(
                event,
                sender_id=user_id,
                recipient_ids=[each for each in concerned if is_first or roster.includes(each, event_id)],
                partitions=partitions,
                session_id=session_id,
                epoch=epoch,
                truth_partition=partition_of(user_id, partitions),
                chat_version=roster.version,
                to_members=True,
            )
        users: Mapping[int, Sequence[int]] = {}
        if roster is not None and is_first:
            users = self._rosters.by_partition(roster.chat_id)
        elif roster is not None:
            within = [each for each in roster.members if roster.includes(each, event_id)]
            users = by_partition(within, partitions)
        return fan_out_to(
            users,
            event,
            sender_id=user_id,
            truth_partition=partition_of(user_id, partitions),
            chat_version=0 if roster is None else roster.version,
            session_id=session_id,
            epoch=epoch,
        )

    def _shares_mark(self, request: KeptRequest) -> bool:
        """Whether the mark of a direct chat reaches the other user."""
        if request.is_read_mark:
            return self._lookups.show_read_marks(request.members)
        return self._lookups.are_unblocked(request.members)

    def _publish_kept(
        self,
        user_id: int,
        request: KeptRequest,
        tail: Tail,
        sent: Sent,
        records: Sequence[Record],
        commands: list[Command],
        on_done: OnDone | None,
        *,
        is_kept: bool = False,
    ) -> None:
        """Publish an event's records; copies only, if its record of truth `is_kept` already. When they are
        acknowledged, answer the deferred commands and their retries, and call `on_done`. Both happen once, also if the
        log is full."""
        key = (user_id, request.client_id) if request.client_id else None
        epoch, span = tail.fences.epoch, commands[0].span if commands else None
        if key is not None:
            self._in_flight[key] = _InFlight(sent, commands)

        def done(result: Sequence[int] | Exception) -> None:
            is_stored = not isinstance(result, Exception) and self._partitions.holds(tail, epoch)
            if key is not None:
                del self._in_flight[key]
                self._acknowledged.unpark_all()
                if not is_stored:
                    self._remember_unconfirmed(key, sent, epoch)
                elif not is_kept:  # else no record would end what the tail remembers
                    tail.accept(key, sent, is_message=request.is_message)
            answer = _accepted(request, sent.event_id) if is_stored else _NOT_STORED
            for each in commands:
                _answer(each, answer, is_sent=is_stored or not self.is_leaving(each.session))
            if on_done is not None:
                on_done(user_id, request, sent.event_id, is_stored)

        try:
            publish(self._backplane, records, done, span, until=self._partitions.held_until)
        except Unavailable as error:
            done(error)
        except BaseException:  # only to forget the event in flight: raised again
            if key is not None:
                del self._in_flight[key]
            raise

    def _unconfirmed_of(self, key: SendKey, tail: Tail) -> _Unconfirmed | None:
        """The event that it published with this key in the tail's epoch, and that may be in the log. One of an
        earlier epoch is in the tail, or does not count. Its id is not used again: another gateway may have accepted
        earlier messages of the user since then."""
        unconfirmed = self._unconfirmed.get(key)
        return unconfirmed if unconfirmed is not None and unconfirmed.epoch == tail.fences.epoch else None

    def _remember_unconfirmed(self, key: SendKey, sent: Sent, epoch: int) -> None:
        if len(self._unconfirmed) >= MAX_UNCONFIRMED:
            del self._unconfirmed[next(iter(self._unconfirmed))]
        self._unconfirmed[key] = _Unconfirmed(sent._replace(files=()), epoch, wall_clock_ms())

    def _find_lost(self, user_id: int, request: KeptRequest, *, history_lacks_it: bool) -> None:
        """Note whether the log has lost the unconfirmed event of this request: it has been read up to a time at which
        it would have the event, and neither the tail has it, nor history if the event may be older than the tail. A
        message then gets a new id, since others may have been read above its own; a change keeps it, so that it does
        not win over changes that were made in between."""
        key = (user_id, request.client_id)
        unconfirmed, tail = self._unconfirmed.get(key), self._partitions.tail_of(user_id)
        if unconfirmed is None or tail is None or tail.sent_with(key) is not None:
            return
        if unconfirmed.failed_ms + RETRY_MARGIN_MS >= tail.read_up_to_ms:
            return
        if not history_lacks_it and time_of(unconfirmed.sent.event_id) < tail.complete_from_ms + RETRY_MARGIN_MS:
            return
        if request.is_message:
            del self._unconfirmed[key]
        else:
            self._unconfirmed[key] = unconfirmed._replace(is_lost=True)


def _knows_recipients(user_id: int, request: KeptRequest, roster: Roster | None, refusal: Refusal) -> bool:
    """Whether the recipients of a request are known although it gets this refusal: in a group by its roster; not of a
    mark in a direct chat if the settings of its users could not be looked up."""
    if request.members:
        return not (request.is_mark and refusal.retryable)
    return request.is_personal or (roster is not None and roster.knows((user_id, *request.mentioned)))


def _removed_with(request: KeptRequest, sent: Sent) -> int:
    """The message with whose deletion the content of the event goes; a deletion itself stays."""
    if isinstance(request, ChangeRequest) and not (wins(request.change) or outlives(request.change)):
        return request.change.target_id
    return sent.event_id


def _recorded_files(request: KeptRequest, first: Sent, tail: Tail) -> Sequence[FileInfo]:
    """The files of a message that was sent before; none if it was deleted since, or is on its way to the tail."""
    event = tail.event(first.event_id) if request.files else None
    return first.files if event is None else event.message.files


def _used_for_another(request: KeptRequest, first: Sent) -> Refusal:
    name = request.client_id_field.rpartition(".")[2]
    difference = "with another content" if first.chat_id == request.chat_id else "in another chat"
    return Refusal(Code.INVALID, f"This `{name}` was used before {difference}.", request.client_id_field)


def _accepted(request: KeptRequest, event_id: int) -> Accepted:
    return Accepted(client_id=request.client_id, event_id=event_id, chat_id=request.chat_id)


def _answer(command: Command, answer: Refusal | Accepted, *, is_sent: bool = True) -> None:
    """Answer a deferred command, or let it stay unanswered if the answer is not sent. The number of its frame is added
    to an Accepted."""
    session = command.session
    session.unanswered -= 1
    if isinstance(answer, Accepted):
        if isinstance(command.request, SendRequest):
            ACCEPT.observe(trio.current_time() - command.received_at)
        answer.frame = command.frame
        session.accept(answer)
    elif is_sent:
        session.refuse(answer, command.frame, command.client_id)
    if command.span is not None:
        tracing.end_frame(command.span, answer)
