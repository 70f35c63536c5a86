"""Checks the right to make a request, in two steps: looks up its chat, users and messages, then refuses it or not.

The first step waits. The second does not, so that the request is published with the members and permissions of that
moment.
"""

import math
from collections.abc import Container, Sequence
from functools import partial

import trio

from messaging.gateway.lookups import Lookups
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.requests import ChangeRequest, KeptRequest, SendRequest, TypingRequest
from messaging.gateway.rosters import Rosters
from messaging.gateway.session import RETRY_AFTER_MS
from messaging.kinds.checks import check_mentioned
from messaging.kinds.kind import THE_CHAT, Circumstances, Target, refuse_control, refuse_without
from shared.configuration.live import Live
from shared.contract.chats import no_such_chat
from shared.contract.errors import Code, Refusal
from shared.contract.groups import DIRECT_PERMISSIONS, Permission, Roster
from shared.contract.ids import SnowflakeGenerator, time_of, wall_clock_ms
from shared.unknown_chats import UnknownChatLimit

CLOCK_LEEWAY_MS = 5_000
"""How far in the future a marked message may seem to be, since gateways' clocks differ a little."""

JOIN_SECONDS = 1.0
"""How long it may take from the answer to the user who added a member until this gateway has read that."""

REFUSED_SECONDS = 10.0
"""Seconds after a refusal in which further requests of the user are refused without another wait of JOIN_SECONDS, in
the same version of the group: each wait holds up the session's other frames. A user who is added meanwhile may be
refused for milliseconds."""

MAX_REFUSED = 10_000
"""Users remembered for that, about 3 MB."""

ROSTER_DROPPED = Refusal(Code.UNAVAILABLE, "The members of this group are changing.", "", RETRY_AFTER_MS)

_AHEAD = Refusal(Code.INTERNAL, "The members of this group were changed by a clock that was ahead of this gateway's.")
"""Not retryable: repetitions would hold back the other sends of a session until that time has passed."""


class Access:
    """Checks the rights of users to make requests; one for each gateway."""

    def __init__(
        self, lookups: Lookups, rosters: Rosters, partitions: OwnedPartitions, ids: SnowflakeGenerator, live: Live
    ) -> None:
        self._lookups = lookups
        self._rosters = rosters
        self._partitions = partitions
        self._ids = ids
        self._live = live
        self._chat_limit = UnknownChatLimit(live)
        self._refused: dict[tuple[int, str], tuple[int, float]] = {}
        """By user and group, the version in which the user was last refused after a wait, and when; the latest last."""

    def is_known(self, user_id: int, request: KeptRequest) -> bool:
        """Whether the request names nothing that has to be looked up: the usual case in direct chats."""
        return (
            isinstance(request, SendRequest)
            and bool(request.members)
            and not request.reply_to
            and self._lookups.is_open(request.chat_id, _other(request.members, user_id))
        )

    async def look_up(self, user_id: int, request: KeptRequest) -> Target | Refusal:
        """The message that the request names, or THE_CHAT. A Refusal if that message, the recipient or the chat is none
        of the user's. The roster of a group is cached then, in the usual case. Raises Unavailable."""
        if not request.members:
            field, is_personal = request.chat_id_field, request.is_personal
            user_ids = (user_id, *request.mentioned)
            if refusal := await self.find_roster(user_ids, request.chat_id, field, is_personal=is_personal):
                return refusal
        elif not request.is_personal and (refusal := await self.check_direct(user_id, request)):
            return refusal
        elif request.is_read_mark:
            await self._lookups.find_read_marks(request.members)
        elif request.is_mark:
            await self._lookups.find_block(request.members)
        target_id = request.change.target_id if isinstance(request, ChangeRequest) else request.reply_to
        if not target_id:
            return THE_CHAT
        roster = None if request.members else self._rosters.cached(request.chat_id)
        spans = () if roster is None else roster.spans(user_id)
        return await self._lookups.find_target(user_id, request.chat_id, target_id, request.target_field, spans)

    async def check_direct(self, user_id: int, request: KeptRequest | TypingRequest) -> Refusal | None:
        """The refusal of a request whose event the other user of a direct chat may not get. Raises Unavailable."""
        other_id = _other(request.members, user_id)
        if self._lookups.is_open(request.chat_id, other_id):
            return None
        if isinstance(request, ChangeRequest):
            return await self._lookups.check_block(user_id, other_id, request.chat_id_field)
        field = "send.recipient_id" if isinstance(request, SendRequest) else request.chat_id_field
        return await self._lookups.check_recipient(user_id, other_id, request.chat_id, field)

    async def find_roster(
        self, user_ids: Sequence[int], chat_id: str, field: str, *, is_personal: bool = False
    ) -> Refusal | None:
        """Load the roster of a group, unless it is cached; the roster of a channel knows these users. Return a refusal
        if the first user, who makes a request, is not a member, with `is_personal` also not a former one. The user may
        have been added just now: waits JOIN_SECONDS for that, once in REFUSED_SECONDS for each version of the group. A
        user who asks for too many chats that were never theirs is refused for a while, unless the roster is cached."""
        user_id, deadline = user_ids[0], trio.current_time() + JOIN_SECONDS
        cached = self._rosters.cached(chat_id)
        if cached is not None and cached.knows(user_ids) and _is_of(cached, user_id, is_personal):
            return None
        if refusal := self._chat_limit.check(user_id):
            return refusal
        while True:
            roster = await self._rosters.get(chat_id, user_ids)
            if isinstance(roster, Refusal):
                return roster
            if _is_of(roster, user_id, is_personal):
                return None
            if not self._has_waited(user_id, chat_id):
                with trio.move_on_at(deadline) as waiting:
                    await self._rosters.changed(chat_id)
                if not waiting.cancelled_caught:
                    continue
                self._remember_refused(user_id, chat_id)
            if roster is None or not roster.was_member(user_id):
                self._chat_limit.count(user_id)
            return no_such_chat(field)

    def _has_waited(self, user_id: int, chat_id: str) -> bool:
        """Whether the user was refused after a wait a short time ago, in the newest version of the group."""
        version, at = self._refused.get((user_id, chat_id), (0, -math.inf))
        return version == self._rosters.version(chat_id) and trio.current_time() < at + REFUSED_SECONDS

    def _remember_refused(self, user_id: int, chat_id: str) -> None:
        self._refused.pop((user_id, chat_id), None)
        self._refused[user_id, chat_id] = self._rosters.version(chat_id), trio.current_time()
        if len(self._refused) > MAX_REFUSED:
            del self._refused[next(iter(self._refused))]

    def refuse(
        self, user_id: int, request: KeptRequest, target: Target, roster: Roster | None, event_id: int
    ) -> Refusal | None:
        """The refusal of a request that the user may not make now. `roster` is that of the request's group, if any: it
        is cached. `event_id` is the id of the request's event."""
        if isinstance(request, SendRequest) and request.members:
            return None
        if not request.members:
            if roster is None or not roster.knows((user_id, *request.mentioned)):
                return ROSTER_DROPPED
            if not _is_of(roster, user_id, request.is_personal):
                return no_such_chat(request.chat_id_field)
            if not request.is_personal and self._rosters.has_changed_at(request.chat_id, event_id):
                return _AHEAD
        permissions = DIRECT_PERMISSIONS if roster is None else roster.permissions(user_id)
        members: Container[int] = request.members if roster is None else roster
        if isinstance(request, SendRequest):
            if target.is_control:
                return refuse_control(request.target_field)
            if Permission.POST not in permissions:
                return refuse_without(Permission.POST, request.chat_id_field)
            return check_mentioned(request.text, members, permissions, "send.text")
        newest_ms, configuration = partial(self._newest_ms, user_id), self._live.value
        circumstances = Circumstances(members, permissions, target, wall_clock_ms(), newest_ms, configuration)
        return request.kind.refuse(request.change, circumstances)

    def _newest_ms(self, user_id: int) -> int:
        """The latest time that an existing message's id may have: the clock's, or that of the newest message that this
        gateway has seen, if its clock has been set back since."""
        tail = self._partitions.tails.get(self._partitions.partition_of(user_id))
        seen_ms = time_of(tail.highest_event_id) if tail else 0
        return max(wall_clock_ms() + CLOCK_LEEWAY_MS, self._ids.last_ms, seen_ms)


def _other(members: Sequence[int], user_id: int) -> int:
    """The other member of a direct chat."""
    return members[members[0] == user_id]


def _is_of(roster: Roster | None, user_id: int, is_personal: bool) -> bool:
    """Whether the user is a member of the group, or for a personal request a former one."""
    return roster is not None and (user_id in roster or (is_personal and roster.was_member(user_id)))
