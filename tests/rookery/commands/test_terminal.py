"""`rookery chat`: lines that are typed, and events that are shown."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rookery.client import Client
from rookery.commands.terminal import Screen, TerminalChat, printable, split_command
from rookery.v1 import session_pb2 as pb

GRACE = {"user_id": "9", "name": "grace", "display_name": "Grace"}


class FakeScreen(Screen):
    """Records the shown lines."""

    def __init__(self) -> None:
        super().__init__(interactive=False)
        self.shown: list[str] = []

    def show(self, text: str) -> None:
        self.shown.append(text)


@pytest.fixture
def screen() -> FakeScreen:
    return FakeScreen()


@pytest.fixture
async def chat(client: Client, screen: FakeScreen, bff: Any) -> AsyncIterator[TerminalChat]:
    """A running chat with grace."""
    bff.answers["GET /v1/profiles?name_contains=grace&limit=100"] = 200, {"profiles": [GRACE], "next_cursor": ""}
    bff.answers["GET /v1/profiles?user_ids=9"] = 200, {"profiles": [GRACE], "next_cursor": ""}
    chat = TerminalChat(client, screen)
    assert await chat.execute("/with grace\n")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(chat.show_events, nursery)
        yield chat
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("line", "command", "arguments"),
    [
        ("hello there", "", ["hello there"]),
        ("/react 3 👍", "/react", ["3", "👍"]),
        ("//not a command", "", ["/not a command"]),
        ("/", "/", []),
    ],
)
def test_a_line_is_a_command_or_a_message(line: str, command: str, arguments: list[str]) -> None:
    assert split_command(line) == (command, arguments)


def test_control_characters_of_a_message_are_replaced() -> None:
    assert printable("a\x1b[2Jb\nc\u202e") == "a\ufffd[2Jb\nc\ufffd"


async def test_a_line_is_sent_and_shown_once_it_is_accepted(
    chat: TerminalChat, screen: FakeScreen, connection: Any, nursery: trio.Nursery
) -> None:
    @nursery.start_soon
    async def answer() -> None:
        send = (await connection.accept_next()).send
        assert (send.chat_id, send.text.body) == ("d-7-9", "hello")

    assert await chat.execute("hello\n")
    assert screen.shown[-1].endswith("ada: hello")
    assert not chat.failed


async def test_a_message_is_shown_with_a_number_for_reactions(
    chat: TerminalChat, screen: FakeScreen, connection: Any, nursery: trio.Nursery
) -> None:
    connection.message(11)
    receipt = await connection.next_frame()
    assert receipt.receipt.read_up_to == 11
    await wait_all_tasks_blocked()
    assert screen.shown[-1].startswith("[1] ")
    assert "grace: " in screen.shown[-1]

    @nursery.start_soon
    async def answer() -> None:
        react = (await connection.next_frame()).react
        assert (react.message_id, react.emoji) == (11, "👍")
        reaction = pb.Reaction(chat_id=react.chat_id, message_id=11, user_id=7, emoji="👍", set=True)
        connection.reply(pb.ServerFrame(event=pb.Event(event_id=50, reaction=reaction)))

    await chat.execute("/react 1 👍")
    await wait_all_tasks_blocked()
    assert screen.shown[-1] == "ada reacted with 👍 to [1]"


async def test_history_is_shown_oldest_first(chat: TerminalChat, screen: FakeScreen, bff: Any) -> None:
    messages: list[dict[str, Any]] = [
        {"message": {"message_id": n, "chat_id": "d-7-9", "sender_id": "9", "text": {"body": f"line {n}"}}}
        for n in ("1", "2")
    ]
    messages[1]["reactions"] = [{"emoji": "👍", "user_ids": ["7"]}]
    bff.answers["GET /v1/chats/d-7-9/messages?limit=20"] = 200, {"messages": messages}
    await chat.execute("/history")
    assert [line.rpartition("grace: ")[2].strip() for line in screen.shown[-3:]] == ["line 1", "line 2", "👍 1"]


async def test_a_refusal_is_shown_and_sets_the_exit_status(chat: TerminalChat, screen: FakeScreen, bff: Any) -> None:
    bff.answers["GET /v1/profiles?name_contains=nobody&limit=100"] = 200, {"profiles": [], "next_cursor": ""}
    assert await chat.execute("/with nobody")
    assert screen.shown[-1] == "failed: there is no user nobody"
    assert chat.failed


async def test_a_lost_connection_is_reported(chat: TerminalChat, screen: FakeScreen, connection: Any) -> None:
    connection.reply(pb.ServerFrame(goodbye=pb.Goodbye(code="unavailable", message="Restarting.")))
    await wait_all_tasks_blocked()
    assert "Restarting." in screen.shown[-1]


async def test_messages_missed_in_a_gap_are_shown_once(
    chat: TerminalChat, screen: FakeScreen, connection: Any, bff: Any
) -> None:
    since = "GET /v1/chats?changed_since_ms=1767225700000&limit=100"
    history = "GET /v1/chats/d-7-9/messages?limit=100&after_ms=1767225700000"
    bff.answers[since] = 200, {"chats": [{"chat_id": "d-7-9"}]}
    wires = [
        {"message_id": str(number), "chat_id": "d-7-9", "sender_id": "9", "client_message_id": str(number),
         "text": {"body": f"text {number}"}}
        for number in (100, 101)
    ]  # fmt: skip
    bff.answers[history] = 200, {"messages": [{"message": wire} for wire in wires]}
    connection.message(100)
    await wait_all_tasks_blocked()
    for _ in range(2):
        connection.reply(pb.ServerFrame(gap=pb.Gap(since_ms=1767226000000)))
        await wait_all_tasks_blocked()
    connection.message(101)
    await wait_all_tasks_blocked()
    assert [line.split("]")[0] for line in screen.shown if line.startswith("[")] == ["[1", "[2"]
    assert "grace: text 101" in screen.shown[-2]
    assert "some events were missed" in screen.shown[-1]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/nonsense", "unknown command"),
        ("/react x y z", "unknown"),
        ("/react 7 👍", "no message [7]"),
        ("/with", "unknown"),
    ],
)
async def test_an_invalid_command_is_reported(chat: TerminalChat, screen: FakeScreen, line: str, words: str) -> None:
    assert await chat.execute(line)
    assert words in screen.shown[-1]


async def test_quit_ends_the_chat_and_an_empty_line_does_nothing(chat: TerminalChat, screen: FakeScreen) -> None:
    before = list(screen.shown)
    assert await chat.execute("   \n")
    assert screen.shown == before
    assert not await chat.execute("/quit")
