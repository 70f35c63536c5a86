"""Past messages in `rookery chat`."""

from typing import Any

import pytest
from google.protobuf import json_format
from trio.testing import wait_all_tasks_blocked

from rookery.client import Message
from rookery.commands.terminal.chat import TerminalChat
from rookery.commands.terminal.commands import LISTED
from rookery.v1 import session_pb2 as pb
from tests.rookery.commands.terminal.screens import MESSAGES, SETTINGS, FakeScreen, control, page


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


async def test_the_members_who_have_seen_a_message_are_listed_but_not_of_a_channel(
    group: TerminalChat, screen: FakeScreen, connection: Any, bff: Any
) -> None:
    written = Message(message_id=30, chat_id="g-1", sender_id=9, text=pb.Text(body="hi"))
    connection.reply(pb.ServerFrame(event=pb.Event(event_id=30, message=written)))
    await wait_all_tasks_blocked()
    frida = {"user_id": "8", "name": "frida", "display_name": "Frida"}
    read = [{"user_id": user_id, "read_up_to": "31"} for user_id in ("9", "8", "7")]
    received = {"user_id": "6", "delivered_up_to": "31", "read_up_to": "29"}
    bff.answers |= {
        "GET /v1/chats/g-1/marks?from_id=30": (200, {"marks": [*read, received]}),
        "GET /v1/profiles?user_ids=8": (200, {"profiles": [frida], "next_cursor": ""}),
    }
    number = screen.shown[-1].partition(" ")[0].strip("[]")
    await group.execute("/seen")
    assert screen.shown[-1] == f"[{number}] was seen by frida"
    bff.answers["GET /v1/chats/g-1/marks?from_id=30"] = 200, {"marks": []}
    await group.execute(f"/seen {number}")
    assert screen.shown[-1] == f"nobody else is known to have seen [{number}]"
    made = control(40, version="2", settings=SETTINGS | {"is_channel": True}, changed=["is_channel"])
    connection.reply(pb.ServerFrame(event=json_format.ParseDict(made, pb.Event())))
    await wait_all_tasks_blocked()
    await group.execute(f"/seen {number}")
    assert screen.shown[-1] == "a channel does not show the readers of a message"
    assert group.failed
