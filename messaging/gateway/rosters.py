"""The rosters of groups: loaded from the archive, and kept up to date by the control changes that this gateway reads.

A gateway reads every control change of a group of which it has a member's partition, or the home partition, and every
one of a channel. So a roster that is loaded once stays up to date; a control change that is not the next one drops it.

The roster of a channel has only some of its members: of the members that this gateway has looked up, or that control
changes have changed, the last MAX_KNOWN. Others are looked up when they are needed.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

import msgspec
import structlog
import trio

from messaging.envelopes import by_partition
from messaging.gateway.history import History
from rookery.v1.archive_pb2 import Group
from rookery.v1.groups_pb2 import Control, Member
from shared.contract.chats import home_partition
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.groups import (
    MAX_LOOKED_UP,
    Roster,
    changed_id,
    found_members,
    is_within,
    members_after,
    newer_members,
)
from shared.contract.known_members import KnownMembers
from shared.telemetry.logs import Interval

MAX_BYTES = 128 * 1024 * 1024
"""About the most bytes of all cached rosters."""

ROSTER_BYTES = 2_000
MEMBER_BYTES = 600
KNOWN_MEMBER_BYTES = 120
INVITE_BYTES = 300
"""Bytes that a roster takes, each member of a group, each known member of a channel, and each invite link, about."""

MAX_KNOWN = 2_000
"""Members of a channel that its roster keeps, 240 kB: at least the users of a request, and creators of its links. Also
members that are remembered without a roster, the last changed ones: enough for the records of the last seconds."""

MAX_CHANGED = 200_000
"""Members and groups remembered as the newest control changes left them, for groups whose roster is not cached: about
120 MB."""

BEHIND_SECONDS = 3.0
"""How long to wait for the archive to record a control change that this gateway has read: an archive needs seconds to
take over partitions. Clients find a connection dead that answers neither a send nor a ping for 8 s."""

RETRY_SECONDS = 0.05

_BEHIND = Refusal(Code.UNAVAILABLE, "The members of this group are not known now.", retry_after_ms=1_000)

_log = structlog.get_logger(__name__)


class _Cached(msgspec.Struct):
    """A cached roster."""

    roster: Roster
    home: int
    """The group's home partition."""
    changed: int
    """The highest id of an event by which a user joined or left."""
    by_partition: Mapping[int, Sequence[int]] | None = None
    """The users who are members, by their partition."""

    @property
    def size(self) -> int:
        """Bytes, about."""
        roster = self.roster
        member_bytes = KNOWN_MEMBER_BYTES if roster.is_channel else MEMBER_BYTES
        return ROSTER_BYTES + member_bytes * len(roster.members) + INVITE_BYTES * len(roster.invites)


class _Read(msgspec.Struct):
    """The newest state of one group's changed members, by the control changes that this gateway read or published."""

    version: int = 0
    """The version of the newest control change that was read or published."""
    members: dict[int, Member] | KnownMembers = {}
    """The changed members, as they are after their newest change that was read. Of a channel whose roster is cached,
    only members that changed before: the roster has the others. Together they are at most MAX_KNOWN."""
    remembered: int = 0
    """The version of the control change that was read last."""


class _Load:
    """A query of the archive that is under way."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.wanted: set[int] = set()
        """The users whom the tasks that wait for its end need to know."""
        self.is_answered = False
        """Whether there is an answer: not if the query has failed, or was cancelled."""
        self.answer: Roster | Refusal | None = None
        self.failure = ""
        """Why it has failed; empty if it has not."""


class Rosters:
    """Caches and loads the rosters of groups; one for each gateway. The log consumer updates them; publisher and
    sequencer read them."""

    def __init__(
        self,
        history: History,
        partitions: int,
        follow: Callable[[int], object],
        is_history_complete: Callable[[int], Awaitable[bool]],
        *,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        """`partitions` is the number of partitions of the log. `follow` gets the ids by which users joined and left: an
        event that is sent by a roster has a higher id than these, except those too far ahead of the clock.
        `is_history_complete` returns whether the archive has recorded the events of a partition that this gateway has
        not read; it may raise Unavailable."""
        self._history = history
        self._follow = follow
        self._is_history_complete = is_history_complete
        self._partitions = partitions
        self._max_bytes = max_bytes
        self._cached: dict[str, _Cached] = {}  # the latest used last
        self._size = 0
        self._read: dict[str, _Read] = {}  # the latest changed last
        self._changed = 0  # members in it
        self._loads: dict[str, _Load] = {}
        self._news = trio.lowlevel.ParkingLot()
        self._may_warn = Interval()

    @property
    def size(self) -> int:
        """Bytes of the cached rosters, about."""
        return self._size

    # ---- for the publisher and the sequencer

    def cached(self, chat_id: str) -> Roster | None:
        """The group's roster, as after the newest control change that this gateway knows; None if it is not cached."""
        cached = self._cached.pop(chat_id, None)
        if cached is None:
            return None
        self._cached[chat_id] = cached
        return cached.roster

    async def get(self, chat_id: str, user_ids: Collection[int] = ()) -> Roster | Refusal | None:
        """The group's roster, if need be of the archive; None if there is no such group. The roster of a channel knows
        these users. A retryable Refusal if the archive does not answer, or is behind: minutes, or BEHIND_SECONDS behind
        a control change that this gateway has read. Raises Unavailable."""
        wanted: Collection[int] = ()
        while True:
            roster = self.cached(chat_id)
            if roster is not None and roster.knows(user_ids):
                return roster
            load = self._loads.get(chat_id)
            if load is None:
                answer = await self._load(chat_id, [*user_ids, *wanted])
            else:
                load.wanted.update(user_ids)
                await load.ended.wait()
                if load.failure:  # a query of its own would follow those of all who have waited longer
                    raise Unavailable(load.failure)
                if not load.is_answered:
                    continue
                answer, wanted = self.cached(chat_id) or load.answer, load.wanted
            if not isinstance(answer, Roster) or answer.knows(user_ids):
                return answer

    def version(self, chat_id: str) -> int:
        """The newest version of the group that this gateway knows; 0 if it knows none."""
        cached, read = self._cached.get(chat_id), self._read.get(chat_id)
        return max(cached.roster.version if cached else 0, read.version if read else 0)

    async def changed(self, chat_id: str) -> None:
        """Wait until this gateway knows a newer version of the group than now."""
        version = self.version(chat_id)
        while self.version(chat_id) == version:
            await self._news.park()

    def by_partition(self, chat_id: str) -> Mapping[int, Sequence[int]]:
        """The users who are members, by their partition, of a group whose roster is cached."""
        cached = self._cached[chat_id]
        if cached.by_partition is None:
            cached.by_partition = by_partition(cached.roster.present, self._partitions)
        return cached.by_partition

    def has_changed_at(self, chat_id: str, event_id: int) -> bool:
        """Whether a user joined or left by this id or a higher one, in a group whose roster is cached: an event with
        this id would miss members, or be shown to former ones."""
        return self._cached[chat_id].changed >= event_id

    # ---- for the log consumer

    def read(self, chat_id: str, control: Control, *, is_live: bool = True, is_channel: bool = False) -> None:
        """Apply a control change of the log. A known change has no effect. A change is not live while a tail is
        rebuilt: then a group that was created may have changed since, before another tail of this gateway begins."""
        known = self._cached.get(chat_id)
        read = self._noted(chat_id, control.version)
        if known is not None and control.version == known.roster.version + 1:
            self._keep(known.roster.after(control), max(known.changed, changed_id(control.members)))
        elif known is not None and control.version > known.roster.version:
            self._drop(chat_id)  # a version is missing
        elif known is None and control.version == read.version == 1 and is_live:
            self._keep(Roster.created(chat_id, control), changed_id(control.members))
        self._remember(chat_id, control, is_channel)
        self._news.unpark_all()

    def within(self, chat_id: str, version: int, event_id: int, user_ids: tuple[int, ...]) -> tuple[int, ...]:
        """The users in whose spans the event is, as far as this gateway knows. `version` is the version of the chat as
        the sender of the event knew it: an older roster does not decide, since the users may have joined since."""
        cached, read = self._cached.get(chat_id), self._read.get(chat_id)
        if self.version(chat_id) < version:
            return user_ids
        if cached is not None and not cached.roster.is_channel:
            roster = cached.roster
            if event_id >= cached.changed and roster.present.issuperset(user_ids):
                return user_ids
            return tuple(user_id for user_id in user_ids if roster.includes(user_id, event_id))
        known: Mapping[int, Member] = {} if cached is None else cached.roster.members
        changed = {} if read is None else read.members

        def is_inside(user_id: int) -> bool:
            member = known.get(user_id)
            if member is None:
                member = changed.get(user_id)
                if member is None or member.version < version:
                    return True
            return is_within(member.spans, event_id)

        return tuple(user_id for user_id in user_ids if is_inside(user_id))

    def missed(self, chat_id: str, version: int, event_id: int) -> Mapping[int, Collection[int]]:
        """The readers of the event that its sender may not have known at this version of the chat, by the version of
        their membership. Some of them may have been members before, and a later removal may not have been read yet."""
        if self.version(chat_id) <= version:  # the usual case
            return {}
        cached, read = self._cached.get(chat_id), self._read.get(chat_id)
        members: Mapping[int, Member] = read.members if read else {}
        if cached is not None:  # of a channel, both have only some
            known = cached.roster.members
            members = {**members, **known} if cached.roster.is_channel else known
        missed: dict[int, list[int]] = {}
        for user_id, member in members.items():
            if member.version > version and is_within(member.spans, event_id):
                missed.setdefault(member.version, []).append(user_id)
        return missed

    def drop_unfollowed(self, partitions: Collection[int], gained: int | None = None) -> None:
        """Drop the rosters of groups of which none of these partitions has all control changes, since this gateway has
        not read the others, or will not. Drop also those of groups whose home partition is `gained`: its records of
        truth may differ from the copies that this gateway has read, since no fence drops a late copy, and since a
        former owner may have died before it published the copies."""
        for chat_id, cached in tuple(self._cached.items()):
            is_followed = cached.home in partitions or self._has_member_in(cached.roster, partitions)
            if cached.home == gained or not is_followed:
                self._drop(chat_id)

    # ---- for the sequencer

    def applied(self, chat_id: str, roster: Roster, changed_id: int) -> None:
        """Keep the roster as after a control change that the log has acknowledged, and this gateway not read yet.
        `changed_id` is the highest id by which a user joined or left, or a higher one."""
        known = self._cached.get(chat_id)
        if known is None or known.roster.version < roster.version:
            self._noted(chat_id, roster.version)
            self._keep(roster, changed_id)
            self._news.unpark_all()

    # ----

    async def _load(self, chat_id: str, user_ids: Sequence[int]) -> Roster | Refusal | None:
        """Look up the first MAX_LOOKED_UP of these users whom the cached roster does not know."""
        load = self._loads[chat_id] = _Load()
        cached = self.cached(chat_id)
        unknown = [each for each in dict.fromkeys(user_ids) if cached is None or not cached.knows([each])]
        try:
            load.answer = await self._query(chat_id, unknown[:MAX_LOOKED_UP])
            load.is_answered = True
            return load.answer
        except Unavailable as error:
            load.failure = str(error)
            raise
        finally:
            del self._loads[chat_id]
            load.ended.set()

    async def _query(self, chat_id: str, user_ids: Sequence[int]) -> Roster | Refusal | None:
        deadline = trio.current_time() + BEHIND_SECONDS
        while True:
            is_complete = await self._is_history_complete(home_partition(chat_id, self._partitions))
            found = await self._history.find_group(chat_id, user_ids)
            roster = self.cached(chat_id)
            if roster is not None and roster.knows(user_ids):
                return roster
            if isinstance(found, Refusal):
                return found
            version = 0 if found is None else found.version
            if roster is not None and version >= roster.since:
                return self._keep_found(found, roster.knowing(found_members(found or Group(), user_ids)))
            if roster is None and is_complete and version >= self.version(chat_id):
                return None if found is None else self._keep_found(found, Roster.of(found, user_ids))
            if trio.current_time() >= deadline:
                if self._may_warn.has_passed():
                    needed = self.version(chat_id) if roster is None else roster.since
                    _log.warning(
                        "roster_not_recorded",
                        chat_id=chat_id,
                        recorded_version=version,
                        needed_version=needed,
                        is_complete=is_complete,
                    )
                return _BEHIND
            await trio.sleep(RETRY_SECONDS)

    def _has_member_in(self, roster: Roster, partitions: Collection[int]) -> bool:
        """Whether one of these partitions gets the next control change: every partition does of a channel, else the
        partitions of the members."""
        if roster.is_channel:
            return bool(partitions)
        return not self.by_partition(roster.chat_id).keys().isdisjoint(partitions)

    def _keep_found(self, found: Group | None, roster: Roster) -> Roster:
        known = self._cached.get(roster.chat_id)
        changed = 0 if known is None else known.changed
        if found is not None:
            changed = max(changed, found.changed_id, changed_id(found.members))
        self._keep(roster, changed)
        return roster

    def _keep(self, roster: Roster, changed: int) -> None:
        """Cache a roster in place of any other of its group. `changed` is the highest id by which a user joined or
        left, or a higher one."""
        if (former := self._cached.pop(roster.chat_id, None)) is not None:
            self._size -= former.size
        self._follow(changed)
        if roster.is_channel:
            roster = roster.keeping(MAX_KNOWN)
        home = home_partition(roster.chat_id, self._partitions)
        cached = self._cached[roster.chat_id] = _Cached(roster, home, changed)
        self._size += cached.size
        if roster.is_channel and (read := self._read.get(roster.chat_id)) is not None:
            self._set_read(read, KnownMembers.of(read.members), MAX_KNOWN - len(roster.members))
        while self._size > self._max_bytes and len(self._cached) > 1:
            self._drop(next(iter(self._cached)))

    def _drop(self, chat_id: str) -> None:
        """Drop a roster, if it is cached. The members of a channel that it has are remembered."""
        if (cached := self._cached.pop(chat_id, None)) is None:
            return
        self._size -= cached.size
        if cached.roster.is_channel:
            read = self._noted(chat_id, cached.roster.version)
            self._set_read(
                read, KnownMembers.of(read.members).merged(KnownMembers.of(cached.roster.members)), MAX_KNOWN
            )

    def _noted(self, chat_id: str, version: int) -> _Read:
        """The changed members of the group, noted with this version."""
        read = self._read.pop(chat_id, None) or _Read()
        self._read[chat_id] = read
        read.version = max(read.version, version)
        return read

    def _remember(self, chat_id: str, control: Control, is_channel: bool) -> None:
        """Remember the members that a control change changed, unless a newer one of each was read, or the roster of a
        channel has them."""
        read = self._noted(chat_id, control.version)
        if control.version == read.remembered:
            return  # another copy of it, in another partition
        read.remembered = control.version
        cached = self._cached.get(chat_id)
        if cached is not None and cached.roster.is_channel and cached.roster.version >= control.version:
            return
        known = read.members
        newer = newer_members(known, members_after(control))
        if not newer:
            return
        if isinstance(known, KnownMembers) or is_channel:
            self._set_read(read, KnownMembers.of(known).after(newer.values()), MAX_KNOWN)
        else:
            self._set_read(read, {**known, **newer}, MAX_CHANGED)

    def _set_read(self, read: _Read, members: dict[int, Member] | KnownMembers, limit: int) -> None:
        """Set the remembered members of a group; of a channel, at most `limit` members, and all users with a join
        request."""
        if isinstance(members, KnownMembers):
            members, _ = members.last(limit)
        self._changed += len(members) - len(read.members)
        read.members = members
        while self._changed + len(self._read) > MAX_CHANGED and len(self._read) > 1:
            self._changed -= len(self._read.pop(next(iter(self._read))).members)
