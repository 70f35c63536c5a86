"""Deleted accounts leave their groups in the background: what gateways are asked for, repeats, and what is logged."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
import structlog
import trio
from trio.testing import MockClock

from bff import departures
from bff.departures import PAUSES, Departures, open_departures
from bff.services import ArchiveQueries
from rookery.v1.archive_pb2 import (
    CHAT_KIND_DIRECT,
    CHAT_KIND_GROUP,
    Chat,
    ListChatsRequest,
    ListChatsResponse,
    ListMembersRequest,
    ListMembersResponse,
)
from rookery.v1.group_service_pb2 import ChangeGroupRequest, ChangeGroupResponse, ChangeMember, RemoveMember
from rookery.v1.groups_pb2 import ROLE_ADMIN, ROLE_MEMBER, ROLE_OWNER, Member, Role, Span
from shared.accounts.administration import named
from shared.accounts.audit import Act, Actor, AuditEntry
from shared.accounts.departures import DepartureTokens
from shared.accounts.store import User
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import EPOCH_MS, first_id_at
from tests.bff.conftest import Api

GONE = Refusal(Code.NOT_FOUND, "There is no such chat among yours.", "chat_id")

AWAY = Refusal(Code.UNAVAILABLE, "Groups can't be changed now.")


def member(user_id: int, role: Role, since: int) -> Member:
    return Member(user_id=user_id, role=role, spans=[Span(first=since)])


class World:
    """An archive and a gateway with groups by chat id: their members, of whom user 1 leaves."""

    def __init__(self, groups: dict[str, list[Member]]) -> None:
        self.groups = groups
        self.changes: list[tuple[str, RemoveMember | ChangeMember]] = []
        self.tokens: list[str] = []
        self.closed: set[str] = set()
        """Groups that can't be changed now."""
        self.faults = 0
        self.lag_ms = 20_000
        """How far the archive is behind."""

    async def list_chats(self, request: ListChatsRequest) -> ListChatsResponse:
        """One chat on each page."""
        await trio.lowlevel.checkpoint()
        if self.faults:
            self.faults -= 1
            raise ZeroDivisionError
        found = [Chat(chat_id="d-1-2", kind=CHAT_KIND_DIRECT)]
        for chat_id, members in self.groups.items():
            own = next((each for each in members if each.user_id == 1), Member(user_id=1))
            found.append(Chat(chat_id=chat_id, kind=CHAT_KIND_GROUP, own=own))
        number = int(request.cursor or 0)
        return ListChatsResponse(
            chats=[found[number]],
            next_cursor=str(number + 1) if found[number + 1 :] else "",
            complete_up_to=first_id_at(trio_clock_ms() - self.lag_ms),
        )

    async def list_members(self, request: ListMembersRequest) -> ListMembersResponse:
        """Two on a page."""
        await trio.lowlevel.checkpoint()
        ordered = sorted(self.groups[request.chat_id], key=lambda member: member.user_id)
        members = [member for member in ordered if member.user_id > request.after]
        return ListMembersResponse(members=members[:2], has_more=len(members) > 2)

    async def change(self, request: ChangeGroupRequest, access_token: str) -> ChangeGroupResponse | Refusal:
        await trio.lowlevel.checkpoint()
        self.tokens.append(access_token)
        members = self.groups[request.chat_id]
        own = next((each for each in members if each.user_id == 1), None)
        change = getattr(request, str(request.WhichOneof("change")))
        if request.chat_id in self.closed:
            return AWAY
        if own is None:
            return GONE
        if isinstance(change, ChangeMember):
            own.role = ROLE_ADMIN
        elif own.role == ROLE_OWNER and len(members) > 1:
            return Refusal(Code.FORBIDDEN, "Hand the group over first.", "user_id")
        else:
            members.remove(own)
        self.changes.append((request.chat_id, change))
        return ChangeGroupResponse()


def trio_clock_ms() -> int:
    return EPOCH_MS + 10**9 + int(trio.current_time() * 1000)


async def depart(api: Api, world: World, *, users: int = 1, stop: bool = False) -> list[Any]:
    """Let user 1 leave, and return the logs."""
    tokens = DepartureTokens(api.accounts, api.services.issuer.keys)
    with structlog.testing.capture_logs() as logs:
        archive = cast(ArchiveQueries, world)
        async with open_departures(api.accounts, archive, world, tokens, clock_ms=trio_clock_ms) as opened:
            for _ in range(users):
                opened.begin(1)
            await trio.sleep(1)
            while opened._nursery.child_tasks and not stop:
                await trio.sleep(1)
    return [(line["event"], line["user_id"], line["reason"]) for line in logs if line["event"] == "groups_not_left"]


async def test_an_account_leaves_every_group_and_hands_its_own_over_to_the_eldest_of_the_highest_role(
    api: Api, autojump_clock: MockClock
) -> None:
    for user_id in (1, 2, 3, 4, 5):
        await api.accounts.add_user(User(user_id, f"user{user_id}", "", "", 1, 1), "no hash")
    await api.accounts.delete_user(1)
    await api.accounts.delete_user(3)
    world = World(
        {
            "g-1": [member(1, ROLE_MEMBER, 9), member(2, ROLE_OWNER, 1)],
            "g-2": [
                member(1, ROLE_OWNER, 1),
                member(2, ROLE_MEMBER, 2),
                member(3, ROLE_ADMIN, 3),  # deleted too
                member(4, ROLE_ADMIN, 5),
                member(5, ROLE_ADMIN, 4),
            ],
            "g-3": [member(1, ROLE_OWNER, 1)],
            "g-4": [member(2, ROLE_OWNER, 1)],
            "g-5": [member(1, ROLE_OWNER, 1), member(3, ROLE_MEMBER, 3)],
        }
    )
    assert await depart(api, world) == []
    leave = RemoveMember(user_id=1)
    assert world.changes == [
        ("g-1", leave),
        ("g-2", ChangeMember(user_id=5, role=ROLE_OWNER)),
        ("g-2", leave),
        ("g-3", leave),
        ("g-5", ChangeMember(user_id=3, role=ROLE_OWNER)),
        ("g-5", leave),
    ]
    verifier = DepartureTokens(api.accounts, api.services.issuer.keys)
    assert {await verifier.verify(token) for token in world.tokens} == {1}


async def test_a_suspended_account_becomes_the_owner_only_if_the_other_members_are_suspended_or_deleted(
    api: Api, autojump_clock: MockClock
) -> None:
    for user_id in (1, 2, 3, 4, 5):
        await api.accounts.add_user(User(user_id, f"user{user_id}", "", "", 1, 1), "no hash")
    for user_id in (1, 2, 4):
        await api.accounts.suspend(user_id, "abuse", 5)
    for user_id in (1, 4):
        await api.accounts.delete_user(user_id)
    owner, suspended, deleted = member(1, ROLE_OWNER, 1), member(2, ROLE_ADMIN, 3), member(4, ROLE_ADMIN, 2)
    world = World(
        {
            "g-1": [owner, suspended, member(3, ROLE_MEMBER, 5), member(5, ROLE_MEMBER, 4)],
            "g-2": [member(1, ROLE_OWNER, 1), suspended, deleted],
            "g-3": [member(1, ROLE_OWNER, 1), deleted],
        }
    )
    assert await depart(api, world) == []
    handed_over = [(chat_id, change.user_id) for chat_id, change in world.changes if isinstance(change, ChangeMember)]
    assert handed_over == [("g-1", 5), ("g-2", 2), ("g-3", 4)]


async def test_a_group_that_moves_to_a_page_that_was_read_already_is_left_too(
    api: Api, autojump_clock: MockClock
) -> None:
    class Moving(World):
        async def list_chats(self, request: ListChatsRequest) -> ListChatsResponse:
            """The group moves up after the first page."""
            page = await super().list_chats(request)
            if not request.changed_since_ms and request.cursor:
                page.Clear()
            return page

    await api.accounts.add_user(User(1, "user1", "", "", 1, 1), "no hash")
    await api.accounts.delete_user(1)
    world = Moving({"g-1": [member(1, ROLE_MEMBER, 9), member(2, ROLE_OWNER, 1)]})
    assert await depart(api, world) == []
    assert world.changes == [("g-1", RemoveMember(user_id=1))]


async def test_a_group_that_can_not_be_left_is_tried_again_while_others_are_left_and_logged_in_the_end(
    api: Api, autojump_clock: MockClock
) -> None:
    world = World({"g-1": [member(1, ROLE_MEMBER, 9)], "g-2": [member(1, ROLE_MEMBER, 9)]})
    world.closed = {"g-1"}
    world.faults = 1
    began = trio.current_time()
    assert await depart(api, world) == [("groups_not_left", "1", AWAY.message)]
    assert trio.current_time() - began >= sum(PAUSES)
    assert world.changes == [("g-2", RemoveMember(user_id=1))]
    assert len(world.tokens) == len(PAUSES)  # of all passes but the first, which a fault ended, and of g-2


async def test_a_group_that_archives_record_late_is_left_too(api: Api, autojump_clock: MockClock) -> None:
    class Late(World):
        async def list_chats(self, request: ListChatsRequest) -> ListChatsResponse:
            """The archive is 40 seconds behind: it has recorded the group a minute after the deletion."""
            page = await super().list_chats(request)
            if not page.next_cursor and trio.current_time() - began < 60:
                page.ClearField("chats")
            return page

    await api.accounts.add_user(User(1, "user1", "", "", 1, 1), "no hash")
    await api.accounts.delete_user(1)
    world = Late({"g-1": [member(1, ROLE_MEMBER, 9), member(2, ROLE_OWNER, 1)]})
    world.lag_ms = 40_000
    began = trio.current_time()
    assert await depart(api, world) == []
    assert world.changes == [("g-1", RemoveMember(user_id=1))]


async def test_an_account_whose_groups_archives_have_not_recorded_in_the_end_is_logged(
    api: Api, autojump_clock: MockClock
) -> None:
    world = World({})
    world.lag_ms = 1_000_000
    assert await depart(api, world) == [("groups_not_left", "1", departures._NOT_RECORDED.message)]


async def test_the_deletions_of_the_last_day_are_resumed_by_a_process_that_starts(
    api: Api, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads two entries of the audit log at once, and the store does not answer at first."""
    monkeypatch.setattr(departures, "PAGE", 2)
    store = api.accounts
    away = [Unavailable("away")]
    read = store.audit_entries

    async def audit_entries(**asked: Any) -> Sequence[AuditEntry]:
        if away:
            raise away.pop()
        return await read(**asked)

    monkeypatch.setattr(store, "audit_entries", audit_entries)
    now = trio_clock_ms()
    for age_hours, user_id in ((30, 1), (23, 2), (20, 3), (1, 4), (0, 4)):
        user = User(user_id, f"user{user_id}", "", "", 1, 1)
        await store.add_user(user, "no hash")
        at_ms = now - age_hours * 3_600_000
        entry = AuditEntry(f"{at_ms:020}", at_ms, Actor(), Act.DELETE_USER, named(user), "")
        await store.add_audit_entry(entry)
        await store.add_audit_entry(replace(entry, entry_id=f"{at_ms:020}-1", act=Act.SUSPEND_USER))
        if user_id != 3:  # its deletion was interrupted
            await store.delete_user(user_id)
    begun: list[int] = []
    monkeypatch.setattr(Departures, "begin", lambda _, user_id: begun.append(user_id))
    world, tokens = World({}), DepartureTokens(store, api.services.issuer.keys)
    async with open_departures(store, cast(ArchiveQueries, world), world, tokens, clock_ms=trio_clock_ms):
        while not begun:
            await trio.sleep(1)
    assert begun == [4, 2]


async def test_a_stop_and_too_many_accounts_are_logged(
    api: Api, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(departures, "MAX_ACCOUNTS", 20)
    world = World({"g-1": [member(1, ROLE_MEMBER, 9)]})
    reasons = [reason for _, _, reason in await depart(api, world, users=21, stop=True)]
    assert reasons == ["20 other accounts leave theirs", *["the process stops"] * 20]
