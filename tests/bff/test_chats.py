"""Chats and history: what is asked of the archive, what is made of its answers, and of its silence."""

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import MockClock

from bff.http.endpoints import REQUEST_DEADLINE
from rookery.v1.archive_pb2 import (
    Chat,
    ChatKind,
    GetChatRequest,
    GetChatResponse,
    HistoryMessage,
    ListChatsRequest,
    ListChatsResponse,
    ListMessagesRequest,
    ListMessagesResponse,
    ReactionTally,
)
from rookery.v1.session_pb2 import Message, Text
from shared.rpc import RpcError, Status

if TYPE_CHECKING:
    from tests.bff.conftest import Api

BIG = 2**62 + 1


@pytest.fixture
async def user_id(api: "Api", token: str) -> int:
    return int((await api.call("GET", "/v1/me", token=token)).body["user_id"])


async def test_no_chats_are_an_empty_list_with_every_key(api: "Api", token: str) -> None:
    reply = await api.call("GET", "/v1/chats", token=token)
    assert (reply.status, reply.body) == (200, {"chats": [], "next_cursor": ""})


async def test_no_messages_are_an_empty_list_with_every_key(api: "Api", token: str) -> None:
    reply = await api.call("GET", "/v1/chats/d-1-2/messages", token=token)
    assert (reply.status, reply.body) == (200, {"messages": [], "has_older": False, "has_newer": False})


async def test_chats_are_asked_for_as_the_user_who_is_signed_in(api: "Api", token: str, user_id: int) -> None:
    await api.call("GET", "/v1/chats?changed_since_ms=123&limit=7&cursor=abc%3D", token=token)
    await api.call("GET", "/v1/chats", token=token)
    assert api.archive.asked == [
        ListChatsRequest(user_id=user_id, changed_since_ms=123, limit=7, cursor="abc="),
        ListChatsRequest(user_id=user_id, limit=50),
    ]


async def test_history_is_asked_for_at_each_anchor(api: "Api", token: str, user_id: int) -> None:
    for anchor in ("before_id", "after_id", "around_id", "before_ms", "after_ms", "around_ms"):
        await api.call("GET", f"/v1/chats/d-1-2/messages?{anchor}={BIG}&limit=9", token=token)
        fields: dict[str, Any] = {anchor: BIG}
        assert api.archive.asked[-1] == ListMessagesRequest(user_id=user_id, chat_id="d-1-2", limit=9, **fields)


async def test_an_anchor_of_zero_is_an_anchor(api: "Api", token: str) -> None:
    await api.call("GET", "/v1/chats/d-1-2/messages?after_id=0", token=token)
    assert api.archive.asked[0].WhichOneof("anchor") == "after_id"


async def test_ids_and_times_are_strings_in_json(api: "Api", token: str) -> None:
    message = Message(message_id=BIG, chat_id="d-1-2", sender_id=1, client_message_id="x", text=Text(body="<b>hi</b>"))
    chat = Chat(
        chat_id="d-1-2", kind=ChatKind.CHAT_KIND_DIRECT, member_ids=[1, BIG], newest=message, unread=3, changed_at_ms=5
    )
    api.archive.answer = ListChatsResponse(chats=[chat], next_cursor="more")
    reply = await api.call("GET", "/v1/chats", token=token)
    assert reply.body == {
        "chats": [
            {
                "chat_id": "d-1-2",
                "kind": "CHAT_KIND_DIRECT",
                "member_ids": ["1", str(BIG)],
                "newest": {
                    "message_id": str(BIG),
                    "chat_id": "d-1-2",
                    "sender_id": "1",
                    "client_message_id": "x",
                    "text": {"body": "<b>hi</b>"},
                },
                "unread": 3,
                "changed_at_ms": "5",
            }
        ],
        "next_cursor": "more",
    }


async def test_a_page_of_history_has_reactions_and_says_what_is_beyond(api: "Api", token: str) -> None:
    message = HistoryMessage(message=Message(message_id=5), reactions=[ReactionTally(emoji="👍", user_ids=[1, 2])])
    api.archive.answer = ListMessagesResponse(messages=[message], has_older=True)
    reply = await api.call("GET", "/v1/chats/d-1-2/messages", token=token)
    assert reply.body == {
        "messages": [{"message": {"message_id": "5"}, "reactions": [{"emoji": "👍", "user_ids": ["1", "2"]}]}],
        "has_older": True,
        "has_newer": False,
    }


async def test_one_chat_is_the_chat(api: "Api", token: str, user_id: int) -> None:
    api.archive.answer = GetChatResponse(chat=Chat(chat_id="d-1-2", member_ids=[1, 2]))
    reply = await api.call("GET", "/v1/chats/d-1-2", token=token)
    assert reply.body == {"chat_id": "d-1-2", "member_ids": ["1", "2"]}
    assert api.archive.asked == [GetChatRequest(user_id=user_id, chat_id="d-1-2")]


async def test_a_strange_chat_id_is_the_archives_to_refuse(api: "Api", token: str) -> None:
    api.archive.answer = RpcError(Status.NOT_FOUND, "There is no such chat.")
    for chat_id in ("'; DROP TABLE chats; --", "<script>", "%FF", "..", "x" * 2_000, "d-1-2%00"):
        for path in (f"/v1/chats/{chat_id}", f"/v1/chats/{chat_id}/messages"):
            reply = await api.call("GET", path, token=token)
            assert (reply.status, reply.body["code"]) == (404, "not_found"), chat_id


STATUSES = (
    (Status.INVALID_ARGUMENT, 422, "invalid", "from the archive"),
    (Status.NOT_FOUND, 404, "not_found", "from the archive"),
    (Status.PERMISSION_DENIED, 403, "forbidden", "from the archive"),
    (Status.RESOURCE_EXHAUSTED, 429, "rate_limited", "from the archive"),
    (Status.UNAVAILABLE, 503, "unavailable", "Chats and history are not available now: try again soon."),
    (Status.DEADLINE_EXCEEDED, 504, "timed_out", "Chats and history are not available now: try again soon."),
    (Status.INTERNAL, 500, "internal", "Something went wrong on our side."),
    (Status.UNKNOWN, 500, "internal", "Something went wrong on our side."),
    (Status.UNAUTHENTICATED, 500, "internal", "Something went wrong on our side."),
    (Status.UNIMPLEMENTED, 500, "internal", "Something went wrong on our side."),
    (Status.DATA_LOSS, 500, "internal", "Something went wrong on our side."),
)


async def test_a_status_of_the_archive_becomes_a_problem(api: "Api", token: str) -> None:
    for status, http_status, code, detail in STATUSES:
        api.archive.answer = RpcError(status, "from the archive")
        reply = await api.call("GET", "/v1/chats", token=token)
        assert (reply.status, reply.body["code"], reply.body["detail"]) == (http_status, code, detail)
        assert ("Retry-After" in reply.headers) == (http_status in (429, 503, 504))


async def test_an_archive_that_hangs_is_a_time_out(
    api: "Api", token: str, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    async def hang(request: ListChatsRequest) -> ListChatsResponse:
        mock_clock.jump(REQUEST_DEADLINE)
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(api.archive, "list_chats", hang)
    reply = await api.call("GET", "/v1/chats", token=token)
    assert (reply.status, reply.body["code"], reply.headers["Retry-After"]) == (504, "timed_out", "1")
