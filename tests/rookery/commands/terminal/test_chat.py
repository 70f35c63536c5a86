"""`rookery chat`: lines that are typed, and events that are shown."""

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from rookery.client import Client, Message
from rookery.commands.terminal.chat import HOUR_MS, KEEP_UP_SECONDS, TerminalChat
from rookery.commands.terminal.commands import LISTED, split_command
from rookery.v1 import session_pb2 as pb
from rookery.v1.archive_pb2 import ListMembersResponse
from shared.contract.ids import EPOCH_MS, MAX_ID, first_id_at, wall_clock_ms
from tests.rookery.commands.terminal.screens import (
    FIND_GRACE,
    GRACE,
    MESSAGES,
    OWNER,
    SETTINGS,
    FakeScreen,
    page,
)


@pytest.mark.parametrize(
    ("line", "command", "arguments"),
    [
        ("hello there", "", ["hello there"]),
        ("/react 3 👍", "/react", ["3", "👍"]),
        ("/edit 3 two  words more", "/edit", ["3", "two  words more"]),
        ("//not a command", "", ["/not a command"]),
        ("/", "/", []),
    ],
)
def test_a_line_is_a_command_or_a_message(line: str, command: str, arguments: list[str]) -> None:
    assert split_command(line) == (command, arguments)


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


async def test_a_sent_message_that_is_replayed_before_its_answer_is_shown_once(
    chat: TerminalChat, screen: FakeScreen, connection: Any, nursery: trio.Nursery
) -> None:
    @nursery.start_soon
    async def answer() -> None:
        frame = await connection.next_frame()
        while not frame.HasField("send"):
            frame = await connection.next_frame()
        key = frame.send.client_message_id
        replayed = Message(message_id=100, chat_id="d-7-9", sender_id=7, client_message_id=key, text=frame.send.text)
        connection.reply(pb.ServerFrame(event=pb.Event(event_id=100, message=replayed)))
        await wait_all_tasks_blocked()
        connection.accept(frame, 100)

    await chat.execute("hello")
    assert [line for line in screen.shown if line.endswith("ada: hello")] == screen.shown[-1:]


async def test_changes_are_shown_once_and_may_come_before_their_message(
    chat: TerminalChat, screen: FakeScreen, connection: Any
) -> None:
    changes: list[tuple[int, int, dict[str, Any]]] = [
        (30, 12, {"edited": pb.Edited(text=pb.Text(body="new\n[2] 12:00 ada: forged"))}),
        (29, 12, {"edited": pb.Edited(text=pb.Text(body="older"))}),
        (31, 11, {"reacted": pb.Reacted(emoji="👍", set=True)}),
        (31, 11, {"reacted": pb.Reacted(emoji="👍", set=True)}),
        (32, 11, {"deleted": pb.Deleted()}),
        (33, 11, {"reacted": pb.Reacted(emoji="👍")}),
        (34, 0, {"marked": pb.Marked(read_up_to=11)}),
    ]
    connection.message(11)
    for event_id, target_id, body in changes:
        change = pb.Change(chat_id="d-7-9", target_id=target_id, actor_id=9, **body)
        connection.reply(pb.ServerFrame(event=pb.Event(event_id=event_id, change=change)))
    connection.message(12)
    await wait_all_tasks_blocked()
    assert [line.partition("grace")[2] for line in screen.shown[-5:]] == [
        ": text 11", " edited an older message: new\n    [2] 12:00 ada: forged", " reacted with 👍 to [1]",
        " deleted [1]", ": new\n    [2] 12:00 ada: forged (edited)",
    ]  # fmt: skip


async def test_changes_of_a_message_that_is_deleted_for_oneself_are_not_shown_nor_is_it_forwarded(
    chat: TerminalChat, screen: FakeScreen, connection: Any, nursery: trio.Nursery
) -> None:
    connection.message(11)
    await connection.accept_next()
    nursery.start_soon(connection.accept_next, 50)
    await chat.execute("/hide 1")
    shown = list(screen.shown)
    changes: list[tuple[int, dict[str, Any]]] = [
        (60, {"edited": pb.Edited(text=pb.Text(body="again"))}),
        (61, {"deleted": pb.Deleted()}),
    ]
    for event_id, body in changes:
        change = pb.Change(chat_id="d-7-9", target_id=11, actor_id=9, **body)
        connection.reply(pb.ServerFrame(event=pb.Event(event_id=event_id, change=change)))
    await wait_all_tasks_blocked()
    assert screen.shown == shown
    await chat.execute("/forward 1 grace")
    assert screen.shown[-1] == "[1] was deleted for you"


async def test_presence_and_typing_of_the_other_member_are_shown(
    chat: TerminalChat, screen: FakeScreen, connection: Any
) -> None:
    assert list(connection.received[-1].watch.user_ids) == [9]
    for signal in (
        pb.Event(presence=pb.Presence(user_id=9, is_online=True)),
        *[pb.Event(typing=pb.Typing(chat_id="d-7-9", user_id=9))] * 2,
        pb.Event(typing=pb.Typing(chat_id="d-7-8", user_id=8)),
        pb.Event(group_marks=pb.GroupMarks(chat_id="g-5", marks=[pb.MemberMark(user_id=9, read_up_to=1)])),
        pb.Event(presence=pb.Presence(user_id=9)),
        pb.Event(presence=pb.Presence(user_id=9, last_seen_ms=1_000)),
    ):
        connection.reply(pb.ServerFrame(event=signal))
    await wait_all_tasks_blocked()
    assert [line[:23] for line in screen.shown[-3:]] == [
        "grace is online",
        "grace is typing",
        "grace was online 1970-0",
    ]


@pytest.mark.parametrize(
    ("line", "body", "shown"),
    [
        ("/react 1 👍", {"reacted": pb.Reacted(emoji="👍", set=True)}, "ada reacted with 👍 to [1]"),
        ("/unreact 👍", {"reacted": pb.Reacted(emoji="👍")}, "ada removed 👍 from [1]"),
        ("/edit 1 two  words", {"edited": pb.Edited(text=pb.Text(body="two  words"))}, "ada edited [1]: two  words"),
        ("/delete 1", {"deleted": pb.Deleted()}, "ada deleted [1]"),
        ("/hide 1", {"hidden": pb.Hidden(set=True)}, "ada deleted [1] for themselves"),
        *((f"/{verb}", {kind: {"set": True}}, f"ada {kind} [1]") for verb, kind in LISTED.items()),
        *((f"/un{verb} 1", {kind: {}}, f"ada un{kind} [1]") for verb, kind in LISTED.items()),
    ],
)
async def test_a_command_changes_a_message_by_its_number(
    chat: TerminalChat, screen: FakeScreen, connection: Any, nursery: trio.Nursery, line: str, body: Any, shown: str
) -> None:
    connection.message(11)
    assert (await connection.accept_next()).change.marked.read_up_to == 11
    await wait_all_tasks_blocked()
    assert (screen.shown[-1][:4], screen.shown[-1][-15:]) == ("[1] ", " grace: text 11")
    nursery.start_soon(connection.accept_next, 50)
    await chat.execute(line)
    change = connection.received[-1].change
    assert change == pb.Change(chat_id="d-7-9", target_id=11, client_change_id=change.client_change_id, **body)
    assert screen.shown[-1] == shown


async def test_of_very_many_messages_the_first_ones_can_not_be_referred_to_any_more(
    chat: TerminalChat, screen: FakeScreen, connection: Any, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    @nursery.start_soon
    async def accept() -> None:
        while True:
            await connection.accept_next(50)

    monkeypatch.setattr("rookery.commands.terminal.messages.MAX_SHOWN", 2)
    for message_id in (11, 12, 13):
        connection.message(message_id)
    await wait_all_tasks_blocked()
    assert [line.partition(" ")[0] for line in screen.shown[-3:]] == ["[1]", "[2]", "[3]"]
    await chat.execute("/forward 1 grace")
    assert screen.shown[-1] == "there is no message [1]"
    await chat.execute("/react 👍")
    assert screen.shown[-1] == "ada reacted with 👍 to [3]"
    assert connection.received[-1].change.target_id == 13


async def test_the_greeting_counts_unread_messages_and_opening_a_chat_shows_and_marks_them(
    client: Client, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery
) -> None:
    chat = TerminalChat(client, screen)
    newest = page("hello")[1]["messages"][0]
    newest["changes"] = [{"event_id": "40", "change": {"target_id": "1", "edited": {"text": {"body": "x" * 99}}}}]
    wire = {"chat_id": "d-7-9", "unread": 2, "unread_mentions": 1, "newest": newest}
    own = [{kind: {"set": True}} for kind in ("marked_unread", "chat_pinned", "archived", "without_previews")]
    muted = {"until_ms": str(2**62)}
    changes = [{"event_id": "40", "change": change} for change in (*own, {"muted": muted})]
    wire["changes"] = [{"event_id": "40", "change": {"muted": muted | {"except_mentions": True}}}]
    marked = {"chat_id": "d-5-7", "changes": changes}
    bff.answers["GET /v1/chats?changed_since_ms=0&limit=100"] = 200, {"chats": [wire, marked]}
    bff.answers["GET /v1/profiles?user_ids=9%2C5"] = 200, {"profiles": [GRACE], "next_cursor": ""}
    bff.answers["GET /v1/me/connections"] = 200, {"connections": []}
    await chat.greet()
    assert screen.shown == [
        "signed in as ada (Ada): /help lists the commands", "unread: 2 from grace; /with NAME shows them",
    ]  # fmt: skip
    await chat.execute("/chats")
    assert screen.shown[2].startswith("grace (2 unread, 1 mention, muted except mentions)  2026-01-01 ")
    assert screen.shown[2].endswith(f" {'x' * 60}…")
    assert screen.shown[3] == "user 5 (unread, muted, pinned, archived, without previews)"

    nursery.start_soon(chat.show_events, nursery)
    connection.message(11)  # a mark on it would mark both messages as read
    await wait_all_tasks_blocked()
    bff.answers |= {FIND_GRACE: (200, {"profiles": [GRACE], "next_cursor": ""})}
    bff.answers["GET /v1/chats/d-7-9"] = 200, wire | {"changes": marked["changes"]}
    bff.answers[f"{MESSAGES}limit=100&after_id=0"] = page("hello", "ada?")
    nursery.start_soon(connection.accept_next)
    await chat.execute("/with @Grace")
    assert connection.received[-2].change.marked_unread == pb.MarkedUnread(set=False)
    assert [line.partition("grace")[2] for line in screen.shown[-3:]] == ["", ": hello", ": ada?"]
    assert (await connection.next_frame()).change.marked.read_up_to == 11
    nursery.cancel_scope.cancel()


async def test_a_mute_ends_by_the_server_s_clock_also_if_that_of_this_machine_is_wrong(
    chat: TerminalChat,
    client: Client,
    screen: FakeScreen,
    bff: Any,
    connection: Any,
    gateway: Any,
    nursery: trio.Nursery,
    autojump_clock: MockClock,
) -> None:
    connection.end()
    connection = await gateway.next_connection()
    server_ms = wall_clock_ms() + 2 * HOUR_MS
    await connection.welcome(at_ms=server_ms)
    await wait_all_tasks_blocked()
    nursery.start_soon(connection.accept_next)
    await chat.execute("/mute 1")
    assert abs(connection.received[-1].change.muted.until_ms - server_ms - HOUR_MS) < HOUR_MS / 60
    ends = {"d-5-7": server_ms - HOUR_MS, "d-7-9": server_ms + HOUR_MS}
    changes = {chat_id: [{"event_id": "4", "change": {"muted": {"until_ms": end}}}] for chat_id, end in ends.items()}
    chats = [{"chat_id": chat_id, "changes": each} for chat_id, each in changes.items()]
    bff.answers["GET /v1/chats?changed_since_ms=0&limit=100"] = 200, {"chats": chats}
    await chat.execute("/chats")
    assert ["(muted)" in line for line in screen.shown[-2:]] == [False, True]
    assert abs(client.server_ms() - server_ms) < HOUR_MS / 60


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("/mute", pb.Change(muted=pb.Muted(until_ms=2**63 - 1))),
        ("/mute mentions", pb.Change(muted=pb.Muted(until_ms=2**63 - 1, except_mentions=True))),
        ("/unmute", pb.Change(muted=pb.Muted())),
        ("/archive", pb.Change(archived=pb.Archived(set=True))),
        ("/unread", pb.Change(marked_unread=pb.MarkedUnread(set=True))),
        ("/unpin chat", pb.Change(chat_pinned=pb.ChatPinned())),
        ("/previews off", pb.Change(without_previews=pb.WithoutPreviews(set=True))),
    ],
)
async def test_the_user_s_own_settings_of_the_open_chat_are_changed(
    chat: TerminalChat,
    client: Client,
    screen: FakeScreen,
    connection: Any,
    nursery: trio.Nursery,
    line: str,
    body: pb.Change,
) -> None:
    without_chat = TerminalChat(client, screen)
    await without_chat.execute(line)
    assert screen.shown[-1] == "no chat is open: choose a user with /with NAME, or a group with /open NAME"
    assert without_chat.failed
    nursery.start_soon(connection.accept_next)
    await chat.execute(line)
    sent = connection.received[-1].change
    body.chat_id, body.client_change_id = "d-7-9", sent.client_change_id
    assert sent == body
    assert screen.shown[-1].startswith("the chat is ")


async def test_all_chats_are_marked_as_read_and_so_are_later_messages(
    client: Client, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery
) -> None:
    chat = TerminalChat(client, screen)
    wire = {"chat_id": "d-7-9", "unread": 2, "newest": page("hello")[1]["messages"][0]}
    changed = f"GET /v1/chats?changed_since_ms={EPOCH_MS}&limit=100"
    for request in ("GET /v1/chats?changed_since_ms=0&limit=100", changed):
        bff.answers[request] = 200, {"chats": [wire]}
    await chat.greet()
    nursery.start_soon(chat.show_events, nursery)
    nursery.start_soon(connection.accept_next)
    await chat.execute("/read all")
    assert connection.received[-1].change.marked.read_up_to == 1
    assert screen.shown[-1] == "marked 1 chat as read"
    connection.message(11)
    assert (await connection.accept_next()).change.marked.read_up_to == 11
    bff.answers[changed] = 200, {"chats": []}
    await chat.execute("/read all")
    assert screen.shown[-1] == "no chat is unread"
    nursery.cancel_scope.cancel()


async def test_lines_go_to_a_chat_that_is_chosen_while_a_group_opens_by_its_first_message(
    client: Client,
    screen: FakeScreen,
    connection: Any,
    bff: Any,
    nursery: trio.Nursery,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read, is_answered = client.groups.members, trio.Event()

    async def read_slowly(chat_id: str) -> ListMembersResponse:
        await is_answered.wait()
        return await read(chat_id)

    monkeypatch.setattr(client.groups, "members", read_slowly)
    bff.answers |= {
        FIND_GRACE: (200, {"profiles": [GRACE], "next_cursor": ""}),
        "GET /v1/chats/g-1": (200, {"chat_id": "g-1", "settings": SETTINGS, "version": "1", "own": OWNER[0]}),
        "GET /v1/chats/g-1/members?after=0&limit=1000": (200, {"members": OWNER}),
    }
    chat = TerminalChat(client, screen)
    nursery.start_soon(chat.show_events, nursery)
    written = Message(message_id=30, chat_id="g-1", sender_id=9, text=pb.Text(body="hi"))
    connection.reply(pb.ServerFrame(event=pb.Event(event_id=30, message=written)))
    await wait_all_tasks_blocked()
    nursery.start_soon(chat.execute, "/with grace")
    await wait_all_tasks_blocked()
    is_answered.set()
    await wait_all_tasks_blocked()
    nursery.start_soon(chat.execute, "secret")
    await wait_all_tasks_blocked()
    assert connection.received[-1].send.chat_id == "d-7-9"
    nursery.cancel_scope.cancel()


async def test_people_are_listed_up_to_a_bound(chat: TerminalChat, screen: FakeScreen, bff: Any) -> None:
    for count, last in ((0, "nobody is found"), (1, "grace (Grace)"), (21, "there are more: add a word")):
        bff.answers["GET /v1/profiles?name_contains=gr+ho&limit=21"] = 200, {"profiles": [GRACE] * count}
        await chat.execute("/find gr ho")
        assert screen.shown[-1] == last


async def test_a_refusal_is_shown_and_sets_the_exit_status(chat: TerminalChat, screen: FakeScreen, bff: Any) -> None:
    bff.answers["GET /v1/profiles?name_contains=nobody&limit=1"] = 200, {"profiles": [GRACE], "next_cursor": ""}
    assert await chat.execute("/with nobody")
    assert screen.shown[-1] == "failed: There is no user nobody."
    assert chat.failed


async def test_a_lost_connection_is_reported(chat: TerminalChat, screen: FakeScreen, connection: Any) -> None:
    connection.reply(pb.ServerFrame(goodbye=pb.Goodbye(code="unavailable", message="Restarting.")))
    await wait_all_tasks_blocked()
    assert "Restarting." in screen.shown[-1]


async def test_missed_messages_are_shown_once_and_a_chat_of_which_too_much_was_missed_is_named(
    chat: TerminalChat, screen: FakeScreen, connection: Any, bff: Any
) -> None:
    read_up_to, complete_up_to = first_id_at(1767225600000 + 100), first_id_at(1767225600000 + 200)
    events = [{"event_id": item["message"]["message_id"], **item} for item in page("one", "two")[1]["messages"]]
    listed = {"chats": [{"chat_id": "d-7-9"}]}
    bff.answers |= {
        "GET /v1/chats?changed_since_ms=1767225600000&limit=100": (200, listed | {"complete_up_to": str(read_up_to)}),
        "GET /v1/chats/d-7-9/changes?after=0": (200, {"events": events}),
        "GET /v1/chats?changed_since_ms=1767225600100&limit=100": (
            200,
            listed | {"complete_up_to": str(complete_up_to)},
        ),
        f"GET /v1/chats/d-7-9/changes?after={read_up_to}": (200, {"too_old": True}),
    }
    connection.message(1)
    for at_ms in (1767225600100, 1767225600200):
        connection.reply(pb.ServerFrame(gap=pb.Gap(at_ms=at_ms)))
        await wait_all_tasks_blocked()
    assert [line.split("]")[0] for line in screen.shown if line.startswith("[")] == ["[1", "[2"]
    assert "grace: two" in screen.shown[-3]
    assert "some events were missed" in screen.shown[-2]
    assert screen.shown[-1].startswith("too much of the chat with grace was missed: ")
    await chat.execute("/forward 1 grace")  # an edit or the deletion of it may be among the missed events
    assert screen.shown[-1] == "there is no message [1]"


async def test_messages_are_marked_as_read_once_the_missed_ones_are_shown(
    chat: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, autojump_clock: MockClock
) -> None:
    bff.answers |= {
        f"GET /v1/chats?changed_since_ms={EPOCH_MS}&limit=100": (
            200,
            {"chats": [{"chat_id": "d-7-9"}], "complete_up_to": str(MAX_ID)},
        ),
        "GET /v1/chats/d-7-9/changes?after=0": (
            200,
            {"events": [{"event_id": "1", **page("missed")[1]["messages"][0]}], "complete_up_to": "12"},
        ),
    }
    bff.down = True
    connection.reply(pb.ServerFrame(gap=pb.Gap(at_ms=EPOCH_MS)))
    connection.message(11)
    await trio.sleep(1)
    assert screen.shown[-1].endswith("grace: text 11")
    assert not marked_in(connection)
    bff.down = False
    await trio.sleep(10)
    assert screen.shown[-1].endswith("grace: missed")
    assert marked_in(connection) == [11]


@pytest.mark.parametrize("failing", ["the greeting", "the missed events"])
async def test_no_message_is_marked_as_read_whose_chat_may_have_older_unread_ones(
    client: Client, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery, failing: str
) -> None:
    refused = 403, {"code": "forbidden", "detail": "Not now."}
    bff.answers |= {
        "GET /v1/profiles?user_ids=9": (200, {"profiles": [GRACE], "next_cursor": ""}),
        FIND_GRACE: (200, {"profiles": [GRACE], "next_cursor": ""}),
        "GET /v1/chats?changed_since_ms=0&limit=100": refused if failing == "the greeting" else (200, {}),
        f"GET /v1/chats?changed_since_ms={EPOCH_MS}&limit=100": refused,
    }
    chat = TerminalChat(client, screen)
    await chat.greet()
    nursery.start_soon(chat.show_events, nursery)
    if failing == "the missed events":
        connection.reply(pb.ServerFrame(gap=pb.Gap(at_ms=EPOCH_MS)))
    await wait_all_tasks_blocked()
    connection.message(11)
    await wait_all_tasks_blocked()
    assert not marked_in(connection)
    await chat.execute("/with grace")
    await wait_all_tasks_blocked()
    assert marked_in(connection) == [11]
    nursery.cancel_scope.cancel()


async def test_no_message_is_marked_as_read_of_a_chat_that_the_greeting_has_not_looked_at(
    client: Client, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery
) -> None:
    bff.answers |= {
        "GET /v1/profiles?user_ids=9": (200, {"profiles": [GRACE], "next_cursor": ""}),
        "GET /v1/chats?changed_since_ms=0&limit=100": (200, {"chats": [{"chat_id": "d-7-9"}], "next_cursor": "more"}),
        "GET /v1/me/connections": (200, {"connections": []}),
    }
    chat = TerminalChat(client, screen)
    await chat.greet()
    assert screen.shown[-2:] == ["no unread messages", "only the newest 100 chats were looked at"]
    nursery.start_soon(chat.show_events, nursery)
    connection.message(11)
    old = Message(message_id=12, chat_id="d-5-7", sender_id=5, text=pb.Text(body="hi"))
    connection.reply(pb.ServerFrame(event=pb.Event(event_id=12, message=old)))
    await wait_all_tasks_blocked()
    assert screen.shown[-1].endswith("user 5: hi")
    assert marked_in(connection) == [11]
    nursery.cancel_scope.cancel()


def marked_in(connection: Any) -> list[int]:
    """The messages up to which the client has marked a chat as read."""
    return [frame.change.marked.read_up_to for frame in connection.received if frame.change.HasField("marked")]


async def test_a_long_session_reads_once_an_hour_what_it_may_lack(
    chat: TerminalChat, bff: Any, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    changed = "GET /v1/chats?changed_since_ms=1767225600000&limit=100"
    bff.answers[changed] = 200, {"complete_up_to": str(MAX_ID)}
    nursery.start_soon(chat.keep_up)
    await trio.sleep(KEEP_UP_SECONDS - 1)
    assert changed not in bff.requests
    await trio.sleep(2)
    assert changed in bff.requests


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("/nonsense", "unknown command"),
        ("/react x y z", "unknown"),
        ("/react 7 👍", "no message [7]"),
        ("/react 👍", "no message is shown yet"),
        ("/forward grace", "no message is shown yet"),
        ("/edits 7", "no message [7]"),
        ("/with", "unknown"),
        ("/history 101", "COUNT is 1 to 100"),
        ("/send missing", "missing can't be read"),
        ("/save 7", "no message [7]"),
        ("/leave", "no group is open"),
    ],
)
async def test_an_invalid_command_is_reported_and_sets_the_exit_status(
    chat: TerminalChat, screen: FakeScreen, line: str, words: str
) -> None:
    assert await chat.execute(line)
    assert words in screen.shown[-1]
    assert chat.failed


async def test_quit_ends_the_chat_and_an_empty_line_does_nothing(chat: TerminalChat, screen: FakeScreen) -> None:
    before = list(screen.shown)
    assert await chat.execute("   \n")
    assert screen.shown == before
    assert not await chat.execute("/quit")
