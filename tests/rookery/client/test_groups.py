"""Groups are changed over HTTP: each change once, however often its request is repeated."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from rookery.client import (
    ROLE_ADMIN,
    ROLE_GUEST,
    Client,
    FoundMembers,
    GroupInvite,
    Groups,
    JoinRequest,
    NewGroupInvite,
    Permission,
    Profile,
    PublicChats,
    Refused,
    Unreachable,
)
from rookery.client.http import REPEAT_SECONDS

ANSWER = {
    "event_id": "5",
    "message": {"message_id": "5", "chat_id": "g-1", "sender_id": "7", "control": {"version": "2"}},
}

UNAVAILABLE = 503, {"code": "unavailable", "detail": "Not now."}


@pytest.mark.parametrize(
    ("change", "request_line", "body"),
    [
        (
            lambda groups: groups.create("Engines", [9, 10], permissions=Permission.POST | Permission.REACT),
            "POST /v1/chats",
            {
                **{"name": "Engines", "topic": "", "user_ids": ["9", "10"], "permissions": "3"},
                **{"shows_history": False, "is_public": False, "asks_to_join": False, "is_channel": False},
            },
        ),
        (
            lambda groups: groups.change_settings("g-1", topic="", expected_version=3),
            "PATCH /v1/chats/g-1",
            {"topic": "", "expected_version": "3"},
        ),
        (
            lambda groups: groups.add_members("g-1", [9], role=ROLE_GUEST),
            "POST /v1/chats/g-1/members",
            {"user_ids": ["9"], "role": "ROLE_GUEST"},
        ),
        (
            lambda groups: groups.change_member("g-1", 9, role=ROLE_ADMIN, deny=0),
            "PATCH /v1/chats/g-1/members/9",
            {"role": "ROLE_ADMIN", "deny": "0"},
        ),
        (
            lambda groups: groups.change_settings("g-1", is_channel=True, avatar="g-1.x"),
            "PATCH /v1/chats/g-1",
            {"is_channel": True, "avatar": "g-1.x"},
        ),
        (lambda groups: groups.join("1./"), "POST /v1/joining/1.%2F", {}),
        (lambda groups: groups.join_public("g-1"), "POST /v1/public-chats/g-1/joining", {}),
    ],
)
async def test_a_change_is_one_request_and_returns_its_message(
    client: Client, bff: Any, change: Callable[[Groups], Awaitable[Any]], request_line: str, body: dict[str, Any]
) -> None:
    bff.answers[request_line] = 200, ANSWER
    message = await change(client.groups)
    assert (message.message_id, message.control.version) == (5, 2)
    assert bff.bodies[-1].pop("client_change_id")
    assert bff.bodies[-1] == body


async def test_links_and_requests_to_join_are_made_listed_and_ended(client: Client, bff: Any) -> None:
    invite = {"invite_id": "8", "creator_id": "7", "expires_at_ms": "0", "max_uses": 2, "uses": 1, "is_revoked": False}
    invite["is_usable"] = True
    chat = {"chat_id": "g-1", "name": "n", "topic": "", "members": 3, "is_member": False, "asks_to_join": True}
    chat["has_asked"] = False
    bff.answers = {
        "POST /v1/chats/g-1/invites": (201, {"invite": invite, "token": "1.s"}),
        "GET /v1/chats/g-1/invites": (200, {"invites": [invite], "version": "2"}),
        "DELETE /v1/chats/g-1/invites/8?client_change_id=mine": (200, ANSWER),
        "GET /v1/joining/1.s": (200, chat),
        "GET /v1/public-chats?query=n&after=&limit=20": (200, {"chats": [chat], "has_more": True, "after": "m"}),
        "GET /v1/chats/g-1/requests": (200, {"requests": [{"user_id": "9", "asked_at_ms": "4"}], "version": "2"}),
        "DELETE /v1/chats/g-1/requests/9?client_change_id=mine": (200, ANSWER),
    }
    groups, made = client.groups, GroupInvite(8, 7, 0, 2, 1, is_revoked=False, is_usable=True)
    assert await groups.create_invite("g-1", expires_in=0.5, max_uses=2) == NewGroupInvite(made, "1.s")
    assert (bff.bodies[-1]["expires_in_seconds"], bff.bodies[-1]["max_uses"]) == (1, 2)
    assert await groups.invites("g-1") == [made]
    assert (await groups.revoke_invite("g-1", 8, client_change_id="mine")).message_id == 5
    shown = await groups.joinable("1.s")
    assert (shown.name, shown.members, shown.has_asked) == ("n", 3, False)
    assert await groups.public("n") == PublicChats([shown], has_more=True, after="m")
    assert await groups.requests("g-1") == [JoinRequest(9, 4)]
    assert (await groups.decline("g-1", 9, client_change_id="mine")).message_id == 5


async def test_a_user_leaves_and_members_and_marks_are_read(client: Client, bff: Any) -> None:
    bff.answers = {
        "DELETE /v1/chats/g-1/members/7?client_change_id=mine": (200, ANSWER),
        "GET /v1/chats/g-1/members?after=9&limit=1000": (200, {"members": [{"user_id": "10"}], "version": "2"}),
        "GET /v1/chats/g-1/marks?from_id=5": (200, {"marks": [{"user_id": "9", "read_up_to": "6"}]}),
    }
    assert (await client.groups.leave("g-1", client_change_id="mine")).chat_id == "g-1"
    assert [member.user_id for member in (await client.groups.members("g-1", after=9)).members] == [10]
    assert [mark.read_up_to for mark in (await client.groups.marks("g-1", from_id=5)).marks] == [6]


async def test_members_are_found_by_name_page_by_page(client: Client, bff: Any) -> None:
    anne = {"user_id": "9", "name": "anne", "display_name": "Anne", "about": "", "avatar": "", "deleted": False}
    path = "GET /v1/chats/g-1/profiles?name_contains=an&limit=20&cursor="
    bff.answers = {
        path: (200, {"profiles": [], "next_cursor": "andy"}),
        f"{path}andy": (200, {"profiles": [anne], "next_cursor": ""}),
    }
    assert await client.groups.find_members("g-1", "an") == FoundMembers([], "andy")
    found = await client.groups.find_members("g-1", "an", cursor="andy")
    assert found == FoundMembers([Profile(9, "anne", "Anne", "")], "")


async def test_a_change_without_an_answer_is_repeated_with_its_client_id_and_a_refused_one_is_not(
    client: Client, bff: Any, autojump_clock: MockClock
) -> None:
    bff.answers["POST /v1/chats"] = 200, ANSWER
    bff.failures = [
        UNAVAILABLE,
        (504, {"code": "timed_out"}),
        (429, {"code": "rate_limited", "retry_after_ms": "9000"}),
    ]
    begin = trio.current_time()
    await client.groups.create("Engines")
    assert 9 < trio.current_time() - begin < 13
    ids = [body["client_change_id"] for body in bff.bodies[-4:]]
    assert len(set(ids)) == 1
    bff.failures = [(403, {"code": "forbidden", "detail": "No."})]
    with pytest.raises(Refused, match="No"):
        await client.groups.create("Engines")


async def test_a_request_that_has_to_wait_longer_than_it_is_repeated_is_refused_at_once(
    client: Client, bff: Any, autojump_clock: MockClock
) -> None:
    bff.failures = [(429, {"code": "rate_limited", "retry_after_ms": "360000"})]
    begin = trio.current_time()
    with pytest.raises(Refused) as caught:
        await client.groups.create("Engines")
    assert (caught.value.retry_after_ms, trio.current_time() - begin) == (360_000, 0)


@pytest.mark.parametrize(("is_down", "error"), [(True, Unreachable), (False, Refused)])
async def test_a_change_that_gets_no_answer_in_time_can_be_repeated_by_its_caller(
    client: Client, bff: Any, autojump_clock: MockClock, is_down: bool, error: type[Unreachable | Refused]
) -> None:
    bff.down, bff.failures = is_down, [UNAVAILABLE] * 100
    begin = trio.current_time()
    with pytest.raises(error) as caught:
        await client.groups.create("Engines", client_change_id="mine")
    assert REPEAT_SECONDS - 5 < trio.current_time() - begin <= REPEAT_SECONDS
    assert isinstance(caught.value, Unreachable | Refused)
    assert caught.value.client_id == "mine"
