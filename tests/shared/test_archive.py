"""The archive's client: responses, the archive's refusals, and its own for an archive that does not answer."""

import socket
from typing import Any

import pytest
import trio

from messaging.gateway.history import ArchiveHistory
from rookery.v1.archive_grpc import ArchiveServiceServicer
from rookery.v1.archive_pb2 import (
    Chat,
    GetChatRequest,
    GetChatResponse,
    GetMessageRequest,
    GetMessageResponse,
    HistoryMessage,
    ListChangesRequest,
    ListChangesResponse,
    ListChatsRequest,
    ListChatsResponse,
    ListMessagesRequest,
    ListMessagesResponse,
    ListVersionsRequest,
    ListVersionsResponse,
)
from rookery.v1.session_pb2 import Archived, Change, Event, Message, Muted
from shared.archive import UNAVAILABLE, ArchiveClient
from shared.contract.errors import Code, Refusal
from shared.rpc import RpcError, Status, open_channel, serve_rpc
from shared.rpc.refusals import INTERNAL, refusal_of_call

TIMEOUT = 20.0
"""Seconds; only ends a test that has failed."""

FOUND = HistoryMessage(message=Message(message_id=3, chat_id="d-1-2"))

MUTE = Event(event_id=7, change=Change(muted=Muted(until_ms=1)))

ARCHIVING = Event(event_id=8, change=Change(archived=Archived(set=True)))

REFUSED = Refusal(Code.OUT_OF_ORDER, "Not yet.", "cursor", 7)


class ScriptedArchive(ArchiveServiceServicer):
    """Answers every method with `answer`: a response, a Refusal, or an exception that it raises."""

    answer: Any = None

    async def ListChats(self, request: ListChatsRequest) -> Any:
        await trio.lowlevel.checkpoint()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    GetChat = ListMessages = GetMessage = ListChanges = ListVersions = ListChats  # type: ignore[assignment]


@pytest.fixture
def archive() -> ScriptedArchive:
    return ScriptedArchive()


@pytest.fixture
async def port(archive: ScriptedArchive, nursery: trio.Nursery) -> int:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(serve_rpc, [archive], listeners)
    return int(listeners[0].socket.getsockname()[1])


async def test_each_method_returns_the_response_or_the_refusal_and_nothing_of_a_fault(
    archive: ScriptedArchive, port: int
) -> None:
    async with open_channel("127.0.0.1", port) as channel:
        client = ArchiveClient(channel, timeout=TIMEOUT)
        for method, request, response in (
            (client.list_chats, ListChatsRequest(), ListChatsResponse(next_cursor="more")),
            (client.get_chat, GetChatRequest(), GetChatResponse()),
            (client.list_messages, ListMessagesRequest(), ListMessagesResponse(has_older=True)),
            (client.get_message, GetMessageRequest(), GetMessageResponse()),
            (client.list_changes, ListChangesRequest(), ListChangesResponse(too_old=True)),
            (client.list_versions, ListVersionsRequest(), ListVersionsResponse()),
        ):
            for archive.answer in (response, REFUSED):
                assert await method(request) == archive.answer  # type: ignore[arg-type]
            archive.answer = ZeroDivisionError("swordfish")
            assert await method(request) == Refusal(Code.INTERNAL, INTERNAL)  # type: ignore[arg-type]


async def test_an_archive_that_does_not_listen_is_unavailable() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # reserved, without a listener
        async with open_channel(*silent.getsockname()) as channel:
            answer = await ArchiveClient(channel, timeout=TIMEOUT).list_chats(ListChatsRequest())
    assert answer == Refusal(Code.UNAVAILABLE, UNAVAILABLE)


@pytest.mark.parametrize("status", list(Status)[1:])
def test_a_status_without_a_refusal(status: Status) -> None:
    codes = {
        Status.UNAVAILABLE: Code.UNAVAILABLE,
        Status.RESOURCE_EXHAUSTED: Code.UNAVAILABLE,
        Status.DEADLINE_EXCEEDED: Code.TIMED_OUT,
    }
    refusal = refusal_of_call(RpcError(status, "swordfish"), UNAVAILABLE)
    assert refusal.code is codes.get(status, Code.INTERNAL)
    assert "swordfish" not in refusal.message


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (GetMessageResponse(message=FOUND), FOUND),
        (GetMessageResponse(), HistoryMessage()),
        (Refusal(Code.RATE_LIMITED, "Too many.", retry_after_ms=2_500), 2_500),
        (Refusal(Code.INVALID, "Not an id.", "message_id"), 1_000),
    ],
)
async def test_the_gateway_s_history_returns_the_message_or_when_to_retry(
    archive: ScriptedArchive, port: int, answer: Any, expected: HistoryMessage | int
) -> None:
    archive.answer = answer
    async with open_channel("127.0.0.1", port) as channel:
        found = await ArchiveHistory(channel).find_message(1, "d-1-2", 3)
    if isinstance(found, Refusal):
        assert (found.code, found.retry_after_ms) == (Code.UNAVAILABLE, expected)
    else:
        assert found.message == expected


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (GetChatResponse(chat=Chat(changes=[MUTE, ARCHIVING])), ARCHIVING),
        (GetChatResponse(chat=Chat(changes=[MUTE])), None),
        (Refusal(Code.NOT_FOUND, "There is no such chat."), None),
        (Refusal(Code.TIMED_OUT, "Too slow."), Code.UNAVAILABLE),
    ],
)
async def test_the_gateway_s_history_returns_a_user_s_own_change_of_a_chat(
    archive: ScriptedArchive, port: int, answer: Any, expected: Event | Code | None
) -> None:
    archive.answer = answer
    async with open_channel("127.0.0.1", port) as channel:
        found = await ArchiveHistory(channel).find_own_change(1, "d-1-2", "archived")
    assert (found.code if isinstance(found, Refusal) else found) == expected


async def test_the_gateway_s_history_returns_the_changes_of_a_message_or_when_to_retry(
    archive: ScriptedArchive, port: int
) -> None:
    async with open_channel("127.0.0.1", port) as channel:
        history = ArchiveHistory(channel)
        archive.answer = ListVersionsResponse(changes=[MUTE, ARCHIVING])
        assert await history.find_versions(1, "d-1-2", 3, "previewed") == [MUTE, ARCHIVING]
        archive.answer = Refusal(Code.NOT_FOUND, "There is no such chat.")
        found = await history.find_versions(1, "d-1-2", 3, "previewed")
    assert isinstance(found, Refusal)
    assert found.code is Code.UNAVAILABLE
