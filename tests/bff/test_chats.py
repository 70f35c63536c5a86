"""Chats and history: the requests to the archive, its responses and refusals over HTTP, and its time-outs."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock

from bff.http.endpoints import REQUEST_DEADLINE
from rookery.client.errors import Refused
from rookery.v1.archive_grpc import ArchiveServiceServicer
from rookery.v1.archive_pb2 import (
    Chat,
    ChatKind,
    GetChatRequest,
    GetChatResponse,
    HistoryMessage,
    ListChangesRequest,
    ListChangesResponse,
    ListChatsRequest,
    ListChatsResponse,
    ListMessagesRequest,
    ListMessagesResponse,
    ListVersionsRequest,
)
from rookery.v1.session_pb2 import Change, Deleted, Edited, Event, Mention, Message, Reacted, Text
from shared.archive import ArchiveClient
from shared.contract.errors import Code, Refusal
from shared.rpc import open_channel, serve_rpc
from tests.bff.conftest import Api

BIG = 2**62 + 1

PATIENCE = 20.0
"""Seconds; only ends a test that has failed."""


@pytest.fixture
async def user_id(api: Api, token: str) -> int:
    return int((await api.call("GET", "/v1/me", token=token)).body["user_id"])


async def test_empty_lists_have_every_key(api: Api, token: str) -> None:
    for path, empty in (
        ("/v1/chats", {"chats": [], "next_cursor": "", "complete_up_to": "0"}),
        (
            "/v1/chats/d-1-2/messages",
            {"messages": [], "has_older": False, "has_newer": False, "complete_up_to": "0"},
        ),
        ("/v1/chats/d-1-2/changes?after=1", {"events": [], "too_old": False, "complete_up_to": "0"}),
        ("/v1/chats/d-1-2/messages/1/versions?kind=edited", {"changes": []}),
    ):
        reply = await api.call("GET", path, token=token)
        assert (reply.status, reply.body) == (200, empty)


async def test_chats_are_requested_as_the_signed_in_user(api: Api, token: str, user_id: int) -> None:
    await api.call("GET", "/v1/chats?changed_since_ms=123&limit=7&cursor=abc%3D", token=token)
    await api.call("GET", "/v1/chats", token=token)
    assert api.archive.requests == [
        ListChatsRequest(user_id=user_id, changed_since_ms=123, limit=7, cursor="abc="),
        ListChatsRequest(user_id=user_id, limit=50),
    ]


async def test_history_is_requested_at_each_anchor(api: Api, token: str, user_id: int) -> None:
    for anchor in ("before_id", "after_id", "around_id", "before_ms", "after_ms", "around_ms"):
        await api.call("GET", f"/v1/chats/d-1-2/messages?{anchor}={BIG}&limit=9", token=token)
        fields: dict[str, Any] = {anchor: BIG}
        assert api.archive.requests[-1] == ListMessagesRequest(user_id=user_id, chat_id="d-1-2", limit=9, **fields)
        await api.call("GET", f"/v1/chats/d-1-2/messages?{anchor}=0", token=token)
        assert api.archive.requests[-1].WhichOneof("anchor") == anchor


async def test_changes_versions_and_pins_are_requested_as_the_signed_in_user(
    api: Api, token: str, user_id: int
) -> None:
    fields: dict[str, Any] = {"user_id": user_id, "chat_id": "d-1-2"}
    for path, request in (
        (f"changes?after={BIG}", ListChangesRequest(**fields, after=BIG)),
        (f"messages/{BIG}/versions?kind=edited", ListVersionsRequest(**fields, message_id=BIG, kind="edited")),
        ("messages?having=pinned&limit=9", ListMessagesRequest(**fields, having="pinned", limit=9)),
    ):
        assert (await api.call("GET", f"/v1/chats/d-1-2/{path}", token=token)).status == 200
        assert api.archive.requests[-1] == request
        api.archive.response = Refusal(Code.NOT_FOUND, "There is no such chat.", "chat_id")
        assert (await api.call("GET", f"/v1/chats/d-1-2/{path}", token=token)).refusal == (404, "not_found", "chat_id")
        api.archive.response = None


async def test_a_feed_is_its_events_and_where_to_continue(api: Api, token: str) -> None:
    text = Text(body="@Ada", mentions=[Mention(user_id=BIG, name="Ada")])
    event = Event(event_id=5, message=Message(message_id=5, text=text, forwarded=True))
    api.archive.response = ListChangesResponse(events=[event], complete_up_to=BIG)
    reply = await api.call("GET", "/v1/chats/d-1-2/changes?after=0", token=token)
    in_json = {"body": "@Ada", "mentions": [{"user_id": str(BIG), "name": "Ada"}]}
    events = [{"event_id": "5", "message": {"message_id": "5", "text": in_json, "forwarded": True}}]
    assert reply.body == {"events": events, "too_old": False, "complete_up_to": str(BIG)}


async def test_ids_and_times_are_strings_in_json(api: Api, token: str) -> None:
    message = Message(message_id=BIG, chat_id="d-1-2", sender_id=1, client_message_id="x", text=Text(body="<b>hi</b>"))
    edit = Event(event_id=7, change=Change(edited=Edited()))
    newest = HistoryMessage(message=message, changes=[edit])
    chat = Chat(
        chat_id="d-1-2", kind=ChatKind.CHAT_KIND_DIRECT, member_ids=[1, BIG], newest=newest, unread=3, changed_at_ms=5
    )
    api.archive.response = ListChatsResponse(chats=[chat], next_cursor="more", complete_up_to=BIG)
    reply = await api.call("GET", "/v1/chats", token=token)
    assert reply.body == {
        "chats": [
            {
                "chat_id": "d-1-2",
                "kind": "CHAT_KIND_DIRECT",
                "member_ids": ["1", str(BIG)],
                "newest": {
                    "message": {
                        "message_id": str(BIG),
                        "chat_id": "d-1-2",
                        "sender_id": "1",
                        "client_message_id": "x",
                        "text": {"body": "<b>hi</b>"},
                    },
                    "changes": [{"event_id": "7", "change": {"edited": {}}}],
                },
                "unread": 3,
                "changed_at_ms": "5",
            }
        ],
        "next_cursor": "more",
        "complete_up_to": str(BIG),
    }


async def test_a_page_of_history_has_changes_and_flags_further_messages(api: Api, token: str) -> None:
    reacted = Change(target_id=5, actor_id=1, reacted=Reacted(emoji="👍"))
    changes = [reacted, Change(edited=Edited(text=Text(body="hi"))), Change(deleted=Deleted())]
    message = HistoryMessage(
        message=Message(message_id=5), changes=[Event(event_id=7, change=each) for each in changes]
    )
    api.archive.response = ListMessagesResponse(messages=[message], has_older=True)
    reply = await api.call("GET", "/v1/chats/d-1-2/messages", token=token)
    bodies = [
        {"target_id": "5", "actor_id": "1", "reacted": {"emoji": "👍"}},
        {"edited": {"text": {"body": "hi"}}},
        {"deleted": {}},
    ]
    changes_in_json = [{"event_id": "7", "change": body} for body in bodies]
    assert reply.body == {
        "messages": [{"message": {"message_id": "5"}, "changes": changes_in_json}],
        "has_older": True,
        "has_newer": False,
        "complete_up_to": "0",
    }


async def test_one_chat_is_the_chat(api: Api, token: str, user_id: int) -> None:
    api.archive.response = GetChatResponse(chat=Chat(chat_id="d-1-2", member_ids=[1, 2]))
    reply = await api.call("GET", "/v1/chats/d-1-2", token=token)
    assert reply.body == {"chat_id": "d-1-2", "member_ids": ["1", "2"]}
    assert api.archive.requests == [GetChatRequest(user_id=user_id, chat_id="d-1-2")]


async def test_an_invalid_chat_id_is_refused_by_the_archive(api: Api, token: str) -> None:
    api.archive.response = Refusal(Code.NOT_FOUND, "There is no such chat.")
    for chat_id in ("'; DROP TABLE chats; --", "<script>", "%FF", "..", "x" * 2_000, "d-1-2%00"):
        for path in (f"/v1/chats/{chat_id}", f"/v1/chats/{chat_id}/messages"):
            reply = await api.call("GET", path, token=token)
            assert reply.refusal[:2] == (404, "not_found"), chat_id


async def test_a_refusal_of_the_archive_reaches_the_client_whole(api: Api, token: str, nursery: trio.Nursery) -> None:
    refusals = [Refusal(code, f"50 % of été: {code}.", "cursor", 2_500) for code in Code]

    class Refusing(ArchiveServiceServicer):
        async def ListChats(self, request: ListChatsRequest) -> ListChatsResponse | Refusal:
            await trio.lowlevel.checkpoint()
            return refusals[request.changed_since_ms]

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(serve_rpc, [Refusing()], listeners)
    received = []
    async with open_channel(*listeners[0].socket.getsockname()) as channel:
        api.archive.list_chats = ArchiveClient(channel, timeout=PATIENCE).list_chats  # type: ignore[method-assign]
        for number in range(len(refusals)):
            reply = await api.call("GET", f"/v1/chats?changed_since_ms={number}", token=token)
            refused = Refused.from_problem(reply.status, reply.body)
            retry_after_ms = refused.retry_after_ms if refused.retryable else 2_500
            received.append(Refusal(Code(refused.code), refused.message, refused.field, retry_after_ms))
            assert refused.retryable == refusals[number].retryable == ("Retry-After" in reply.headers)
    assert received == refusals


async def test_an_archive_that_hangs_is_a_time_out(
    api: Api, token: str, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    async def hang(request: ListChatsRequest) -> ListChatsResponse:
        mock_clock.jump(REQUEST_DEADLINE)
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(api.archive, "list_chats", hang)
    reply = await api.call("GET", "/v1/chats", token=token)
    assert (reply.status, reply.body["code"], reply.headers["Retry-After"]) == (504, "timed_out", "1")
