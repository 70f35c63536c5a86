"""A running chat."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio

from rookery.client import Client
from rookery.commands.terminal.chat import TerminalChat
from tests.rookery.commands.terminal.screens import (
    FIND_GRACE,
    GRACE,
    OWNER,
    SETTINGS,
    FakeScreen,
    control,
)


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


@pytest.fixture
async def group(chat: TerminalChat, bff: Any, screen: FakeScreen) -> TerminalChat:
    """A chat in the group Engines, of which grace is a member."""
    bff.answers |= {
        "POST /v1/chats": (201, control(20, version="1", settings=SETTINGS, members=OWNER)),
        "GET /v1/chats/g-1": (
            200,
            {"chat_id": "g-1", "settings": SETTINGS, "version": "1", "own": OWNER[0], "member_count": 2},
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
