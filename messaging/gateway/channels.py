"""The sessions that follow channels, sans I/O: sessions that have a channel open get its events, the others its heads.

The log of each partition has one record of every event of a channel. A record reaches the sessions of its own
partition's users, so the followers of a channel are kept by partition.
"""

import math
from collections.abc import Collection, Iterable, Sequence

import msgspec

from messaging.gateway.frames import SharedHead
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.registry import Registry
from messaging.gateway.session import Session
from messaging.gateway.tail import Head
from rookery.v1.groups_pb2 import Control, Span
from rookery.v1.session_pb2 import ChannelHead
from shared.contract.groups import OPEN, Roster
from shared.contract.ids import MAX_ID

HEAD_SECONDS = 5.0
"""The shortest interval between two heads of a channel in one session."""

LATE_HEAD_MS = 10_000
"""How much later than its event a head may be sent: after HEAD_SECONDS, and once the session has room for it. Events
with later positions are sent meanwhile."""

HEADS_AT_ONCE = 100
"""Heads that are sent before other tasks get their turn: about 3 ms of work."""

RETRY_SECONDS = 1.0
"""Delay before a head is sent again that a session had no room for."""

_NEVER = Span(first=MAX_ID, last=MAX_ID)


class _Follower(msgspec.Struct, eq=False, gc=False):
    """A session in its channel: about 200 bytes, with its places in the indexes."""

    version: int
    """The version of the chat in which the user has the spans."""
    seen: int
    """The offset up to which the session needs no head."""
    head_at: float = -math.inf
    """When it got a head last."""
    first: int = 0
    """The first id of the user's newest span."""
    last: int = 0
    """The last id of that span."""
    earlier: tuple[int, ...] = ()
    """The first and the last id of each earlier span: one tuple takes less memory than objects."""

    def set_spans(self, spans: Sequence[Span], version: int, first_offset: int) -> bool:
        """Set the user's spans, as of this version of the chat. Return whether they changed: then events may have been
        read, from the session's first offset on, that the user may read only now."""
        before = self.first, self.last, self.earlier
        *earlier, newest = spans or [_NEVER]
        self.first, self.last = newest.first, newest.last
        self.earlier = tuple(limit for span in earlier for limit in (span.first, span.last))
        self.version = version
        if before == (self.first, self.last, self.earlier):
            return False
        self.seen = first_offset
        return True

    def may_read(self, event_id: int) -> bool:
        if event_id >= self.first:
            return self.last == OPEN or event_id <= self.last
        limits = iter(self.earlier)
        return any(first <= event_id <= last for first, last in zip(limits, limits, strict=True))


class Channel:
    """A channel that sessions in one partition follow."""

    def __init__(self, chat_id: str, newest: Head) -> None:
        self.chat_id = chat_id
        self.newest = newest
        self.open: dict[Session, _Follower] = {}
        """The sessions that have it open."""
        self.others: dict[Session, _Follower] = {}
        """The sessions that get its heads: the one that has waited longest first."""
        self._shared: SharedHead | None = None  # with the newest event's id

    def note(self, offset: int, event_id: int) -> None:
        """Note the event that was read last."""
        if event_id > self.newest.event_id:
            self._shared = None
        self.newest = Head(offset, max(event_id, self.newest.event_id))

    def send_head(self, session: Session, follower: _Follower, now: float) -> float:
        """Send the session a head, if it needs one now. Return when to try again; infinite if it needs none."""
        if follower.seen >= self.newest.offset:
            return math.inf
        if (due_at := follower.head_at + HEAD_SECONDS) > now:
            return due_at
        if follower.may_read(self.newest.event_id):
            if self._shared is None:
                self._shared = SharedHead(ChannelHead(chat_id=self.chat_id, newest_id=self.newest.event_id))
            if not session.signal(self._shared):
                return now + RETRY_SECONDS
            follower.head_at = now
        follower.seen = self.newest.offset
        return math.inf


class Channels:
    """The followers of channels, and the heads that are due; one for each gateway. Each method is one step; `now` is
    always the clock of `trio.current_time`, in seconds."""

    def __init__(self, registry: Registry, partitions: OwnedPartitions) -> None:
        self._registry = registry
        self._partitions = partitions
        self._channels: dict[tuple[int, str], Channel] = {}  # with a follower, by partition and chat
        self._heads_at: dict[Channel, float] = {}  # when heads are due, by channel with new events
        self._count = 0

    def __len__(self) -> int:
        """The number of channels that sessions follow, each counted for each session."""
        return self._count

    # ---- sessions

    def follow(self, session: Session, rosters: Iterable[Roster], open_chat_ids: Collection[str], now: float) -> None:
        """Have a live session follow these channels, of which its user is a member, in place of its former ones.

        A head follows of each that is not open, and that has an event above the session's first position without a
        head. One that was open until now may have such events: the client may have closed it before it read them.
        """
        partition = self._partitions.partition_of(session.user_id)
        former, followed = set(session.followed), list[Channel]()
        for roster in rosters:
            channel = self._channel(partition, roster.chat_id)
            follower = channel.others.pop(session, None) or channel.open.pop(session, None)
            if follower is None:
                follower = _Follower(version=0, seen=session.first_offset)
                self._count += 1
            member = roster.members[session.user_id]
            if follower.version < (version := max(roster.version, member.version)):  # it may have been looked up later
                follower.set_spans(member.spans, version, session.first_offset)
            (channel.open if roster.chat_id in open_chat_ids else channel.others)[session] = follower
            followed.append(channel)
        session.followed = tuple(channel.chat_id for channel in followed)
        for chat_id in former.difference(session.followed):
            self._leave(session, chat_id)
        for channel in followed:
            if follower := channel.others.get(session):
                self._wait(channel, channel.send_head(session, follower, now))

    def leave(self, session: Session) -> None:
        """Have the session follow no channel any more."""
        for chat_id in session.followed:
            self._leave(session, chat_id)
        session.followed = ()

    def leave_partitions(self, partitions: Collection[int]) -> None:
        """Have the sessions of these partitions' users follow no channel any more."""
        for key, channel in tuple(self._channels.items()):
            for session in (*channel.open, *channel.others) if key[0] in partitions else ():
                self.leave(session)

    # ---- records

    def apply(self, chat_id: str, control: Control) -> None:
        """Apply a control change: removed users read no later events, added users no earlier events. For a user whose
        spans are known in a later version, it changes nothing."""
        for member in control.members:
            for session in self._registry.of(member.user_id):
                channel = self._channels.get((self._partitions.partition_of(member.user_id), chat_id))
                follower = None if channel is None else channel.open.get(session) or channel.others.get(session)
                if channel is None or follower is None or follower.version >= control.version:
                    continue
                if follower.set_spans(member.spans, control.version, session.first_offset):
                    self._heads_at.setdefault(channel, -math.inf)

    def readers(
        self, partition: int, chat_id: str, offset: int, event_id: int, recipient_ids: Iterable[int]
    ) -> list[Session]:
        """Read an event of a channel. Return the sessions that have the channel open and whose users may read it. The
        recipients get the event in any case: their sessions are left out."""
        channel = self._channels.get((partition, chat_id))
        if channel is None:
            return []
        recipients, former = frozenset(recipient_ids), channel.newest.offset
        channel.note(offset, event_id)
        if channel.others:
            for recipient_id in recipients:
                for session in self._registry.of(recipient_id):
                    if (follower := channel.others.get(session)) is not None and follower.seen >= former:
                        follower.seen = offset  # the event is as good as a head
            self._heads_at.setdefault(channel, -math.inf)
        return [
            session
            for session, follower in channel.open.items()
            if follower.may_read(event_id) and session.user_id not in recipients
        ]

    # ---- heads

    def due(self, now: float) -> list[Channel]:
        """The channels of which heads are due."""
        return [channel for channel, at in self._heads_at.items() if at <= now]

    def send_heads(self, channel: Channel, now: float) -> int:
        """Send HEADS_AT_ONCE of a channel's heads that are due, and schedule the others. Return how many were sent."""
        self._heads_at.pop(channel, None)
        served: list[Session] = []
        for session, follower in channel.others.items():
            if len(served) == HEADS_AT_ONCE:
                self._wait(channel, now)
                break
            before = follower.head_at
            self._wait(channel, channel.send_head(session, follower, now))
            if follower.head_at != before:
                served.append(session)
        for session in served:  # to the end
            channel.others[session] = channel.others.pop(session)
        return len(served)

    # ----

    def _channel(self, partition: int, chat_id: str) -> Channel:
        channel = self._channels.get((partition, chat_id))
        if channel is None:
            tail = self._partitions.tails.get(partition)
            newest = tail.head(chat_id) if tail is not None else None
            channel = self._channels[partition, chat_id] = Channel(chat_id, newest or Head(-1, 0))
        return channel

    def _leave(self, session: Session, chat_id: str) -> None:
        key = self._partitions.partition_of(session.user_id), chat_id
        channel = self._channels[key]
        self._count -= 1
        channel.open.pop(session, None)
        channel.others.pop(session, None)
        if not channel.open and not channel.others:
            del self._channels[key]
            self._heads_at.pop(channel, None)

    def _wait(self, channel: Channel, until: float) -> None:
        """Send the heads of a channel at this time, or earlier if that is planned."""
        if until < math.inf:
            self._heads_at[channel] = min(until, self._heads_at.get(channel, until))
