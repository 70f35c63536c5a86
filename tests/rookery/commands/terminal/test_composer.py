"""Messages that `rookery chat` sends."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from rookery.commands.terminal.chat import TerminalChat
from rookery.v1 import session_pb2 as pb
from tests.rookery.commands.terminal.screens import FakeScreen


async def test_a_message_is_forwarded_with_its_present_text(
    chat: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery
) -> None:
    frida = {"user_id": "8", "name": "frida", "display_name": "Frida"}
    bff.answers["GET /v1/profiles?name_contains=frida&limit=1"] = 200, {"profiles": [frida]}
    edited = pb.Edited(text=pb.Text(body="new: @ada @grace"))
    edited.text.mentions.extend([pb.Mention(user_id=7, name="ada"), pb.Mention(user_id=9, name="grace")])
    change = pb.Change(chat_id="d-7-9", target_id=11, actor_id=9, edited=edited)
    connection.message(11)
    connection.reply(pb.ServerFrame(event=pb.Event(event_id=30, change=change)))
    await connection.accept_next()
    await wait_all_tasks_blocked()
    nursery.start_soon(connection.accept_next, 50)
    await chat.execute("/forward frida")
    send = connection.received[-1].send
    assert (send.recipient_id, send.forwarded, send.text.body) == (8, True, edited.text.body)
    assert list(send.text.mentions) == [pb.Mention(user_id=7, name="ada")]  # frida's chat has no grace
    assert screen.shown[-1] == "forwarded [1] to frida"


async def test_mentions_are_sent_and_shown_by_the_names_of_today(
    chat: TerminalChat, screen: FakeScreen, connection: Any, nursery: trio.Nursery
) -> None:
    nursery.start_soon(connection.accept_next)
    await chat.execute("@grace, @gracious and a@grace @grace @everyone")
    assert list(connection.received[-1].send.text.mentions) == [pb.Mention(user_id=9, name="grace")]
    assert not connection.received[-1].send.text.mentions_everyone
    message = pb.Message(message_id=12, chat_id="d-7-9", sender_id=9, forwarded=True)
    text = pb.Text(body="@A.L. @A @Amy", mentions=[pb.Mention(user_id=7, name="A.L."), pb.Mention(user_id=9, name="A")])
    message.text.CopyFrom(text)
    connection.reply(pb.ServerFrame(event=pb.Event(event_id=12, message=message)))
    await wait_all_tasks_blocked()
    assert screen.shown[-1].endswith(" grace (forwarded): @ada @grace @Amy")


async def test_a_reply_is_sent_to_the_chat_of_its_message_and_shown_with_the_number_of_it(
    chat: TerminalChat, screen: FakeScreen, connection: Any, nursery: trio.Nursery
) -> None:
    connection.message(11)
    await connection.accept_next()
    await wait_all_tasks_blocked()
    nursery.start_soon(connection.accept_next, 50)
    await chat.execute("/reply 1 yes,  @grace")
    send = connection.received[-1].send
    assert (send.chat_id, send.reply_to, send.text.body) == ("d-7-9", 11, "yes,  @grace")
    assert list(send.text.mentions) == [pb.Mention(user_id=9, name="grace")]
    assert screen.shown[-1].endswith(" ada (reply to [1]): yes,  @grace")
    await chat.execute("/reply 7 no")
    assert screen.shown[-1] == "there is no message [7]"


async def test_received_replies_name_their_messages(chat: TerminalChat, screen: FakeScreen, connection: Any) -> None:
    connection.message(11)
    for message_id, target_id in ((12, 11), (13, 5)):
        reply = pb.Message(
            message_id=message_id, chat_id="d-7-9", sender_id=9, reply_to=target_id, text={"body": "yes"}
        )
        connection.reply(pb.ServerFrame(event=pb.Event(event_id=message_id, message=reply)))
    await wait_all_tasks_blocked()
    assert [line.partition("grace ")[2] for line in screen.shown[-2:]] == [
        "(reply to [1]): yes",
        "(reply to an older message): yes",
    ]


@pytest.mark.parametrize("line", ["hello", "/edit 1 hello", "/forward 1 grace"])
async def test_a_line_that_is_refused_for_the_moment_is_sent_again_with_its_client_id(
    chat: TerminalChat,
    screen: FakeScreen,
    connection: Any,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
    line: str,
) -> None:
    connection.message(11)
    await connection.accept_next()
    refused_at = trio.current_time()

    @nursery.start_soon
    async def answer() -> None:
        await refuse_next(connection)
        await connection.accept_next(50)

    await chat.execute(line)
    first, again = connection.received[-2:]
    assert (again.send, again.change) == (first.send, first.change)
    assert again.send.client_message_id or again.change.client_change_id
    assert trio.current_time() >= refused_at + 1
    assert again.first_sent_ms_ago < 60_000
    assert not chat.failed


async def test_a_line_that_stays_refused_fails_after_half_a_minute(
    chat: TerminalChat, screen: FakeScreen, connection: Any, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    @nursery.start_soon
    async def answer() -> None:
        while True:
            await refuse_next(connection)

    began = trio.current_time()
    await chat.execute("hello")
    assert screen.shown[-1] == "failed: Not now."
    assert 25 < trio.current_time() - began <= 30


async def refuse_next(connection: Any) -> None:
    """Refuse the client's next message or change for a second."""
    await connection.next_frame()
    refused = pb.Refused(code="unavailable", message="Not now.", retryable=True, retry_after_ms=1_000)
    refused.frame = len(connection.received)
    connection.reply(pb.ServerFrame(refused=refused))
