"""Takes deleted accounts out of their groups, in the background. An owned group gets another owner first."""

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import structlog
import trio

from bff.services import ArchiveQueries, GroupChanges
from bff.work import FAULT
from rookery.v1.archive_pb2 import CHAT_KIND_GROUP, ListChatsRequest, ListChatsResponse, ListMembersRequest
from rookery.v1.group_service_pb2 import ChangeGroupRequest, ChangeGroupResponse, ChangeMember, RemoveMember
from rookery.v1.groups_pb2 import ROLE_OWNER, Member
from shared.accounts.administration import id_in
from shared.accounts.audit import Act
from shared.accounts.departures import DepartureTokens
from shared.accounts.store import MAX_IDS, AccountStore, deleted_users
from shared.background import open_background
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.groups import MAX_MEMBERS
from shared.contract.ids import time_of, wall_clock_ms

PAUSES = (0.0, 30.0, 60.0, 300.0)
"""Seconds before each pass over the groups of an account. The second one finds groups that archives had not recorded
before the first; the others are for groups that could not be left, and for archives that record late."""

AT_ONCE = 8
"""Passes at once: an admin may delete many accounts, which should not slow down the changes of others."""

MAX_ACCOUNTS = 10_000
"""Accounts that wait for a pass; more are left in their groups until their deletion is repeated."""

RESUMED_MS = 24 * 3600 * 1000
"""How old the deletions are at most that a BFF resumes when it starts: each costs some reads of the archive."""

RESUME_PAUSE = 10.0
"""Seconds before the deletions are read again after the store did not answer."""

PAGE = MAX_IDS
"""Chats on a page of the archive, and accounts or entries of the audit log that are read at once."""

_STORE_AWAY = Refusal(Code.UNAVAILABLE, "The store does not answer.")

_NO_SUCCESSOR = Refusal(Code.UNAVAILABLE, "The other members of the group are not known now.")

_NOT_RECORDED = Refusal(Code.UNAVAILABLE, "The archives have not recorded all groups of the account yet.")

_log = structlog.get_logger(__name__)


class Departures:
    """Made by `open_departures`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        accounts: AccountStore,
        archive: ArchiveQueries,
        groups: GroupChanges,
        tokens: DepartureTokens,
        clock_ms: Callable[[], int],
    ) -> None:
        self._nursery = nursery
        self._accounts = accounts
        self._archive = archive
        self._groups = groups
        self._tokens = tokens
        self._clock_ms = clock_ms
        self._passes = trio.CapacityLimiter(AT_ONCE)

    def begin(self, user_id: int) -> None:
        """Take a deleted account out of its groups, in the background. A group that can't be left is logged, and so is
        each account that still waits when the process stops: repeating the deletion begins again, and so does the next
        start of a BFF."""
        if len(self._nursery.child_tasks) >= MAX_ACCOUNTS:
            _log.warning("groups_not_left", user_id=str(user_id), reason=f"{MAX_ACCOUNTS} other accounts leave theirs")
        else:
            self._nursery.start_soon(self._depart, user_id)

    async def resume(self) -> None:
        """Begin again with each account that was deleted in the last RESUMED_MS: the process that took it out of its
        groups may have been killed."""
        while True:
            try:
                for user_id in await self._deleted_since(self._clock_ms() - RESUMED_MS):
                    self.begin(user_id)
                return
            except Unavailable:
                await trio.sleep(RESUME_PAUSE)
            except Exception as error:  # a fault of ours does not end the BFF
                _log.error("departures_not_resumed", exc_info=error)
                return

    async def _deleted_since(self, since_ms: int) -> list[int]:
        """The accounts that were deleted from this time on, the last one first. Raises Unavailable."""
        named: dict[int, None] = {}
        before = ""
        while True:
            entries = await self._accounts.audit_entries(limit=PAGE, before=before)
            recent = [entry for entry in entries if entry.at_ms >= since_ms]
            named |= {id_in(entry.target): None for entry in recent if entry.act == Act.DELETE_USER}
            if len(recent) < PAGE:
                break
            before = recent[-1].entry_id
        deleted = await deleted_users(self._accounts, named)
        return [user_id for user_id in named if user_id in deleted]

    async def _depart(self, user_id: int) -> None:
        reason, began_ms = "the process stops", self._clock_ms()
        try:
            for number, pause in enumerate(PAUSES):
                await trio.sleep(pause)
                try:
                    async with self._passes:
                        refusal = await self._leave_all(user_id, began_ms if number else 0)
                except Unavailable:
                    refusal = _STORE_AWAY
                except Exception as error:  # a fault of ours ends this pass, and not the BFF
                    _log.error("departure_failed", user_id=str(user_id), exc_info=error)
                    refusal = FAULT
                if refusal is not None:
                    reason = refusal.message
                elif number:
                    reason = ""
                    return
        finally:
            if reason:
                _log.warning("groups_not_left", user_id=str(user_id), reason=reason)

    async def _leave_all(self, user_id: int, since_ms: int) -> Refusal | None:
        """Leave each group in which the user is a member. Return the last refusal, also one if archives have not
        recorded everything up to this time. Raises Unavailable."""
        found = await self._groups_of(user_id)
        if isinstance(found, Refusal):
            return found
        chat_ids, recorded_ms = found
        refusal = None if recorded_ms >= since_ms else _NOT_RECORDED
        for chat_id in chat_ids:
            refusal = await self._leave(user_id, chat_id) or refusal
        return refusal

    async def _groups_of(self, user_id: int) -> tuple[list[str], int] | Refusal:
        """The groups in which the user is a member, and the time up to which archives have recorded all. A group that
        changes while the pages are read may move to a page that was read already: so the changed ones are listed once
        more."""
        found: dict[str, None] = {}
        first: ListChatsResponse | None = None
        since_ms, cursor = 0, ""
        while True:
            request = ListChatsRequest(user_id=user_id, changed_since_ms=since_ms, limit=PAGE, cursor=cursor)
            page = await self._archive.list_chats(request)
            if isinstance(page, Refusal):
                return page
            first, cursor = first or page, page.next_cursor
            found |= {chat.chat_id: None for chat in page.chats if chat.kind == CHAT_KIND_GROUP and chat.own.role}
            if not cursor and (page is first or since_ms):
                return [*found], time_of(first.complete_up_to)
            if not cursor:
                since_ms = time_of(first.complete_up_to)

    async def _leave(self, user_id: int, chat_id: str) -> Refusal | None:
        """Leave a group, after it has another owner if need be. Raises Unavailable."""
        leave = {"remove_member": RemoveMember(user_id=user_id)}
        answer = await self._change(user_id, chat_id, **leave)
        if isinstance(answer, Refusal) and answer.code is Code.FORBIDDEN:  # the owner, and others are members
            successor = await self._successor(user_id, chat_id)
            if isinstance(successor, Refusal):
                return successor
            answer = await self._change(
                user_id, chat_id, change_member=ChangeMember(user_id=successor, role=ROLE_OWNER)
            )
            if not isinstance(answer, Refusal):
                answer = await self._change(user_id, chat_id, **leave)
        if not isinstance(answer, Refusal):
            return None
        has_left = (answer.code, answer.field) == (Code.NOT_FOUND, "chat_id")
        return None if has_left else answer

    async def _change(self, user_id: int, chat_id: str, **change: Any) -> ChangeGroupResponse | Refusal:
        """Make a change as the user. Raises Unavailable."""
        request = ChangeGroupRequest(chat_id=chat_id, client_change_id=secrets.token_hex(16), **change)
        return await self._groups.change(request, await self._tokens.issue(user_id))

    async def _successor(self, user_id: int, chat_id: str) -> int | Refusal:
        """The next owner of a group: the longest-standing of the other members with the highest role. Of the first
        PAGE, suspended accounts come after active ones, and deleted ones last. Raises Unavailable."""
        first: list[Member] = []
        request = ListMembersRequest(user_id=user_id, chat_id=chat_id, limit=MAX_MEMBERS)
        while True:
            answer = await self._archive.list_members(request)
            if isinstance(answer, Refusal):
                return answer
            others = (member for member in answer.members if member.user_id != user_id)
            first = sorted([*first, *others], key=_rank)[:PAGE]
            if not answer.has_more:
                break
            request.after = answer.members[-1].user_id
        if not first:
            return _NO_SUCCESSOR
        heirs = [member.user_id for member in first]
        existing = [user.user_id for user in await self._accounts.users(heirs) if not user.is_deleted]
        statuses = await self._accounts.account_statuses(existing)
        active = [user_id for user_id in existing if not statuses[user_id].is_suspended]
        return (active or existing or heirs)[0]


def _rank(member: Member) -> tuple[int, int]:
    """The place of a member in the order of succession."""
    return -member.role, member.spans[-1].first if member.spans else 0


@asynccontextmanager
async def open_departures(
    accounts: AccountStore,
    archive: ArchiveQueries,
    groups: GroupChanges,
    tokens: DepartureTokens,
    *,
    clock_ms: Callable[[], int] = wall_clock_ms,
) -> AsyncIterator[Departures]:
    """Take deleted accounts out of their groups while the block is open; at first the ones of the last day."""
    async with open_background() as nursery, open_background() as resuming:
        departures = Departures(nursery, accounts, archive, groups, tokens, clock_ms)
        resuming.start_soon(departures.resume)
        yield departures
