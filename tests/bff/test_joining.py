"""Joining groups over HTTP: invite links and their tokens, public groups, requests to join, and guesses of tokens."""

from typing import Any

import pytest
from trio.testing import MockClock

from bff.joining import ADDRESS_FACTOR
from rookery.v1.archive_pb2 import (
    GetGroupRequest,
    GetGroupResponse,
    Group,
    ListMembersResponse,
    ListPublicChatsRequest,
    ListPublicChatsResponse,
    PublicChat,
)
from rookery.v1.group_service_pb2 import ChangeGroupRequest, ChangeGroupResponse, DeclineUser, Join, RevokeInvite
from rookery.v1.groups_pb2 import ROLE_GUEST, ROLE_MEMBER, ROLE_OWNER, Control, GroupSettings, Invite, Member, Span
from rookery.v1.session_pb2 import Event, Message
from shared.accounts.store import User
from shared.configuration.model import LiveConfiguration
from shared.contract.errors import Code, Refusal
from shared.contract.groups import DEFAULT_PERMISSIONS
from shared.contract.joining import NO_LINK, JoinToken, secret_hash
from tests.bff.conftest import Api

GROUP = "/v1/chats/g-7"
OWNER = 5
LINK = JoinToken.of("g-7", bytes(16))
JOINING = f"/v1/joining/{LINK}"
PUBLIC = "/v1/public-chats"
SETTINGS = GroupSettings(name="Rowing", topic="Tuesdays", permissions=DEFAULT_PERMISSIONS, asks_to_join=True)
CHANGE = {"client_change_id": "x"}


@pytest.fixture
def configuration() -> LiveConfiguration:
    return LiveConfiguration(unknown_chats_per_minute=2)


def group(*members: Member, **values: Any) -> GetGroupResponse:
    """A group with an owner, these members and one invite link."""
    invite = Invite(**{"invite_id": 9, "secret_hash": secret_hash(LINK.secret), "creator_id": OWNER, **values})
    owner = Member(user_id=OWNER, role=ROLE_OWNER, spans=[Span(first=1)])
    return GetGroupResponse(
        group=Group(chat_id="g-7", version=3, settings=SETTINGS, members=[owner, *members], invites=[invite])
    )


def answered(*members: Member, invites: tuple[Invite, ...] = ()) -> ChangeGroupResponse:
    control = Control(version=2, members=members, invites=invites)
    return ChangeGroupResponse(event=Event(event_id=8, message=Message(chat_id="g-7", control=control)))


async def own_id(api: Api, token: str) -> int:
    return int((await api.call("GET", "/v1/me", token=token)).body["user_id"])


async def test_a_new_link_has_a_token_of_which_the_group_gets_the_hash_and_a_retry_the_same(
    api: Api, token: str
) -> None:
    api.archive.response = ListMembersResponse(version=2)
    tokens = []
    for client_id in ("x", "x", "y"):
        body = {"client_change_id": client_id, "expires_in_seconds": 60, "max_uses": "3"}
        await api.call("POST", f"{GROUP}/invites", body, token=token)
        create = api.groups.changes[-1][0].create_invite
        assert (create.expires_at_ms, create.max_uses) == (api.clock.now_ms + 60_000, 3)
        invite = Invite(invite_id=8, secret_hash=create.secret_hash, creator_id=5, expires_at_ms=1, max_uses=3)
        api.groups.response = answered(invites=(Invite(is_revoked=True), invite))
        reply = await api.call("POST", f"{GROUP}/invites", body, token=token)
        parsed = JoinToken.parse(reply.body["token"])
        assert parsed is not None
        assert (reply.status, parsed.chat_id, secret_hash(parsed.secret)) == (201, "g-7", create.secret_hash)
        assert reply.body["invite"] == {
            **{"invite_id": "8", "creator_id": "5", "expires_at_ms": "1", "max_uses": 3, "uses": 0},
            **{"is_revoked": False, "is_usable": True},
        }
        tokens.append(reply.body["token"])
        api.groups.response = Refusal(Code.FORBIDDEN, "no")
    assert tokens[0] == tokens[1] != tokens[2]
    body = {"client_change_id": "z", "expires_in_seconds": 0}
    assert (await api.call("POST", f"{GROUP}/invites", body, token=token)).status == 403
    api.groups.response = Refusal(Code.INVALID, "It ends too soon.", "expires_at_ms")
    refused = await api.call("POST", f"{GROUP}/invites", body, token=token)
    assert refused.refusal == (422, "invalid", "expires_in_seconds")
    assert not api.groups.changes[-1][0].create_invite.expires_at_ms


@pytest.mark.parametrize(
    ("method", "path", "body", "change"),
    [
        ("DELETE", f"{GROUP}/invites/9?client_change_id=x", None, {"revoke_invite": RevokeInvite(invite_id=9)}),
        ("DELETE", f"{GROUP}/requests/6?client_change_id=x", None, {"decline_user": DeclineUser(user_id=6)}),
        ("POST", JOINING, CHANGE, {"join": Join(secret=LINK.secret)}),
        ("POST", f"{PUBLIC}/g-7/joining", CHANGE, {"join": Join()}),
    ],
)
async def test_a_change_returns_its_event(
    api: Api, token: str, method: str, path: str, body: dict[str, str] | None, change: dict[str, Any]
) -> None:
    asked = Member(user_id=await own_id(api, token), asked_at_ms=4)
    api.groups.response, api.archive.response = answered(asked), group()
    reply = await api.call(method, path, body, token=token)
    assert (reply.status, reply.body["message"]["control"]["members"][0]["asked_at_ms"]) == (200, "4")
    assert api.groups.changes == [(ChangeGroupRequest(chat_id="g-7", client_change_id="x", **change), token)]


async def test_links_and_requests_are_listed_for_members_who_may_add_members(api: Api, token: str) -> None:
    user_id = await own_id(api, token)
    asking = [Member(user_id=each, asked_at_ms=100 - each) for each in (6, 7)]
    member = Member(user_id=user_id, role=ROLE_MEMBER, spans=[Span(first=1)])
    api.archive.response = group(member, *asking, uses=2)
    (invite,) = (invites := (await api.call("GET", f"{GROUP}/invites", token=token)).body)["invites"]
    assert (invite["invite_id"], invite["uses"], invite["is_usable"], invites["version"]) == ("9", 2, True, "3")
    api.archive.response = group(member, uses=1, max_uses=1)
    assert not (await api.call("GET", f"{GROUP}/invites", token=token)).body["invites"][0]["is_usable"]
    api.archive.response = group(member, *asking)
    assert (await api.call("GET", f"{GROUP}/requests", token=token)).body == {
        "requests": [{"user_id": "7", "asked_at_ms": "93"}, {"user_id": "6", "asked_at_ms": "94"}],
        "version": "3",
    }
    await api.accounts.add_user(User(7, "gone", "", "", 1, 1), "no hash")
    await api.accounts.delete_user(7)
    remaining = (await api.call("GET", f"{GROUP}/requests", token=token)).body["requests"]
    assert [each["user_id"] for each in remaining] == ["6"]
    member.role = ROLE_GUEST
    api.archive.response = group(member)
    assert (await api.call("GET", f"{GROUP}/requests", token=token)).refusal == (403, "forbidden", "")
    for response in (group(), GetGroupResponse()):
        api.archive.response = response
        assert (await api.call("GET", f"{GROUP}/invites", token=token)).refusal == (404, "not_found", "chat_id")
    assert (await api.call("GET", f"{GROUP}/requests", token=token)).status == 429, "these are guesses"


async def test_a_link_shows_the_group_while_it_is_valid_and_to_members_and_users_who_wait_by_it(
    api: Api, token: str
) -> None:
    user_id = await own_id(api, token)
    asked = Member(user_id=user_id, asked_at_ms=1, invite_id=9)
    member = Member(user_id=user_id, role=ROLE_MEMBER, spans=[Span(first=1)])
    shown = {"chat_id": "g-7", "name": "Rowing", "topic": "Tuesdays", "asks_to_join": True, "avatar": ""}
    channel = group(member)
    channel.group.settings.is_channel, channel.group.member_count = True, 100_000
    removed = group(Member(user_id=user_id, was_removed=True, spans=[Span(first=1, last=2)]))
    removed.group.settings.asks_to_join = False
    for response, members, *own in (
        (group(), 1, False, False, False),
        (group(asked), 1, False, True, False),
        (group(asked, max_uses=1, uses=1), 1, False, True, False),
        (group(asked, is_revoked=True), 1, False, True, False),
        (removed, 1, False, False, False),
        (group(member, is_revoked=True), 2, True, False, False),
        (channel, 100_000, True, False, True),
    ):
        api.archive.response = response
        reply = await api.call("GET", JOINING, token=token)
        fields = zip(("is_member", "has_asked", "is_channel"), own, strict=True)
        assert reply.body == {**shown, "members": members, **dict(fields)}
        assert api.archive.requests[-1] == GetGroupRequest(chat_id="g-7", user_ids=[user_id])


async def test_a_link_that_has_ended_is_unknown_to_a_user_who_waits_by_another_one(api: Api, token: str) -> None:
    asked = Member(user_id=await own_id(api, token), asked_at_ms=1, invite_id=8)
    api.archive.response = group(asked, max_uses=1, uses=1)
    assert (await api.call("GET", JOINING, token=token)).refusal == (404, "not_found", "token")


@pytest.mark.parametrize(
    ("response", "link"),
    [
        (GetGroupResponse(), JOINING),
        (group(is_revoked=True), JOINING),
        (group(expires_at_ms=1_800_000_000_000), JOINING),
        (group(max_uses=1, uses=1), JOINING),
        (group(creator_id=6), JOINING),
        (group(secret_hash=b"other"), JOINING),
        (group(), "/v1/joining/x"),
        (group(), f"/v1/joining/9999999999999999999.{LINK.secret}"),
    ],
)
async def test_every_other_link_gets_one_answer(api: Api, token: str, response: GetGroupResponse, link: str) -> None:
    api.archive.response, api.groups.response = response, NO_LINK
    for method, body in (("GET", None), ("POST", CHANGE)):
        reply = await api.call(method, link, body, token=token)
        assert (reply.refusal, reply.body["detail"]) == ((404, "not_found", "token"), NO_LINK.message)


async def test_guesses_of_tokens_are_limited_by_user_and_by_address(
    api: Api, token: str, mock_clock: MockClock
) -> None:
    api.archive.response, api.groups.response = group(), answered(Member())
    for _ in range(9):
        assert (await api.call("GET", JOINING, token=token)).status == 200
    api.archive.response = GetGroupResponse()
    statuses = [(await api.call("GET", JOINING, token=token)).status for _ in range(3)]
    assert statuses == [404, 404, 429]
    assert (await api.call("POST", JOINING, CHANGE, token=token, address="192.0.2.9")).status == 429
    for number in range(ADDRESS_FACTOR - 1):
        await api.register(f"guesser{number}")
        other = (await api.sign_in(f"guesser{number}"))["access_token"]
        assert [(await api.call("GET", JOINING, token=other)).status for _ in range(2)] == [404, 404]
    await api.register("last")
    last = (await api.sign_in("last"))["access_token"]
    assert (await api.call("GET", JOINING, token=last)).status == 429
    assert (await api.call("GET", JOINING, token=last, address="192.0.2.9")).status == 404


async def test_public_groups_page_by_page(api: Api, token: str) -> None:
    user_id = await own_id(api, token)
    own = Member(user_id=user_id, asked_at_ms=1)
    chat = PublicChat(chat_id="g-7", settings=SETTINGS, member_count=4, own=own)
    api.archive.response = ListPublicChatsResponse(chats=[chat], next_cursor="n")
    reply = await api.call("GET", f"{PUBLIC}?query=row&limit=1&after=m", token=token)
    (listed,) = reply.body["chats"]
    assert (listed["members"], listed["is_member"], listed["has_asked"]) == (4, False, True)
    assert (reply.body["has_more"], reply.body["after"]) == (True, "n")
    assert api.archive.requests == [ListPublicChatsRequest(user_id=user_id, query="row", limit=1, cursor="m")]
    api.archive.response = Refusal(Code.INVALID, "bad", "cursor")
    assert (await api.call("GET", f"{PUBLIC}?query=", token=token)).refusal == (422, "invalid", "after")


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "limit"),
    [
        ("POST", f"{GROUP}/invites", {**CHANGE, "expires_in_seconds": 31_536_001}, "expires_in_seconds", "31536000"),
        ("POST", f"{GROUP}/invites", {**CHANGE, "max_uses": 10_001}, "max_uses", "10000"),
        ("POST", JOINING, {"client_change_id": ""}, "client_change_id", "1 to 64 bytes"),
        ("GET", f"{PUBLIC}?query={'x' * 65}", None, "query", "64"),
        ("GET", f"{PUBLIC}?limit=101", None, "limit", "100"),
    ],
)
async def test_an_invalid_request_names_the_field_and_the_limit(
    api: Api, token: str, method: str, path: str, body: Any, field: str, limit: str
) -> None:
    reply = await api.call(method, path, body, token=token)
    assert reply.refusal == (422, "invalid", field)
    assert limit in reply.body["detail"]
