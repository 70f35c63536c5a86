"""The sequencer of groups: the owner of a group's home partition makes its control changes, one after the other.

The versions of a group are consecutive, and each has one event, since

- one gateway at a time owns the home partition, and its fence drops records of former owners;
- the owner knows the newest version: between the recorded part of the log and its tail there is no gap;
- a control change that the log did not acknowledge may be in effect, so it stays the next one of its group: the same
  records are published again before any other. Once its id is older than MAX_AGE_MS, a new fence decides instead:
  the change is in the tail then, or does not count.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec
import structlog
import trio

from messaging.envelopes import fan_out, with_all_recipients
from messaging.gateway.groups.commands import decide, looked_up_asking
from messaging.gateway.groups.forms import check, is_result, looked_up_users, named_owner, named_users, stored_client_id
from messaging.gateway.groups.republisher import Republisher
from messaging.gateway.history import History, RecordedOffsets
from messaging.gateway.lookups import refuse_unaccepted
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.rosters import Rosters
from messaging.gateway.sent import SendKey
from messaging.gateway.session import RETRY_AFTER_MS
from messaging.gateway.tail import Tail
from rookery.v1.group_service_pb2 import ChangeGroupRequest
from rookery.v1.session_pb2 import Event, Message
from shared.accounts.people import Relationship, WhoMayStart
from shared.accounts.store import AccountStore, User, batches, deleted_users
from shared.backplane import Backplane, Record
from shared.backplane.publishing import publish
from shared.contract.chats import home_partition
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.groups import Roster, audience, changed_id, is_kept
from shared.contract.ids import MAX_AGE_MS, SnowflakeGenerator
from shared.telemetry import traces
from shared.telemetry.logs import Interval
from shared.telemetry.metrics.catalogue import GROUP_CHANGE

TICK_SECONDS = 1.0
"""How often unconfirmed control changes are published again, gained partitions looked for, and copies marked as
stored."""

MAX_WAITING = 100
"""Requests that wait for their turn in one group."""

MAX_CHATS = 10_000
"""Groups whose newest version is remembered while nothing is to do for them, some 500 bytes each."""

_NOT_OWNED = Refusal(Code.UNAVAILABLE, "This gateway does not own this group now.", retry_after_ms=RETRY_AFTER_MS)

_NOT_STORED = Refusal(Code.UNAVAILABLE, "The change could not be stored.", retry_after_ms=RETRY_AFTER_MS)

_NOT_KNOWN = Refusal(Code.UNAVAILABLE, "The version of this group is not known now.", retry_after_ms=RETRY_AFTER_MS)

_CLOCK_BEHIND = Refusal(
    Code.UNAVAILABLE, "The clock of this gateway is a minute behind another one.", retry_after_ms=RETRY_AFTER_MS
)

_CROWDED = Refusal(
    Code.RATE_LIMITED, f"{MAX_WAITING} changes of this group wait already.", retry_after_ms=RETRY_AFTER_MS
)

_USED_BEFORE = Refusal(Code.INVALID, "This `client_change_id` was used before for another change.", "client_change_id")

_log = structlog.get_logger(__name__)


class _Change(msgspec.Struct, frozen=True):
    """A control change that is published."""

    key: SendKey
    kind: str
    """The request's field of `ChangeGroupRequest.change`."""
    epoch: int
    event: Event
    roster: Roster
    """The roster after the control change."""
    records: Sequence[Record]
    until: float
    """The time on Trio's clock from which on its id is too old to be published: a user joins or leaves at this id, and
    others may have sent and read messages above it."""

    def is_in(self, tail: Tail) -> bool:
        """Whether the log is known to have it, so that a repetition adds only the copies that members lack."""
        return tail.sent_with(self.key) is not None


class _Chat:
    """The state of one group here."""

    def __init__(self) -> None:
        self.turn = trio.Lock()
        """Held by the one request that is handled."""
        self.epoch = 0
        """The epoch of the home partition when the version became known; 0: the version is not known."""
        self.version = 0
        """The newest version that the log has acknowledged."""
        self.highest = 0
        """The highest id by which a user joined or left, or of the newest control change here."""
        self.pending: _Change | None = None
        """The change that the log has not acknowledged: it is in flight, or may have failed."""
        self.settled: trio.Event | None = None
        """While it is in flight."""
        self.unread: dict[SendKey, tuple[int, Event]] = {}
        """Acknowledged changes that the tail did not have yet when it was looked at last, with their offsets."""

    @property
    def is_idle(self) -> bool:
        return not (self.turn.locked() or self.pending or self.unread)

    def forget_read(self, tail: Tail) -> None:
        """Forget the acknowledged changes that the tail has, or had."""
        self.unread = {key: unread for key, unread in self.unread.items() if unread[0] >= tail.next_offset}


class Sequencer:
    """Makes the control changes of groups; one for each gateway."""

    def __init__(
        self,
        backplane: Backplane,
        partitions: OwnedPartitions,
        rosters: Rosters,
        history: History,
        accounts: AccountStore,
        ids: SnowflakeGenerator,
        fence_again: Callable[[int], Awaitable[None]],
    ) -> None:
        """`fence_again` is `LogConsumer.fence_again`."""
        self._backplane = backplane
        self._partitions = partitions
        self._rosters = rosters
        self._history = history
        self._accounts = accounts
        self._ids = ids
        self._fence_again = fence_again
        self._chats: dict[str, _Chat] = {}  # the latest used last
        self._recorded = RecordedOffsets(backplane)
        self._republisher = Republisher(backplane, partitions)
        self._settled = trio.lowlevel.ParkingLot()
        self._may_warn = Interval()
        self.is_closed = False
        """Whether all further requests are refused, since the gateway stops."""

    async def wait_idle(self, partitions: Collection[int] | None = None) -> None:
        """Wait until no control change is in flight, or none of the groups whose home is one of these partitions."""
        while any(
            chat.settled is not None and (partitions is None or self._home_of(chat_id) in partitions)
            for chat_id, chat in self._chats.items()
        ):
            await self._settled.park()

    async def run(self) -> None:
        """Publish control changes again that may not have reached all members, until cancelled."""
        while True:
            await trio.sleep(TICK_SECONDS)
            async with trio.open_nursery() as nursery:
                for partition in self._partitions.owned:
                    if (tail := self._owned(partition)) is not None:
                        nursery.start_soon(self._republish, partition, tail)
                for chat_id, chat in self._chats.items():
                    if chat.pending and not chat.turn.locked():
                        nursery.start_soon(self._confirm, chat_id)
            self._forget_idle()

    async def change(self, user_id: int, request: ChangeGroupRequest) -> Event | Refusal:
        """Make the user's change of a group, and return its message once the log has it; of a retry the first one.
        Raises Unavailable."""
        if refusal := check(request, user_id):
            return refusal
        if self._owned(self._home_of(request.chat_id)) is None:
            return _NOT_OWNED
        began = trio.current_time()
        if owner_id := named_owner(request):
            refusals = await self._check_owner(user_id, owner_id)
        else:
            refusals = await self._check_users(user_id, named_users(request))
        async with self._turn(request.chat_id) as chat:
            if chat is None:
                return _CROWDED
            made = await self._change(chat, user_id, request, refusals)
        if not isinstance(made, Refusal):
            GROUP_CHANGE.observe(trio.current_time() - began, str(request.WhichOneof("change")))
        return made

    # ---- one request

    @asynccontextmanager
    async def _turn(self, chat_id: str) -> AsyncIterator[_Chat | None]:
        """Wait for the turn of a request in its group; None if too many wait."""
        known = self._chats.pop(chat_id, None)
        chat = self._chats[chat_id] = known or _Chat()
        if chat.turn.statistics().tasks_waiting >= MAX_WAITING:
            yield None
        else:
            async with chat.turn:
                yield chat

    async def _change(
        self, chat: _Chat, user_id: int, request: ChangeGroupRequest, refusals: Mapping[int, Refusal]
    ) -> Event | Refusal:
        """Handle a request in its turn. `refusals` has the refusal of each user whom the request must not add, or make
        the owner. Raises Unavailable."""
        chat_id, key = request.chat_id, (user_id, stored_client_id(request))
        partition = self._home_of(chat_id)
        tail = self._owned(partition)
        if tail is None:
            return _NOT_OWNED
        epoch = tail.fences.epoch
        if refusal := await self._settle(chat_id, chat, tail):
            return refusal
        if (first := _first(chat, tail, key)) is not None:
            await self._republisher.complete(partition, tail, first.event_id)
            return _answer(request, first)
        roster = await self._newest(chat_id, chat, tail, looked_up_users(request, user_id))
        if isinstance(roster, Refusal):
            return roster
        known = roster.members.get(user_id)
        is_own_request = request.HasField("join") or request.decline_user.user_id == user_id
        if (known is not None and is_kept(known)) or is_own_request:
            found = await self._recorded_first(partition, tail, chat_id, key)
            if found is not None:
                return found if isinstance(found, Refusal) else _answer(request, found)
        deleted = await deleted_users(self._accounts, looked_up_asking(request, roster))
        event_id = self._ids.next_nowait() or await self._ids.next()
        until = trio.current_time() + MAX_AGE_MS / 1000
        # No `await` from here to the publish: no other gateway has owned the partition since the roster was read.
        if self._owned(partition) is not tail or tail.fences.epoch != epoch:
            return _NOT_OWNED
        if event_id <= chat.highest:
            return _CLOCK_BEHIND
        control = decide(request, user_id, roster, event_id, deleted)
        if isinstance(control, Refusal):
            return control
        if refusal := _first_refusal(refusals, roster):
            return refusal
        message = Message(
            message_id=event_id, chat_id=chat_id, sender_id=user_id, client_message_id=key[1], control=control
        )
        event = Event(event_id=event_id, message=message)
        recipient_ids, read_for = audience(roster, control, user_id), roster.recently_left(event_id)
        records = fan_out(
            event,
            sender_id=user_id,
            recipient_ids=recipient_ids,
            partitions=self._partitions.count,
            epoch=epoch,
            truth_partition=partition,
            chat_version=control.version,
            read_for=read_for,
            to_members=roster.is_channel or control.settings.is_channel,
        )
        records[0] = with_all_recipients(records[0], recipient_ids, read_for)
        kind = str(request.WhichOneof("change"))
        change = _Change(key, kind, epoch, event, roster.after(control), records, until)
        return event if await self._publish(chat, change, tail) else _NOT_STORED

    async def _check_users(self, user_id: int, added_ids: Sequence[int]) -> Mapping[int, Refusal]:
        """The refusals of the users whom the user may not add, by user, in the order of the ids. Raises Unavailable."""
        if not added_ids:
            return {}
        users: dict[int, User] = {}
        for batch in batches(added_ids):
            users |= {user.user_id: user for user in await self._accounts.users(batch)}
        relationships = await self._accounts.relationships(user_id, tuple(added_ids))
        refusals = {
            each: _check_added(users.get(each), relationships[each], f"user_ids[{index}]")
            for index, each in enumerate(added_ids)
        }
        return {each: refusal for each, refusal in refusals.items() if refusal is not None}

    async def _check_owner(self, user_id: int, owner_id: int) -> Mapping[int, Refusal]:
        """The refusal to hand a group of the user over to this one, if its account can't sign in, by user. The platform
        hands over the groups of a deleted account, which may have no other members. Raises Unavailable."""
        users = {user.user_id: user for user in await self._accounts.users((user_id, owner_id))}
        if user_id in users and users[user_id].is_deleted:
            return {}
        statuses = await self._accounts.account_statuses((owner_id,))
        refusal = _check_exists(users.get(owner_id), "user_id")
        if refusal is None and statuses[owner_id].is_suspended:
            refusal = Refusal(Code.FORBIDDEN, "This account can't own the group now.", "user_id")
        return {} if refusal is None else {owner_id: refusal}

    async def _recorded_first(self, partition: int, tail: Tail, chat_id: str, key: SendKey) -> Event | Refusal | None:
        """The control change that was made with this key before the tail begins; None if there is none. Raises
        Unavailable."""
        await self._recorded.update(partition, tail)
        found = await self._history.find_sent(key[0], chat_id, key[1])
        if found is None and not self._recorded.reach(partition, tail):
            return _NOT_KNOWN
        return found

    # ---- the newest version

    async def _newest(self, chat_id: str, chat: _Chat, tail: Tail, user_ids: Collection[int]) -> Roster | Refusal:
        """The group as after its newest control change; empty before its creation. The roster of a channel knows
        these users and the creators of the invite links. Raises Unavailable."""
        cached = self._rosters.cached(chat_id)
        if cached is not None and (cached.version, tail.fences.epoch) == (chat.version, chat.epoch):
            roster: Roster | Refusal | None = cached
        else:
            roster = await self._find_newest(chat_id, chat, tail, user_ids)
        if isinstance(roster, Roster):
            needed = {*user_ids, *(invite.creator_id for invite in roster.invites.values())}
            if not roster.knows(needed):
                roster = await self._rosters.get(chat_id, needed)
        if isinstance(roster, Refusal):
            return roster
        is_newest = roster is not None and (roster.version, tail.fences.epoch) == (chat.version, chat.epoch)
        return roster if roster is not None and is_newest else _NOT_KNOWN

    async def _find_newest(self, chat_id: str, chat: _Chat, tail: Tail, user_ids: Collection[int]) -> Roster | Refusal:
        """As `_newest`, of the archive and the tail. Raises Unavailable."""
        partition, epoch = self._home_of(chat_id), tail.fences.epoch
        await self._recorded.update(partition, tail)
        found = await self._history.find_group(chat_id, user_ids)
        if isinstance(found, Refusal):
            return found
        if not self._partitions.holds(tail, epoch):
            return _NOT_OWNED  # this gateway may have read changes of the next owner, in partitions of members
        if not self._recorded.reach(partition, tail):
            return _NOT_KNOWN
        roster, highest = Roster.empty(chat_id), 0
        if found is not None:
            roster, highest = Roster.of(found, user_ids), max(found.changed_id, changed_id(found.members))
        for event in tail.controls(chat_id):
            control = event.message.control
            if control.version > roster.version + 1:
                _log.error("group_version_missing", chat_id=chat_id, version=roster.version + 1)
                return _NOT_KNOWN
            if control.version > roster.version:
                roster, highest = roster.after(control), max(highest, event.event_id)
        if chat.epoch == epoch and roster.version < chat.version:
            return _NOT_KNOWN  # its record is not read back yet
        chat.epoch, chat.version = epoch, roster.version
        if roster.version:
            chat.highest = highest
            self._rosters.applied(chat_id, roster, highest)
            self._ids.follow(highest)
        return roster

    # ---- the log

    async def _settle(self, chat_id: str, chat: _Chat, tail: Tail) -> Refusal | None:
        """Have the log acknowledge the group's pending change, or decide that it does not count, if there is one; a
        Refusal if neither happens, or if this gateway does not own the group any more."""
        while chat.settled is not None:  # the client of its request is gone
            await chat.settled.wait()
        partition = self._home_of(chat_id)
        if self._owned(partition) is not tail:  # the record of truth would be late, its copies delivered
            return _NOT_OWNED
        change = chat.pending
        if change is None:
            return None
        if change.epoch != tail.fences.epoch:
            chat.pending = None  # it is in the tail, or does not count
            return None
        if change.until <= trio.current_time() and not change.is_in(tail):
            try:
                await self._fence_again(partition)
            except Unavailable as error:
                if self._may_warn.has_passed():
                    _log.warning("control_not_decided", chat_id=chat_id, error=str(error))
            return _NOT_STORED
        return None if await self._publish(chat, change, tail) else _NOT_STORED

    async def _publish(self, chat: _Chat, change: _Change, tail: Tail) -> bool:
        """Publish the change, which is pending from now on, and return whether the log has acknowledged it. If this is
        cancelled, the change stays in flight."""
        chat.pending = change
        settled = chat.settled = trio.Event()

        def done(result: Sequence[int] | Exception) -> None:
            chat.settled = None
            if not isinstance(result, Exception) and self._partitions.holds(tail, change.epoch):
                self._accept(chat, change, result[0])
            settled.set()
            self._settled.unpark_all()

        span, until = next(iter(traces.current_spans()), None), self._partitions.held_until
        if not change.is_in(tail):
            until = min(until, change.until)
        try:
            publish(self._backplane, change.records, done, span, until=until)
        except Unavailable as error:
            done(error)
        except BaseException:  # only to forget the change in flight: raised again
            chat.pending = chat.settled = None
            raise
        await settled.wait()
        return chat.pending is not change

    def _accept(self, chat: _Chat, change: _Change, offset: int) -> None:
        """Note that the log has acknowledged a change, whose record of truth is at this offset."""
        roster = change.roster
        chat.pending = None
        chat.epoch, chat.version, chat.highest = change.epoch, roster.version, change.event.event_id
        chat.unread[change.key] = offset, change.event
        self._rosters.applied(roster.chat_id, roster, chat.highest)
        user_id = str(change.key[0])
        _log.info("group_changed", chat_id=roster.chat_id, version=roster.version, kind=change.kind, user_id=user_id)

    # ---- in the background

    async def _confirm(self, chat_id: str) -> None:
        """Publish a change again that the log did not acknowledge: some members may lack it."""
        tail = self._owned(self._home_of(chat_id))
        async with self._turn(chat_id) as chat:
            if chat is not None and tail is not None:
                await self._settle(chat_id, chat, tail)

    async def _republish(self, partition: int, tail: Tail) -> None:
        """Publish the copies that a former owner may not have published, and a CopiesStored once the log has all copies
        that are due."""
        await self._republisher.republish(partition, tail)
        if tail.lacks_mark and not self._has_pending(partition):
            await self._republisher.mark(partition, tail)

    def _has_pending(self, partition: int) -> bool:
        """Whether a control change with this home partition waits for the log's acknowledgement."""
        return any(chat.pending and self._home_of(chat_id) == partition for chat_id, chat in self._chats.items())

    def _forget_idle(self) -> None:
        """Bound the memory of groups."""
        for chat_id, chat in self._chats.items():
            if chat.is_idle:
                continue
            if (tail := self._partitions.tails.get(self._home_of(chat_id))) is not None:
                chat.forget_read(tail)
            elif not (chat.turn.locked() or chat.settled):
                # The partition has left: its next owner has these, or they do not count.
                chat.pending, chat.unread = None, {}
        idle = [chat_id for chat_id, chat in self._chats.items() if chat.is_idle]
        for chat_id in idle[: max(len(self._chats) - MAX_CHATS, 0)]:
            del self._chats[chat_id]

    # ----

    def _home_of(self, chat_id: str) -> int:
        return home_partition(chat_id, self._partitions.count)

    def _owned(self, partition: int) -> Tail | None:
        """The tail of a partition that this gateway owns; None if it does not, or stops."""
        return None if self.is_closed else self._partitions.tail_at(partition)


def _check_added(added: User | None, relationship: Relationship, field: str) -> Refusal | None:
    """The refusal to add a user: the account does not exist or was deleted, or does not accept a first message of the
    actor, whose relationship to it this is."""
    if added is None or added.is_deleted:
        return _check_exists(added, field)
    is_accepted = added.who_may_start is WhoMayStart.EVERYONE or relationship.is_connected
    return None if is_accepted and not relationship.is_blocked else refuse_unaccepted(relationship, field)


def _check_exists(user: User | None, field: str) -> Refusal | None:
    if user is None:
        return Refusal(Code.NOT_FOUND, "There is no such user.", field)
    return Refusal(Code.RECIPIENT_DELETED, "This account was deleted.", field) if user.is_deleted else None


def _first_refusal(refusals: Mapping[int, Refusal], roster: Roster) -> Refusal | None:
    """The first refusal that holds in the group: a request to join accepts an addition by any member."""
    asking = {member.user_id for member in roster.asking()} if refusals else set()
    holds = (each for user_id, each in refusals.items() if each.code != Code.FORBIDDEN or user_id not in asking)
    return next(holds, None)


def _first(chat: _Chat, tail: Tail, key: SendKey) -> Event | None:
    """The control change that was made with this key, if it is one of the newest minutes."""
    if unread := chat.unread.get(key):
        return unread[1]
    sent = tail.sent_with(key)
    return None if sent is None else tail.event(sent.event_id)


def _answer(request: ChangeGroupRequest, first: Event) -> Event | Refusal:
    """The answer to a request whose key made this control change before."""
    return first if is_result(request, first.message.control) else _USED_BEFORE
