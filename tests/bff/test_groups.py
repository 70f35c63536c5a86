"""Groups over HTTP: the changes that gateways get, the queries that archives get, invalid requests, and the limits."""

from typing import Any
from urllib.parse import quote

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from bff import groups as module
from bff.groups import RECORDED_SECONDS, RETRY_SECONDS
from rookery.v1.archive_pb2 import (
    Chat,
    GetChatResponse,
    ListChatsResponse,
    ListMarksRequest,
    ListMarksResponse,
    ListMembersRequest,
    ListMembersResponse,
    Mark,
)
from rookery.v1.group_service_pb2 import (
    AddMembers,
    ChangeGroupRequest,
    ChangeGroupResponse,
    ChangeMember,
    ChangeSettings,
    CreateGroup,
    RemoveMember,
)
from rookery.v1.groups_pb2 import ROLE_ADMIN, ROLE_MEMBER, Control, GroupSettings, Member
from rookery.v1.session_pb2 import Event, Message
from shared.accounts.store import User
from shared.configuration.model import LiveConfiguration
from shared.contract.chats import group_chat_id
from shared.contract.errors import Code, Refusal
from shared.contract.ids import MAX_ID
from tests.bff.conftest import Api

GROUP = "/v1/chats/g-7"

UNKNOWN = Refusal(Code.NOT_FOUND, "There is no such chat among yours.", "chat_id")


@pytest.fixture
def configuration() -> LiveConfiguration:
    return LiveConfiguration(unknown_chats_per_minute=3)


@pytest.mark.parametrize(
    ("method", "path", "body", "change"),
    [
        (
            "PATCH",
            GROUP,
            {"expected_version": "4", "topic": "", "permissions": 0, "is_channel": False},
            {"expected_version": 4, "change_settings": ChangeSettings(topic="", permissions=0, is_channel=False)},
        ),
        (
            "POST",
            f"{GROUP}/members",
            {"user_ids": ["3", 4]},
            {"add_members": AddMembers(user_ids=[3, 4], role=ROLE_MEMBER)},
        ),
        (
            "PATCH",
            f"{GROUP}/members/3",
            {"role": "ROLE_ADMIN", "deny": "32"},
            {"change_member": ChangeMember(user_id=3, role=ROLE_ADMIN, deny=32)},
        ),
        ("DELETE", f"{GROUP}/members/3?client_change_id=x", None, {"remove_member": RemoveMember(user_id=3)}),
    ],
)
async def test_a_change_is_made_as_the_user_of_the_token_and_returns_its_event(
    api: Api, token: str, method: str, path: str, body: dict[str, Any] | None, change: dict[str, Any]
) -> None:
    event = Event(event_id=MAX_ID, message=Message(chat_id="g-7", control=Control(version=2)))
    api.groups.response = ChangeGroupResponse(event=event)
    api.archive.response = ListMembersResponse(version=2)
    reply = await api.call(method, path, body and body | {"client_change_id": "x"}, token=token)
    assert reply.body == {"event_id": str(MAX_ID), "message": {"chat_id": "g-7", "control": {"version": "2"}}}
    assert api.groups.changes == [(ChangeGroupRequest(chat_id="g-7", client_change_id="x", **change), token)]


async def test_the_response_to_a_change_waits_a_second_for_the_archive(
    api: Api, token: str, mock_clock: MockClock
) -> None:
    message = Message(chat_id="g-7", control=Control(version=2))
    api.groups.response = ChangeGroupResponse(event=Event(event_id=8, message=message))
    api.archive.response = UNKNOWN
    path = f"{GROUP}/members/3?client_change_id=x"

    async def delete() -> None:
        assert (await api.call("DELETE", path, token=token)).status == 200

    for recorded, seconds in ((ListMembersResponse(version=2), RETRY_SECONDS), (UNKNOWN, RECORDED_SECONDS)):
        api.archive.requests.clear()
        api.archive.response = UNKNOWN
        async with trio.open_nursery() as nursery:
            nursery.start_soon(delete)
            while not api.archive.requests:
                await trio.testing.wait_all_tasks_blocked(0.005)  # real time: a thread verifies the token
            api.archive.response = recorded
            mock_clock.jump(seconds)


async def test_a_group_with_999_others_is_created_under_the_id_that_a_retry_makes_again(api: Api, token: str) -> None:
    user_id = int((await api.call("GET", "/v1/me", token=token)).body["user_id"])
    others = [MAX_ID - number for number in range(999)]
    body = {"client_change_id": "x", "name": "n" * 128, "topic": "é" * 512, "user_ids": [str(each) for each in others]}
    for _ in range(2):
        assert (await api.call("POST", "/v1/chats", body | {"is_channel": True}, token=token)).status == 201
    settings = GroupSettings(name="n" * 128, topic="é" * 512, is_channel=True)
    create = CreateGroup(settings=settings, user_ids=others)
    chat_id = group_chat_id(user_id, "x")
    request = ChangeGroupRequest(chat_id=chat_id, client_change_id="x", create=create)
    assert api.groups.changes == [(request, token)] * 2


@pytest.mark.parametrize(
    ("method", "path", "body", "field", "limit"),
    [
        ("POST", "/v1/chats", {"client_change_id": "é" * 33, "name": "n"}, "client_change_id", "1 to 64 bytes"),
        ("POST", "/v1/chats", {"client_change_id": "x", "name": "é" * 65}, "name", "1 to 128 bytes"),
        ("POST", "/v1/chats", {"client_change_id": "x", "name": "n", "permissions": 0}, "permissions", "at least 1"),
        ("POST", "/v1/chats", {"client_change_id": "x", "name": "n", "user_ids": ["1"] * 1000}, "user_ids", "999"),
        ("PATCH", GROUP, {"client_change_id": "x", "topic": "é" * 513}, "topic", "at most 1024 bytes"),
        ("PATCH", GROUP, {"client_change_id": "x", "permissions": "512"}, "permissions", "at most 511"),
        ("POST", f"{GROUP}/members", {"client_change_id": "x", "user_ids": []}, "user_ids", "at least 1 entry"),
        ("PATCH", f"{GROUP}/members/3", {"client_change_id": "x", "role": "ROLE_KING"}, "role", "ROLE_OWNER"),
        ("DELETE", f"{GROUP}/members/3?client_change_id=", None, "client_change_id", "1 to 64 bytes"),
        ("GET", f"{GROUP}/members?limit=1001", None, "limit", "at most 1000"),
        ("GET", f"{GROUP}/profiles?name_contains={'n' * 65}", None, "name_contains", "at most 64 characters"),
        ("GET", f"{GROUP}/profiles?name_contains=n&limit=101", None, "limit", "at most 100"),
        ("GET", f"{GROUP}/profiles?name_contains=n&cursor={'n' * 257}", None, "cursor", "at most 256 characters"),
        ("GET", f"{GROUP}/members?user_ids={'1,' * 100}1", None, "user_ids", "at most 100"),
    ],
)
async def test_an_invalid_request_names_the_field_and_the_limit(
    api: Api, token: str, method: str, path: str, body: Any, field: str, limit: str
) -> None:
    reply = await api.call(method, path, body, token=token)
    assert reply.refusal == (422, "invalid", field)
    assert limit in reply.body["detail"]
    assert api.groups.changes == []


@pytest.mark.parametrize(("field", "value"), [("is_public", 0), ("shows_history", "yes"), ("is_channel", 1.0)])
async def test_a_setting_that_is_neither_true_nor_false_is_malformed(
    api: Api, token: str, field: str, value: object
) -> None:
    for method, path in (("POST", "/v1/chats"), ("PATCH", GROUP)):
        reply = await api.call(method, path, {"client_change_id": "x", "name": "n", field: value}, token=token)
        assert reply.refusal == (400, "malformed", field)
        assert "must be true or false" in reply.body["detail"]


async def test_members_and_marks_are_those_of_the_archive(api: Api, token: str) -> None:
    user_id = int((await api.call("GET", "/v1/me", token=token)).body["user_id"])
    members = await api.call("GET", f"{GROUP}/members?after=5&limit=1000", token=token)
    await api.call("GET", f"{GROUP}/members?user_ids=3,4", token=token)
    marks = await api.call("GET", f"{GROUP}/marks?from_id=9", token=token)
    assert (members.body, marks.body) == ({"members": [], "has_more": False, "version": "0"}, {"marks": []})
    assert api.archive.requests == [
        ListMembersRequest(user_id=user_id, chat_id="g-7", after=5, limit=1000),
        ListMembersRequest(user_id=user_id, chat_id="g-7", limit=100, user_ids=[3, 4]),
        ListMarksRequest(user_id=user_id, chat_id="g-7", from_id=9),
    ]


class Members:
    """Answers queries for the members of g-7 as an archive does, and counts them."""

    def __init__(self, *user_ids: int) -> None:
        self.user_ids = {*user_ids}
        self.queries = 0

    async def list_members(self, request: ListMembersRequest) -> ListMembersResponse:
        assert 0 < len(request.user_ids) <= 100
        assert request.user_id in self.user_ids
        self.queries += 1
        return ListMembersResponse(members=[Member(user_id=each) for each in self.user_ids & {*request.user_ids}])


@pytest.fixture
async def members(api: Api, token: str, monkeypatch: pytest.MonkeyPatch) -> Members:
    """The members of g-7: at first this user."""
    members = Members(int((await api.call("GET", "/v1/me", token=token)).body["user_id"]))
    monkeypatch.setattr(api.archive, "list_members", members.list_members)
    return members


async def add_accounts(api: Api, *names: str) -> list[int]:
    users = [User.new(number, name, None, 0) for number, name in enumerate(names, 101)]
    for user in users:
        await api.accounts.add_user(user, "hash")
    return [user.user_id for user in users]


async def test_a_member_is_found_after_a_hundred_accounts_with_such_names_that_are_no_members(
    api: Api, token: str, members: Members
) -> None:
    *_, anton = await add_accounts(api, *(f"ann-{number:03}" for number in range(150)), "anton")
    members.user_ids.add(anton)
    found = await api.call("GET", f"{GROUP}/profiles?name_contains=an", token=token)
    (profile,) = found.body["profiles"]
    assert (profile["name"], profile["display_name"], found.body["next_cursor"]) == ("anton", "anton", "")


async def test_pages_of_found_members_neither_skip_nor_repeat_and_begin_with_the_member_of_this_name(
    api: Api, token: str, members: Members
) -> None:
    names = ["ann", *sorted(f"{first}ann{number}" for first in "ab-z" for number in range(30))]
    ids = await add_accounts(api, *names)
    members.user_ids |= {user_id for user_id in ids if user_id % 3 != 0}
    expected = [name for name, user_id in zip(names, ids, strict=True) if user_id % 3 != 0]
    assert expected[0] == "ann"
    for limit in (1, 2, 7, 79, 80, 81, 100):
        found, cursor = list[str](), ""
        while True:
            path = f"{GROUP}/profiles?name_contains=%40Ann&limit={limit}&cursor={quote(cursor)}"
            page = (await api.call("GET", path, token=token)).body
            assert len(page["profiles"]) <= limit
            found += [profile["name"] for profile in page["profiles"]]
            if not (cursor := page["next_cursor"]):
                break
        assert found == expected, limit


async def test_a_search_of_members_reads_a_bounded_number_of_accounts_and_the_next_page_reads_on(
    api: Api, token: str, members: Members, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SEARCHED", 200)
    *_, anton = await add_accounts(api, *(f"ann-{number:03}" for number in range(250)), "anton")
    members.user_ids.add(anton)
    path = f"{GROUP}/profiles?name_contains=an"
    first = await api.call("GET", path, token=token)
    assert (first.body, members.queries) == ({"profiles": [], "next_cursor": "ann-199"}, 3)
    second = await api.call("GET", f"{path}&cursor=ann-199", token=token)
    assert ([each["name"] for each in second.body["profiles"]], second.body["next_cursor"]) == (["anton"], "")


async def test_only_members_find_members(api: Api, token: str) -> None:
    await add_accounts(api, "anton")
    path = f"{GROUP}/profiles?name_contains=anton"
    former = await api.call("GET", path, token=token)
    assert (former.status, former.body) == (200, {"profiles": [], "next_cursor": ""})
    api.archive.response = UNKNOWN
    assert (await api.call("GET", path, token=token)).refusal == (404, "not_found", "chat_id")
    assert len(api.archive.requests) == 2  # neither was told which of the accounts are members


async def test_read_marks_are_hidden_of_and_from_users_who_show_none(api: Api, token: str) -> None:
    names = {name: int((await api.register(name))["user_id"]) for name in ("ben", "cat")}
    own = int((await api.call("GET", "/v1/me", token=token)).body["user_id"])
    marks = [Mark(user_id=each, delivered_up_to=8, read_up_to=7) for each in (own, *names.values())]
    chat = Chat(chat_id="d-1-2", marks=marks)

    async def readers() -> list[list[int]]:
        lists = []
        for path, response in (
            ("/v1/chats", ListChatsResponse(chats=[chat])),
            ("/v1/chats/d-1-2", GetChatResponse(chat=chat)),
            (f"{GROUP}/marks", ListMarksResponse(marks=marks)),
        ):
            api.archive.response = type(response).FromString(response.SerializeToString())
            body = (await api.call("GET", path, token=token)).body
            listed = body["chats"][0]["marks"] if path == "/v1/chats" else body["marks"]
            assert all(mark["delivered_up_to"] == "8" for mark in listed)
            lists.append([int(mark["user_id"]) for mark in listed if "read_up_to" in mark])
        return lists

    assert await readers() == [[own, *names.values()]] * 3
    hidden = {"shows_read_marks": False, "version": 1}
    bens = (await api.sign_in("ben"))["access_token"]
    assert (await api.call("PATCH", "/v1/me", hidden, token=bens)).body["shows_read_marks"] is False
    assert await readers() == [[own, names["cat"]]] * 3
    await api.call("PATCH", "/v1/me", hidden, token=token)
    assert await readers() == [[own]] * 3


async def test_the_mark_of_a_user_who_shows_none_is_left_out_before_they_read_too(api: Api, token: str) -> None:
    """Else it would disappear when they read."""
    ben = int((await api.register("ben"))["user_id"])
    bens = (await api.sign_in("ben"))["access_token"]
    await api.call("PATCH", "/v1/me", {"shows_read_marks": False, "version": 1}, token=bens)
    for read_up_to in (0, 7):
        mark = Mark(user_id=ben, delivered_up_to=8, read_up_to=read_up_to)
        api.archive.response = ListMarksResponse(marks=[mark])
        assert (await api.call("GET", f"{GROUP}/marks", token=token)).body == {"marks": []}


async def test_requests_for_chats_of_others_are_limited_at_all_routes_together(
    api: Api, token: str, mock_clock: MockClock
) -> None:
    api.archive.response = api.groups.response = UNKNOWN
    change = {"client_change_id": "x"}
    assert (await api.call("PATCH", GROUP, change, token=token)).refusal == (404, "not_found", "chat_id")
    assert (await api.call("PATCH", "/v1/chats/d-1-2", change, token=token)).refusal == (404, "not_found", "chat_id")
    assert (await api.call("GET", f"{GROUP}/messages", token=token)).status == 404
    paths = ("", "/messages", "/changes?after=1", "/members", "/profiles?name_contains=n", "/marks")
    for path in (GROUP + each for each in paths):
        reply = await api.call("GET", path, token=token)
        assert (reply.status, reply.body["code"], reply.body["retry_after_ms"]) == (429, "rate_limited", 20_000), path
    assert (await api.call("GET", "/v1/chats/g-7/messages/1/versions?kind=edited", token=token)).status == 429
    assert (await api.call("PATCH", GROUP, change, token=token)).status == 429
    await api.register("bob")
    other = (await api.sign_in("bob"))["access_token"]
    assert (await api.call("GET", GROUP, token=other)).status == 404
    mock_clock.jump(20)
    api.archive.response = None
    assert [(await api.call("GET", GROUP, token=token)).status for _ in range(9)] == [200] * 9
