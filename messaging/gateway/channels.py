"""The sessions that follow channels, sans I/O: those that have a channel open get its events, the others its heads.

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

HEAD_SECONDS = 5.0
"""The shortest interval between two heads of a channel in one session."""

RETRY_SECONDS = 1.0
"""Delay before a head is sent again that a session had no room for."""


class _Follower(msgspec.Struct, eq=False, gc=False):
    """A session in its channel."""

    spans: tuple[int, ...] = ()
    """The first and the last id of each span of the user."""
    version: int = 0
    """The version of the chat in which the user has these spans."""
    seen: int = -1
    """The offset up to which the session needs no head."""
    head_at: float = -math.inf
    """When it got a head last."""

    def may_read(self, event_id: int) -> bool:
        spans = self.spans
        for index in range(0, len(spans), 2):
            if spans[index] <= event_id and (spans[index + 1] == OPEN or event_id <= spans[index + 1]):
                return True
        return False


class Channel:
    """A channel that sessions in one partition follow."""

    def __init__(self, partition: int, chat_id: str, newest: Head) -> None:
        self.partition = partition
        self.chat_id = chat_id
        self.newest = newest
        self.open: dict[Session, _Follower] = {}
        """The sessions that have it open."""
        self.others: dict[Session, _Follower] = {}
        """The sessions that get its heads."""
        self._shared: SharedHead | None = None  # with the newest event's id

    @property
    def key(self) -> tuple[int, str]:
        return self.partition, self.chat_id

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
    """One for each gateway. Each method is one step; `now` is always the clock of `trio.current_time`, in seconds."""

    def __init__(self, registry: Registry, partitions: OwnedPartitions) -> None:
        self._registry = registry
        self._partitions = partitions
        self._channels: dict[tuple[int, str], Channel] = {}  # with a follower, by partition and chat
        self._followed: dict[Session, Sequence[Channel]] = {}
        self._heads_at: dict[Channel, float] = {}  # when heads are due, by channel with new events
        self._count = 0

    def __len__(self) -> int:
        """The number of channels that sessions follow, each counted for each session."""
        return self._count

    def followed(self, session: Session) -> int:
        """The number of channels that the session follows."""
        return len(self._followed.get(session, ()))

    # ---- sessions

    def follow(self, session: Session, rosters: Iterable[Roster], open_chat_ids: Collection[str], now: float) -> None:
        """Have a live session follow these channels, of which its user is a member, in place of its former ones.

        A head follows of each that it did not follow before, that is not open, and that has an event above the
        session's first position.
        """
        former = {channel.chat_id: channel for channel in self._followed.get(session, ())}
        partition = self._partitions.partition_of(session.user_id)
        followed: list[Channel] = []
        for roster in rosters:
            channel = former.pop(roster.chat_id, None) or self._channel(partition, roster.chat_id)
            follower = channel.others.pop(session, None)
            if follower is None and (follower := channel.open.pop(session, None)) is not None:
                follower.seen = channel.newest.offset
            if follower is None:
                follower = _Follower(seen=session.first_offset)
                self._count += 1
            member = roster.members[session.user_id]
            if follower.version < (version := max(roster.version, member.version)):  # it may have been looked up later
                follower.spans, follower.version = _compact(member.spans), version
            (channel.open if roster.chat_id in open_chat_ids else channel.others)[session] = follower
            followed.append(channel)
        for channel in former.values():
            self._leave(channel, session)
        if followed:
            self._followed[session] = tuple(followed)
        else:
            self._followed.pop(session, None)
        for channel in followed:
            if follower := channel.others.get(session):
                self._wait(channel, channel.send_head(session, follower, now))

    def leave(self, session: Session) -> None:
        """Have the session follow no channel any more."""
        for channel in self._followed.pop(session, ()):
            self._leave(channel, session)

    def leave_partitions(self, partitions: Collection[int]) -> None:
        """Have the sessions of these partitions' users follow no channel any more."""
        for session in tuple(self._followed):
            if self._partitions.partition_of(session.user_id) in partitions:
                self.leave(session)

    # ---- records

    def apply(self, chat_id: str, control: Control) -> None:
        """Apply a control change: the users whom it removes read no later events, those whom it adds no earlier ones.
        One that is older than what is known of a user changes nothing."""
        for member in control.members:
            for session in self._registry.of(member.user_id):
                channel = self._channels.get((self._partitions.partition_of(member.user_id), chat_id))
                follower = channel and (channel.open.get(session) or channel.others.get(session))
                if channel and follower and follower.version < control.version:
                    spans, follower.version = _compact(member.spans), control.version
                    if spans != follower.spans:  # what the user may read now may have been read from the log before
                        follower.spans, follower.seen = spans, session.first_offset
                        self._heads_at.setdefault(channel, -math.inf)

    def readers(
        self, partition: int, chat_id: str, offset: int, event_id: int, recipient_ids: Iterable[int]
    ) -> list[Session]:
        """Read an event of a channel. Return the sessions that have the channel open and whose users may read it, but
        for those of the recipients, who get the event in any case."""
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

    def send_heads(self, channel: Channel, now: float) -> None:
        """Send the heads of a channel that are due, and schedule the others."""
        self._heads_at.pop(channel, None)
        for session, follower in channel.others.items():
            self._wait(channel, channel.send_head(session, follower, now))

    # ----

    def _channel(self, partition: int, chat_id: str) -> Channel:
        channel = self._channels.get((partition, chat_id))
        if channel is None:
            tail = self._partitions.tails.get(partition)
            newest = tail.head(chat_id) if tail is not None else None
            channel = self._channels[partition, chat_id] = Channel(partition, chat_id, newest or Head(-1, 0))
        return channel

    def _leave(self, channel: Channel, session: Session) -> None:
        self._count -= 1
        channel.open.pop(session, None)
        channel.others.pop(session, None)
        if not channel.open and not channel.others:
            del self._channels[channel.key]
            self._heads_at.pop(channel, None)

    def _wait(self, channel: Channel, until: float) -> None:
        """Send the heads of a channel at this time, or earlier if that is planned."""
        if until < math.inf:
            self._heads_at[channel] = min(until, self._heads_at.get(channel, until))


def _compact(spans: Iterable[Span]) -> tuple[int, ...]:
    return tuple(limit for span in spans for limit in (span.first, span.last))
