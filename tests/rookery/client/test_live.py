"""The client's commands: each returns with its answer, or raises the reason."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from rookery.client import Client, FileInfo, FileRef, Refused, Unreachable
from rookery.client.outbox import MAX_MS_AGO
from rookery.v1 import session_pb2 as pb
from shared.contract.ids import first_id_at, time_of

OpenClient = Callable[..., AbstractAsyncContextManager[Client]]


async def test_opening_raises_the_refusal_of_the_server(open_fake_client: OpenClient, bff: Any) -> None:
    bff.answers["POST /v1/users"] = 409, {"code": "name_taken", "detail": "The name ada is taken."}
    for password, register, code in (("wrong", False, "unauthenticated"), ("correct horse", True, "name_taken")):
        with pytest.raises(Refused) as caught:
            async with open_fake_client(password, register=register):
                pass
        assert caught.value.code == code


async def test_the_opening_gives_up_without_a_gateway(
    open_fake_client: OpenClient, gateway: Any, autojump_clock: MockClock
) -> None:
    gateway.down = True
    with pytest.raises(Unreachable, match="no session within 15 s"):
        async with open_fake_client():
            pass


async def test_the_opening_names_the_reason_for_which_there_is_no_session(
    open_fake_client: OpenClient, gateway: Any, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    @nursery.start_soon
    async def refuse() -> None:
        while True:
            goodbye = pb.Goodbye(code="rate_limited", message="A user may have 16 sessions at once.")
            (await gateway.next_connection()).reply(pb.ServerFrame(goodbye=goodbye))

    with pytest.raises(Unreachable, match=r"no session within 15 s: A user may have 16 sessions at once\."):
        async with open_fake_client():
            pass


async def test_the_opening_raises_the_final_refusal_of_the_session(
    open_fake_client: OpenClient, gateway: Any, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    @nursery.start_soon
    async def refuse() -> None:
        goodbye = pb.Goodbye(code="too_large", message="Too long.", field="authenticate.client_name", is_final=True)
        (await gateway.next_connection()).reply(pb.ServerFrame(goodbye=goodbye))

    with pytest.raises(Refused, match=r"Too long\.") as caught:
        async with open_fake_client(client_name="x" * 65):
            pass
    assert (caught.value.code, caught.value.field) == ("too_large", "authenticate.client_name")


async def test_a_client_counts_all_events_before_its_session_as_received(
    open_fake_client: OpenClient, bff: Any, gateway: Any, nursery: trio.Nursery
) -> None:
    bff.answers["GET /v1/chats?changed_since_ms=0&limit=1"] = 200, {"complete_up_to": "77"}
    nursery.start_soon(gateway.welcome_next)
    async with open_fake_client() as client:
        assert client.catch_up.listed_up_to == 77
        assert bff.requests.index("GET /v1/chats?changed_since_ms=0&limit=1") < bff.requests.index("GET /v1/me/gateway")


async def test_a_refused_message_raises_the_servers_reason(client: Client, connection: Any) -> None:
    submission = client.submit("d-7-9", "hi")
    send = (await connection.next_frame()).send
    assert (send.chat_id, send.text.body, send.client_message_id) == ("d-7-9", "hi", submission.client_id)
    refused = pb.Refused(
        frame=2, client_id=send.client_message_id, code="rate_limited", message="Slow.", retryable=True
    )
    connection.reply(pb.ServerFrame(refused=refused))
    with pytest.raises(Refused, match="Slow") as caught:
        await submission.answer()
    assert (caught.value.retryable, caught.value.client_id) == (True, send.client_message_id)


async def test_a_message_without_an_answer_can_be_retried_with_its_id(
    client: Client, connection: Any, autojump_clock: MockClock
) -> None:
    with pytest.raises(Unreachable) as caught:
        await client.send(9, "hi", deadline=3)
    assert caught.value.client_id == (await connection.next_frame()).send.client_message_id


async def test_submitted_messages_are_sent_in_order_and_answered_separately(client: Client, connection: Any) -> None:
    submissions = [client.submit(9, text) for text in ("one", "two", "three")]
    frames = [await connection.next_frame() for _ in submissions]
    assert [frame.send.text.body for frame in frames] == ["one", "two", "three"]
    for frame, message_id in reversed(list(zip(frames, (101, 102, 103), strict=True))):
        connection.accept(frame, message_id)
    answers = [await submission.answer() for submission in submissions]
    assert [answer.event_id for answer in answers] == [101, 102, 103]


async def test_a_cancelled_send_is_not_sent_later(
    client: Client, connection: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    connection.end()
    await wait_all_tasks_blocked()
    with trio.move_on_after(0.001):
        await client.send(9, "hi")
    second = await gateway.welcome_next()
    client.typing("d-7-9")
    await wait_all_tasks_blocked()
    client.typing("d-7-9")
    assert (await second.next_frame()).HasField("typing")


async def test_marks_typing_and_watch_lists_are_sent(client: Client, connection: Any) -> None:
    client.typing("d-7-9")
    client.mark("d-7-9", read_up_to=5)
    frames = [await connection.next_frame(), await connection.next_frame()]
    assert [frame.WhichOneof("frame") for frame in frames] == ["typing", "change"]
    client.watch([9, 8, 9])
    assert list((await connection.next_frame()).watch.user_ids) == [9, 8]
    with pytest.raises(ValueError, match="200"):
        client.watch(range(1, 202))


@pytest.mark.parametrize(
    ("call", "arguments", "body"),
    [
        (Client.react, ["👍"], {"reacted": pb.Reacted(emoji="👍", set=True)}),
        (Client.unreact, ["👍"], {"reacted": pb.Reacted(emoji="👍")}),
        (Client.remove_preview, [], {"previewed": pb.Previewed()}),
        (Client.edit, ["hello"], {"edited": pb.Edited(text=pb.Text(body="hello"))}),
        (Client.delete, [], {"deleted": pb.Deleted()}),
        (Client.toggle, ["pinned"], {"pinned": pb.Pinned(set=True)}),
        (partial(Client.toggle, is_set=False), ["hidden"], {"hidden": pb.Hidden()}),
    ],
)
async def test_a_change_returns_its_event_once_it_is_accepted(
    client: Client, connection: Any, nursery: trio.Nursery, call: Any, arguments: list[str], body: dict[str, Any]
) -> None:
    nursery.start_soon(connection.accept_next, 50)
    event = await call(client, "d-7-9", 5, *arguments)
    key = event.change.client_change_id
    change = pb.Change(chat_id="d-7-9", target_id=5, actor_id=7, client_change_id=key, **body)
    assert event == pb.Event(event_id=50, change=change)
    change.ClearField("actor_id")
    assert connection.received[-1] == pb.ClientFrame(change=change, first_sent_ms_ago=0)


async def test_mentions_files_forwarding_and_the_user_s_own_settings_of_a_chat_are_sent(
    client: Client, connection: Any, nursery: trio.Nursery
) -> None:
    mentions = [pb.Mention(user_id=9, name="grace")]
    for _ in range(4):
        nursery.start_soon(connection.accept_next)
    files: list[FileInfo | FileRef] = [
        FileInfo(file_id=3, name="own"),
        FileRef(file_id=4, chat_id="d-7-8", message_id=2),
    ]
    await client.send("d-7-9", "hi @grace", files=files, mentions=mentions, mentions_everyone=True, forwarded=True)
    await client.edit("d-7-9", 5, "@grace?", mentions=mentions, mentions_everyone=True)
    await client.mark_unread("d-7-9")
    await client.mute("d-7-9", except_mentions=True)
    send, edit, unread, mute = connection.received[-4:]
    assert (send.send.forwarded, list(send.send.text.mentions)) == (True, mentions)
    assert list(send.send.files) == [FileRef(file_id=3), files[1]]
    assert edit.change.edited.text == pb.Text(body="@grace?", mentions=mentions, mentions_everyone=True)
    assert send.send.text.mentions_everyone
    assert (unread.change.target_id, unread.change.marked_unread.set) == (0, True)
    assert (mute.change.target_id, mute.change.muted) == (0, pb.Muted(until_ms=2**63 - 1, except_mentions=True))


async def test_all_unread_chats_of_all_pages_are_marked_as_read(
    client: Client, connection: Any, bff: Any, nursery: trio.Nursery
) -> None:
    marked_unread = [{"event_id": "40", "change": {"marked_unread": {"set": True}}}]
    newest = {"message": {"message_id": "21"}}
    chats = [{"chat_id": "d-7-8", "newest": newest, "unread": 2}, {"chat_id": "d-7-9", "newest": newest}]
    began_ms, moved_ms = time_of(0), time_of(0) + 60_000
    address = "GET /v1/chats?changed_since_ms={}&limit=100{}".format
    page = {"chats": chats, "next_cursor": "a", "complete_up_to": str(first_id_at(moved_ms))}
    bff.answers[address(began_ms, "")] = 200, page
    bff.answers[address(began_ms, "&cursor=a")] = 200, {"chats": [{"chat_id": "g-1", "changes": marked_unread}]}
    moved = {"chat_id": "d-7-10", "newest": newest, "unread": 1}  # from the second page to the first one
    bff.answers[address(moved_ms, "")] = 200, {"chats": [moved]}
    for _ in range(3):
        nursery.start_soon(connection.accept_next)
    assert await client.mark_all_read() == ["d-7-8", "g-1", "d-7-10"]
    first, second, _ = (frame.change for frame in connection.received[-3:])
    assert (first.chat_id, first.target_id, first.marked) == ("d-7-8", 0, pb.Marked(read_up_to=21))
    assert (second.chat_id, second.marked_unread) == ("g-1", pb.MarkedUnread(set=False))


async def test_a_change_without_an_answer_can_be_retried_with_its_id(
    client: Client, connection: Any, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    change = pb.Change(chat_id="d-7-9", target_id=5, deleted=pb.Deleted())
    with pytest.raises(Unreachable) as caught:
        await client.change(change, deadline=3)
    await connection.next_frame()
    change.client_change_id = caught.value.client_id
    nursery.start_soon(connection.accept_next, 50)
    event = await client.change(change)
    assert (event.event_id, event.change.client_change_id) == (50, caught.value.client_id)
    assert connection.received[-1].first_sent_ms_ago == MAX_MS_AGO


async def test_leaving_the_block_closes_the_connection(
    open_fake_client: OpenClient, gateway: Any, nursery: trio.Nursery
) -> None:
    nursery.start_soon(gateway.welcome_next)
    async with open_fake_client() as client:
        connection = gateway.connections[-1]
        assert client.is_connected
    with pytest.raises(trio.EndOfChannel):
        await connection.next_frame()
