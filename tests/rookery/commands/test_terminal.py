"""`rookery chat`: lines that are typed, and events that are shown."""

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from rookery.client import ROLE_ADMIN, ROLE_GUEST, ROLE_MEMBER, ROLE_OWNER, Client, Control, Member, Message
from rookery.commands.message_text import change_text, control_text
from rookery.commands.screen import Screen
from rookery.commands.terminal import KEEP_UP_SECONDS, LISTED, TerminalChat, split_command
from rookery.v1 import session_pb2 as pb
from shared.contract.ids import MAX_ID, first_id_at

GRACE = {"user_id": "9", "name": "grace", "display_name": "Grace"}

FIND_GRACE = "GET /v1/profiles?name_contains=grace&limit=1"

MESSAGES = "GET /v1/chats/d-7-9/messages?"


def page(*texts: str, **fields: object) -> tuple[int, dict[str, Any]]:
    """A page of messages from grace, with the ids 1, 2, and so on."""
    wires = [
        {"message_id": str(number), "chat_id": "d-7-9", "sender_id": "9", "text": {"body": text}}
        for number, text in enumerate(texts, 1)
    ]
    return 200, {"messages": [{"message": wire} for wire in wires], **fields}


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
    bff.answers[FIND_GRACE] = 200, {"profiles": [GRACE], "next_cursor": ""}
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


async def test_presence_and_typing_of_the_other_member_are_shown(
    chat: TerminalChat, screen: FakeScreen, connection: Any
) -> None:
    assert list(connection.received[-1].watch.user_ids) == [9]
    for signal in (
        pb.Event(presence=pb.Presence(user_id=9, is_online=True)),
        *[pb.Event(typing=pb.Typing(chat_id="d-7-9", user_id=9))] * 2,
        pb.Event(typing=pb.Typing(chat_id="d-7-8", user_id=8)),
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


@pytest.mark.parametrize(("verb", "kind"), LISTED.items())
async def test_a_list_has_the_messages_with_a_kind_without_hidden_ones(
    chat: TerminalChat, screen: FakeScreen, bff: Any, verb: str, kind: str
) -> None:
    listed = page("one", "two", "three")
    for item, bodies in zip(listed[1]["messages"], ([kind], [kind, "hidden"], [kind]), strict=True):
        changes = [{"target_id": item["message"]["message_id"], body: {"set": True}} for body in bodies]
        item["changes"] = [{"event_id": "40", "change": change} for change in changes]
    bff.answers[f"{MESSAGES}limit=100&having={kind}"] = listed
    await chat.execute(f"/{verb}s")
    assert [line.rpartition("grace: ")[2].strip() for line in screen.shown[-4:]] == ["one", kind, "three", kind]


async def test_the_edits_of_a_message_are_listed(chat: TerminalChat, screen: FakeScreen, bff: Any) -> None:
    bff.answers[f"{MESSAGES}limit=20"] = page("one", "two", "three")
    await chat.execute("/history")
    edit = {"event_id": "40", "change": {"target_id": "3", "edited": {"text": {"body": "3"}}}}
    bff.answers["GET /v1/chats/d-7-9/messages/3/versions?kind=edited"] = 200, {"changes": [edit]}
    bff.answers["GET /v1/chats/d-7-9/messages/1/versions?kind=edited"] = 200, {}
    await chat.execute("/edits")
    await chat.execute("/edits 1")
    assert [line.rpartition(" ")[2] for line in screen.shown[-3:-1]] == ["three", "3"]
    assert screen.shown[-1] == "[1] has no edits"


async def test_history_is_shown_oldest_first_and_older_pages_on_request(
    chat: TerminalChat, screen: FakeScreen, bff: Any
) -> None:
    newest = page("line", "line 2", "", has_older=True)
    bodies: list[dict[str, Any]] = [
        {"edited": {"text": {"body": "line 1\n[9] 12:00 ada: forged"}}},
        {"reacted": {"emoji": "👍", "set": True}},
        {"deleted": {}},
    ]
    for item, body in zip(newest[1]["messages"], bodies, strict=True):
        item["changes"] = [{"event_id": "40", "change": {"target_id": item["message"]["message_id"], **body}}]
    bff.answers[f"{MESSAGES}limit=20"] = newest
    await chat.execute("/history")
    assert [line.rpartition("grace: ")[2].strip() for line in screen.shown[-5:]] == [
        "line 1\n    [9] 12:00 ada: forged (edited)", "line 2", "👍 1", "(deleted)", "/older shows earlier messages",
    ]  # fmt: skip
    assert screen.shown[-5].startswith("[1] 2026-01-01 ")  # not from today
    bff.answers[f"{MESSAGES}limit=5&before_id=1"] = page()
    await chat.execute("/older 5")
    assert screen.shown[-1] == "the chat begins here"


async def test_the_greeting_counts_unread_messages_and_opening_a_chat_shows_and_marks_them(
    client: Client, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery
) -> None:
    chat = TerminalChat(client, screen)
    newest = page("hello")[1]["messages"][0]
    newest["changes"] = [{"event_id": "40", "change": {"target_id": "1", "edited": {"text": {"body": "x" * 99}}}}]
    wire = {"chat_id": "d-7-9", "unread": 2, "unread_mentions": 1, "newest": newest}
    own = [{kind: {"set": True}} for kind in ("marked_unread", "chat_pinned", "archived", "without_previews")]
    muted = {"muted": {"until_ms": str(2**62)}}
    changes = [{"event_id": "40", "change": change} for change in (*own, muted)]
    marked = {"chat_id": "d-5-7", "changes": changes}
    bff.answers["GET /v1/chats?changed_since_ms=0&limit=100"] = 200, {"chats": [wire, marked]}
    bff.answers["GET /v1/profiles?user_ids=9%2C5"] = 200, {"profiles": [GRACE], "next_cursor": ""}
    await chat.greet()
    assert screen.shown == [
        "signed in as ada (Ada): /help lists the commands", "unread: 2 from grace; /with NAME shows them",
    ]  # fmt: skip
    await chat.execute("/chats")
    assert screen.shown[2].startswith("grace (2 unread, 1 mention)  2026-01-01 ")
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
    assert (await connection.next_frame()).change.marked.read_up_to == 2
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("/mute", pb.Change(muted=pb.Muted(until_ms=2**63 - 1))),
        ("/unmute", pb.Change(muted=pb.Muted())),
        ("/archive", pb.Change(archived=pb.Archived(set=True))),
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


SETTINGS = {"name": "Engines", "topic": "Steam"}

CHANNEL = SETTINGS | {"is_channel": True}

OWNER = [{"user_id": "7", "role": "ROLE_OWNER", "version": "1"}]

ADDED = {"version": "2", "members": [{"user_id": "9", "role": "ROLE_MEMBER", "version": "2"}]}

JOINED, LEFT = {"role": ROLE_MEMBER}, {"former_role": ROLE_MEMBER}


def control(event_id: int, **fields: Any) -> dict[str, Any]:
    message = {"message_id": str(event_id), "chat_id": "g-1", "sender_id": "7", "control": fields}
    return {"event_id": str(event_id), "message": message}


@pytest.fixture
async def group(chat: TerminalChat, bff: Any, screen: FakeScreen) -> TerminalChat:
    """A chat in the group Engines, of which grace is a member."""
    bff.answers |= {
        "POST /v1/chats": (201, control(20, version="1", settings=SETTINGS, members=OWNER)),
        "GET /v1/chats/g-1": (
            200,
            {"chat_id": "g-1", "settings": SETTINGS, "version": "1", "own": {"role": "ROLE_OWNER"}, "member_count": 2},
        ),
        "GET /v1/chats/g-1/members?after=0&limit=1000": (
            200,
            {"members": [*OWNER, {"user_id": "9", "role": "ROLE_MEMBER", "version": "1"}]},
        ),
        FIND_GRACE: (200, {"profiles": [GRACE], "next_cursor": ""}),
    }
    await chat.execute("/group Engines\n")
    assert screen.shown[-2].endswith(" ada created the group Engines")
    assert screen.shown[-1] == "writing to Engines"
    await chat.execute("/members")
    assert screen.shown[-1] == "ada (owner)"
    return chat


@pytest.mark.parametrize(
    ("line", "request_line", "body"),
    [
        ("/add grace", "POST /v1/chats/g-1/members", {"user_ids": ["9"], "role": "ROLE_MEMBER"}),
        ("/rename Steam  engines", "PATCH /v1/chats/g-1", {"name": "Steam  engines"}),
        ("/topic", "PATCH /v1/chats/g-1", {"topic": ""}),
        ("/role grace admin", "PATCH /v1/chats/g-1/members/9", {"role": "ROLE_ADMIN"}),
        ("/accept grace", "POST /v1/chats/g-1/members", {"user_ids": ["9"], "role": "ROLE_MEMBER"}),
    ],
)
async def test_a_command_changes_the_open_group(
    group: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, line: str, request_line: str, body: Any
) -> None:
    bff.answers[request_line] = 200, control(21, **ADDED)
    await group.execute(line)
    assert bff.bodies[-1] == body | {"client_change_id": bff.bodies[-1]["client_change_id"]}
    event = pb.Event(message=Message(message_id=21, chat_id="g-1", sender_id=7, control=Control(version=2)))
    connection.reply(pb.ServerFrame(event=event))  # all sessions receive it
    await wait_all_tasks_blocked()
    assert screen.shown[-1].endswith(" ada added grace")


async def test_invite_links_and_requests_of_the_open_group_are_listed_and_ended(
    group: TerminalChat, screen: FakeScreen, bff: Any
) -> None:
    used = {"invite_id": "8", "creator_id": "7", "expires_at_ms": "0", "max_uses": 2, "uses": 1, "is_revoked": False}
    used["is_usable"] = True
    asking = [{"user_id": "9", "asked_at_ms": "4"}]
    bff.answers |= {
        "POST /v1/chats/g-1/invites": (201, {"invite": used, "token": "1.s"}),
        "GET /v1/chats/g-1/invites": (200, {"invites": [used | {"is_usable": False}, used], "version": "2"}),
        "GET /v1/chats/g-1/requests": (200, {"requests": asking, "version": "2"}),
        "GET /v1/profiles?user_ids=9": (200, {"profiles": [GRACE], "next_cursor": ""}),
    }
    await group.execute("/invite 1 2")
    assert screen.shown[-2:] == ["others join with /join 1.s", "it can be used 2 times, never ends"]
    assert (bff.bodies[-1]["expires_in_seconds"], bff.bodies[-1]["max_uses"]) == (86_400, 2)
    await group.execute("/revoke 1")
    assert "/invites lists" in screen.shown[-1]
    await group.execute("/invites")
    assert screen.shown[-1] == "1: of ada, used 1 times, can be used 2 times, never ends"
    await group.execute("/requests")
    assert screen.shown[-1] == "grace"
    for line, path in (("/revoke 1", "invites/8"), ("/decline grace", "requests/9")):
        await group.execute(line)
        assert bff.requests[-1].startswith(f"DELETE /v1/chats/g-1/{path}?client_change_id=")
    await group.execute("/invite 1 2 3")
    assert "/help shows" in screen.shown[-1]


async def test_people_are_connected_blocked_and_reported(
    chat: TerminalChat, screen: FakeScreen, connection: Any, bff: Any
) -> None:
    invited = {"user_id": "9", "state": "invited", "since_ms": "5"}
    bff.answers |= {
        FIND_GRACE: (200, {"profiles": [GRACE], "next_cursor": ""}),
        "GET /v1/profiles?user_ids=9": (200, {"profiles": [GRACE], "next_cursor": ""}),
        "PUT /v1/me/connections/9": (200, {"connection": invited}),
        "GET /v1/me/connections": (200, {"connections": [invited]}),
        "DELETE /v1/me/connections/9": (204, {}),
        "PUT /v1/me/blocks/9": (204, {}),
        "DELETE /v1/me/blocks/9": (204, {}),
        "GET /v1/me/blocks": (200, {"user_ids": []}),
        "POST /v1/reports": (201, {"report_id": "77"}),
    }
    for line, words in (
        ("/connect grace", "invited grace"),
        ("/connections", "grace (invited)"),
        ("/disconnect grace", "not connected to grace"),
        ("/block grace", "grace is blocked: /unblock ends that"),
        ("/unblock grace", "grace is not blocked any more"),
        ("/blocks", "you block nobody"),
        ("/report grace Writes  too much", "reported grace to the admins"),
        ("/report 7 Rude", "there is no message [7]"),
        ("/block", "/block needs other arguments: /help shows them"),
    ):
        await chat.execute(line)
        assert screen.shown[-1] == words
    assert bff.bodies[-1] == {"user_id": "9", "chat_id": "", "message_ids": [], "reason": "Writes  too much"}
    event = pb.Event(message=Message(message_id=21, chat_id="d-7-9", sender_id=9, text=pb.Text(body="hi")))
    connection.reply(pb.ServerFrame(event=event))
    await wait_all_tasks_blocked()
    await chat.execute("/report 1 Rude")
    assert bff.bodies[-1] == {"user_id": "9", "chat_id": "d-7-9", "message_ids": ["21"], "reason": "Rude"}


async def test_a_user_joins_by_a_link_or_by_the_name_of_a_public_group(
    chat: TerminalChat, screen: FakeScreen, bff: Any
) -> None:
    token = f"1.{'s' * 22}"
    boats = {"chat_id": "g-1", "name": "Big Boats", "topic": "", "members": 1, "is_member": False}
    boats |= {"asks_to_join": True, "has_asked": False}
    joined, asked = ([{"user_id": "7", each: value}] for each, value in (("role", "ROLE_MEMBER"), ("asked_at_ms", "4")))
    bff.answers |= {
        f"GET /v1/joining/{token}": (200, boats),
        f"POST /v1/joining/{token}": (200, control(21, version="2", members=joined)),
        "GET /v1/public-chats?query=big+boats&after=&limit=20": (200, {"chats": [boats], "has_more": 0, "after": ""}),
        "POST /v1/public-chats/g-1/joining": (200, control(22, version="3", members=asked)),
        "GET /v1/public-chats?query=&after=&limit=20": (200, {"chats": [], "has_more": False, "after": ""}),
    }
    await chat.execute(f"/join {token}")
    assert screen.shown[-1] == "you joined Big Boats: /open Big Boats writes to it"
    await chat.execute("/join big boats")
    assert screen.shown[-1].startswith("you asked to join Big Boats")
    await chat.execute("/public big boats")
    assert screen.shown[-1] == "Big Boats (1 member, members decide who joins)"
    await chat.execute("/public")
    assert screen.shown[-1] == "no public group is found"


async def test_messages_of_groups_name_their_chat_unless_it_is_open_and_a_group_is_opened_by_its_name(
    group: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery
) -> None:
    bff.answers["GET /v1/chats?changed_since_ms=0&limit=100"] = 200, {"chats": []}
    await group.execute("/open Engines")
    assert screen.shown[-3:] == ["writing to Engines", "2 members: /members lists them", "topic: Steam"]
    nursery.start_soon(connection.accept_next)  # the mark
    nursery.start_soon(connection.accept_next)
    await group.execute("hello @grace @everyone")
    assert connection.received[-1].send.text.mentions == [pb.Mention(user_id=9, name="grace")]
    assert connection.received[-1].send.text.mentions_everyone
    for user_id in (7, 9):
        connection.reply(pb.ServerFrame(event=pb.Event(presence=pb.Presence(user_id=user_id, is_online=user_id == 7))))
    await wait_all_tasks_blocked()
    await group.execute("/members")
    assert screen.shown[-2:] == ["ada (owner), online", "grace"]
    await group.execute("/with grace")
    message = Message(message_id=30, chat_id="g-1", sender_id=9, text=pb.Text(body="hi"))
    settings = {"name": "Trains"}
    renamed = Message(message_id=31, chat_id="g-1", sender_id=9, control={"settings": settings, "changed": ["name"]})
    renamed.control.version = 3
    for each in (message, renamed):
        connection.reply(pb.ServerFrame(event=pb.Event(event_id=each.message_id, message=each)))
    await wait_all_tasks_blocked()
    assert screen.shown[-2].endswith(" grace in Engines: hi")
    assert screen.shown[-1].endswith(" grace in Trains renamed the group to Trains")
    listed = {
        "chat_id": "g-1",
        "version": "3",
        "settings": settings,
        "newest": {"message": control(31, **ADDED)["message"]},
    }
    bff.answers["GET /v1/chats?changed_since_ms=0&limit=100"] = 200, {"chats": [listed]}
    await group.execute("/chats")
    assert (screen.shown[-1][:8], screen.shown[-1][-16:]) == ("Trains  ", " ada added grace")
    await group.execute("/open trains")
    assert "writing to Trains" in screen.shown
    assert not group.failed
    await group.execute("/open Engines")
    assert "no group" in screen.shown[-1]
    bff.answers["GET /v1/chats/g-1"] = 200, {"chat_id": "g-1", "settings": settings, "version": "4", "own": {}}
    await group.execute("/open Trains")
    assert "not a member any more" in screen.shown[-1]
    await group.execute("/leave")
    assert "no group is open" in screen.shown[-1]


async def accept_follows(connection: Any) -> None:
    """Accept whatever the client sends."""
    while True:
        connection.accept(await connection.next_frame(), 0)


async def test_a_group_becomes_a_channel_whose_events_come_while_it_is_written_to(
    group: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery
) -> None:
    nursery.start_soon(accept_follows, connection)
    made = control(21, version="2", settings=CHANNEL, changed=["is_channel"])
    member_page = {"members": [{"user_id": "7", "role": "ROLE_OWNER"}], "has_more": True}
    bff.answers |= {
        "PATCH /v1/chats/g-1": (200, made),
        "GET /v1/chats/g-1/messages?limit=1": (200, {"complete_up_to": str(MAX_ID)}),
        "GET /v1/chats/g-1/members?after=0&limit=100": (200, member_page),
        "GET /v1/chats?changed_since_ms=0&limit=100": (200, {"chats": []}),
        "GET /v1/chats/g-1": (
            200,
            {"chat_id": "g-1", "settings": CHANNEL, "version": "2", "own": {"role": "ROLE_OWNER"}},
        ),
    }
    await group.execute("/channel")
    assert bff.bodies[-1]["is_channel"]
    change = {"version": 2, "settings": CHANNEL, "changed": ["is_channel"]}
    converted = Message(message_id=21, chat_id="g-1", sender_id=7, control=change)
    connection.reply(pb.ServerFrame(event=pb.Event(event_id=21, message=converted)))
    await trio.sleep(0.1)
    assert connection.received[-1].follow.open_chat_ids == ["g-1"]
    written = Message(message_id=30, chat_id="g-1", sender_id=9, text=pb.Text(body="hi"))
    connection.reply(pb.ServerFrame(event=pb.Event(event_id=30, message=written)))
    await trio.sleep(0.1)
    assert screen.shown[-1].endswith("grace: hi")
    await group.execute("hello @grace")
    assert connection.received[-1].send.text.mentions == [pb.Mention(user_id=9, name="grace")]
    await group.execute("/members")
    assert screen.shown[-2:] == ["ada (owner)", "only 100 members are listed"]
    await group.execute("/with grace")
    await trio.sleep(0.1)
    assert [*connection.received[-1].follow.chat_ids, *connection.received[-1].follow.open_chat_ids] == ["g-1"]
    for _ in range(2):
        connection.reply(pb.ServerFrame(channel_head=pb.ChannelHead(chat_id="g-1", newest_id=31)))
    mention = Message(message_id=31, chat_id="g-1", sender_id=9, text=pb.Text(body="@ada"))
    connection.reply(pb.ServerFrame(event=pb.Event(event_id=31, message=mention)))
    await trio.sleep(0.1)
    assert screen.shown[-2] == "there are new messages in Engines: /open Engines shows them"
    assert screen.shown[-1].endswith("grace in Engines: @ada")
    assert connection.received[-1].HasField("follow"), "the mention is not marked as read: others before it are not"
    await group.execute("/open Engines")
    assert connection.received[-1].follow.open_chat_ids == ["g-1"]
    assert not group.failed


def test_a_preview_is_a_sentence_with_its_title() -> None:
    for preview, text in (
        ({"title": "Tea", "url": "https://a.example"}, "linked in [1] to Tea"),
        ({"url": "https://a.example"}, "linked in [1] to https://a.example"),
        (None, "took the preview away from [1]"),
    ):
        change = pb.Change(previewed=pb.Previewed(preview=preview))
        assert change_text(change, "[1]", {}) == text


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"version": 1, "settings": SETTINGS}, "created the group Engines"),
        ({"version": 1, "settings": {"name": "News", "is_channel": True}}, "created the channel News"),
        ({"settings": {"is_channel": True}, "changed": ["is_channel"]}, "made the group a channel"),
        ({"version": 1, "settings": SETTINGS, "members": range(7, 15)},
         "created the group Engines with user 8, grace, user 10, user 11, user 12 and 2 others"),
        ({"settings": SETTINGS, "changed": ["name", "topic"]},
         "renamed the group to Engines, changed the topic to Steam"),
        ({"settings": {}, "changed": ["topic", "permissions", "shows_history"]},
         "removed the topic, changed the permissions of members, hid older messages from new members"),
        ({"members": [(9, JOINED), (10, JOINED)]}, "added grace and user 10"),
        ({"members": [(9, {"role": ROLE_GUEST})]}, "added grace as a guest"),
        ({"members": [(9, LEFT)]}, "removed grace"),
        ({"members": [(7, LEFT)]}, "left"),
        ({"members": [(9, JOINED | LEFT)]}, "changed the permissions of grace"),
        ({"members": [(9, {"role": ROLE_ADMIN, **LEFT})]}, "made grace an admin"),
        ({"members": [(9, {"role": ROLE_OWNER, **LEFT}), (7, {"role": ROLE_ADMIN, "former_role": ROLE_OWNER})]},
         "made grace the owner"),
        ({"settings": {"is_public": True}, "changed": ["is_public", "asks_to_join"]},
         "opened the group to everyone, let users join at once"),
        ({"settings": {"without_previews": True}, "changed": ["without_previews"]}, "turned previews of links off"),
        ({"members": [(7, JOINED)]}, "joined"),
        ({"members": [(7, JOINED | {"invite_id": 5})], "invites": [{"invite_id": 5, "uses": 1}]},
         "joined by an invite link"),
        ({"members": [(7, {"asked_at_ms": 4})]}, "asked to join"),
        ({"members": [(7, {})]}, "took the request to join back"),
        ({"members": [(9, {})]}, "declined grace"),
        ({"invites": [{"invite_id": 20}]}, "created an invite link"),
        ({"invites": [{"invite_id": 5, "is_revoked": True}]}, "revoked an invite link"),
        ({}, "changed the group"),
    ],
)  # fmt: skip
def test_a_control_change_is_a_sentence(fields: dict[str, Any], text: str) -> None:
    members: list[tuple[int, dict[str, Any]]] = [
        each if isinstance(each, tuple) else (each, JOINED) for each in fields.pop("members", ())
    ]
    changed: dict[str, Any] = {"version": 2} | fields
    change = Control(members=[Member(user_id=user_id, **member) for user_id, member in members], **changed)
    message = Message(message_id=20, sender_id=7, control=change)
    assert control_text(message, {7: "ada", 9: "grace"}) == text


FILES: list[dict[str, object]] = [
    {"file_id": "5", "name": "../.photo.png", "media_type": "image/png", "size": "3400000", "width": 40, "height": 30},
    {"file_id": "6", "name": "notes", "media_type": "text/plain", "size": "7"},
]


@pytest.fixture
def with_files(bff: Any) -> None:
    """The files of the first message of the chat's history, each of which has 7 bytes."""
    listed = page("look")
    listed[1]["messages"][0]["message"]["files"] = FILES
    bff.answers[f"{MESSAGES}limit=20"] = listed
    bff.answers["POST /v1/files/links"] = 200, {"links": [{"url": "/files/5?s=1", "expires_at_ms": "1"}]}
    bff.answers["GET /files/5?s=1"] = 200, "bytes"


async def test_a_file_is_sent_with_its_caption(
    chat: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, nursery: trio.Nursery, tmp_path: Path
) -> None:
    path = tmp_path / "my photo.png"
    path.write_bytes(b"\0" * 3_400_000)
    bff.answers["POST /v1/files"] = 200, FILES[0] | {"state": "complete"}
    nursery.start_soon(connection.accept_next)
    await chat.execute(f"/send '{path}' for  @grace")
    assert bff.bodies[-1]["name"] == path.name
    send = connection.received[-1].send
    assert (send.text.body, [file.file_id for file in send.files]) == ("for  @grace", [5])
    assert send.text.mentions[0].user_id == 9
    assert screen.shown[-2] == "uploading my photo.png (3.4 MB)"
    assert screen.shown[-1].endswith(
        " ada: for  @grace\n    [../.photo.png: image/png, 3.4 MB, 40\N{MULTIPLICATION SIGN}30]"
    )
    nursery.start_soon(connection.accept_next)
    await chat.execute(f"/send {str(path).replace(' ', chr(92) + ' ')}")
    assert screen.shown[-1].endswith(" ada: [../.photo.png: image/png, 3.4 MB, 40\N{MULTIPLICATION SIGN}30]")
    await chat.execute(f"/send {tmp_path}/missing")
    await chat.execute("/send 'open")
    assert screen.shown[-2:] == [
        f"{tmp_path}/missing can't be read: No such file or directory",
        "a quote is not closed",
    ]


@pytest.mark.usefixtures("with_files")
async def test_the_files_of_a_message_are_saved_under_safe_new_names_and_forwarded(
    chat: TerminalChat, screen: FakeScreen, connection: Any, nursery: trio.Nursery, tmp_path: Path
) -> None:
    await chat.execute("/history")
    for _ in range(2):
        await chat.execute(f"/save 1 {tmp_path}")
    names = "_.photo (2).png", "_.photo.png", "notes", "notes (2)"
    assert {name: (tmp_path / name).read_bytes() for name in os.listdir(tmp_path)} == dict.fromkeys(names, b'"bytes"')
    assert screen.shown[-1] == f"saved {tmp_path}/notes (2) (7 bytes)"
    await chat.execute(f"/save 1 {tmp_path}/notes")
    assert screen.shown[-1] == f"{tmp_path}/notes is no folder"
    nursery.start_soon(connection.accept_next)
    await chat.execute("/forward grace")
    assert [(file.file_id, file.chat_id, file.message_id) for file in connection.received[-1].send.files] == [
        (5, "d-7-9", 1), (6, "d-7-9", 1)
    ]  # fmt: skip
