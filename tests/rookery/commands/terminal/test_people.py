"""Connections, blocks and reports in `rookery chat`."""

from typing import Any

import pytest
from trio.testing import MockClock, wait_all_tasks_blocked

from rookery.client import Message
from rookery.commands.terminal.chat import TerminalChat
from rookery.v1 import session_pb2 as pb
from tests.rookery.commands.terminal.screens import FIND_GRACE, GRACE, FakeScreen


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


async def test_an_invitation_is_shown_when_it_arrives_and_in_the_greeting(
    chat: TerminalChat, screen: FakeScreen, connection: Any, bff: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    frida = {"user_id": "8", "name": "frida", "display_name": "Frida"}
    states = (("8", "invites_me"), ("9", "invites_me"), ("10", "connected"))
    connections = [{"user_id": user_id, "state": state, "since_ms": "5"} for user_id, state in states]
    bff.answers |= {
        "GET /v1/me/connections": (200, {"connections": connections}),
        "GET /v1/profiles?user_ids=8": (200, {"profiles": [frida], "next_cursor": ""}),
        "GET /v1/chats?changed_since_ms=0&limit=100": (200, {"chats": []}),
    }
    screen.shown.clear()
    for user_id in (10, 9):
        connection.reply(pb.ServerFrame(event=pb.Event(people_changed=pb.PeopleChanged(user_id=user_id))))
    await wait_all_tasks_blocked()
    invitation = "grace invites you to connect: /connect grace accepts, /disconnect grace declines"
    assert screen.shown == [invitation]
    await chat.greet()
    assert screen.shown[-2:] == [invitation.replace("grace", "frida"), invitation]
    monkeypatch.setattr("rookery.commands.terminal.people.MAX_INVITATIONS", 1)
    await chat.greet()
    assert screen.shown[-2:] == [
        invitation.replace("grace", "frida"), "there are more invitations: /connections lists them",
    ]  # fmt: skip
    bff.answers["GET /v1/me/connections"] = 503, {"code": "unavailable", "detail": "Not now."}
    connection.reply(pb.ServerFrame(event=pb.Event(people_changed=pb.PeopleChanged(user_id=9))))
    await wait_all_tasks_blocked()
    assert screen.shown[-1] == "the connections can't be read: Not now."


async def test_an_invitation_that_arrived_without_a_connection_is_shown_once(
    chat: TerminalChat, screen: FakeScreen, bff: Any, gateway: Any, autojump_clock: MockClock
) -> None:
    def answer(*user_ids: str) -> None:
        connections = [{"user_id": user_id, "state": "invites_me", "since_ms": "5"} for user_id in user_ids]
        bff.answers["GET /v1/me/connections"] = 200, {"connections": connections}

    frida = {"user_id": "8", "name": "frida", "display_name": "Frida"}
    bff.answers["GET /v1/profiles?user_ids=8"] = 200, {"profiles": [frida], "next_cursor": ""}
    assert "GET /v1/me/connections" not in bff.requests, "the greeting has shown them"
    (connection,) = gateway.connections
    for inviting, shown in ((["9"], ["grace"]), (["9", "8"], ["frida"]), ([], []), (["9"], ["grace"])):
        answer(*inviting)
        connection.end()
        connection = await gateway.welcome_next()
        await wait_all_tasks_blocked()
        assert [line.split()[0] for line in screen.shown if "invites you" in line] == shown
        screen.shown.clear()
    connection.reply(pb.ServerFrame(event=pb.Event(people_changed=pb.PeopleChanged(user_id=9))))
    await wait_all_tasks_blocked()
    assert screen.shown == []
