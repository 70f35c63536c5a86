"""The settings of groups that `rookery chat` switches."""

from typing import Any

import pytest
from trio.testing import MockClock

from rookery.client import Permission
from rookery.commands.terminal.chat import TerminalChat
from shared.contract.groups import DEFAULT_PERMISSIONS
from tests.rookery.commands.terminal.screens import SETTINGS, FakeScreen, control

CHANGED = SETTINGS | {"permissions": str(int(DEFAULT_PERMISSIONS)), "shows_history": True}


def present(version: int, **settings: object) -> tuple[int, dict[str, Any]]:
    return 200, {"chat_id": "g-1", "settings": CHANGED | settings, "version": str(version)}


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("/set history on", {"shows_history": True}),
        ("/set public off", {"is_public": False}),
        ("/set approval on", {"asks_to_join": True}),
        ("/set previews off", {"without_previews": True}),
        ("/set previews on", {"without_previews": False}),
    ],
)
async def test_a_setting_is_switched(
    group: TerminalChat, screen: FakeScreen, bff: Any, line: str, body: dict[str, bool]
) -> None:
    bff.answers["PATCH /v1/chats/g-1"] = 200, control(21, version="2", settings=CHANGED, changed=["shows_history"])
    await group.execute(line)
    assert bff.bodies[-1] == body | {"client_change_id": bff.bodies[-1]["client_change_id"]}
    assert screen.shown[-1].endswith(" ada let new members read older messages")


@pytest.mark.parametrize(
    ("line", "permissions"),
    [
        ("/set post off", DEFAULT_PERMISSIONS & ~Permission.POST),
        ("/set add off", DEFAULT_PERMISSIONS & ~Permission.ADD_MEMBERS),
        ("/set mention on", DEFAULT_PERMISSIONS | Permission.MENTION_EVERYONE),
    ],
)
async def test_a_permission_of_members_is_switched_and_the_others_stay(
    group: TerminalChat, screen: FakeScreen, bff: Any, line: str, permissions: Permission
) -> None:
    bff.answers["GET /v1/chats/g-1"] = present(4)
    bff.answers["PATCH /v1/chats/g-1"] = 200, control(21, version="5", settings=CHANGED, changed=["permissions"])
    await group.execute(line)
    assert (bff.bodies[-1]["permissions"], bff.bodies[-1]["expected_version"]) == (str(int(permissions)), "4")
    assert screen.shown[-1].endswith(" ada changed the permissions of members")


async def test_a_permission_is_switched_once_the_archive_has_the_newest_version(
    group: TerminalChat, screen: FakeScreen, bff: Any, autojump_clock: MockClock
) -> None:
    conflict = 409, {"code": "version_conflict", "detail": "The group has another version."}
    bff.answers["GET /v1/chats/g-1"] = present(4)
    bff.answers["PATCH /v1/chats/g-1"] = 200, control(21, version="5", settings=CHANGED, changed=["permissions"])
    bff.failures = [conflict] * 4
    await group.execute("/set post off")
    assert not group.failed
    bff.failures = [conflict] * 5
    await group.execute("/set post off")
    assert screen.shown[-1] == "failed: The group has another version."


async def test_the_settings_of_the_open_group_are_listed(group: TerminalChat, screen: FakeScreen, bff: Any) -> None:
    bff.answers["GET /v1/chats/g-1"] = present(4, without_previews=True)
    await group.execute("/settings")
    assert [line.partition(":")[0] for line in screen.shown[-10:]] == [
        *("history on", "public off", "approval off", "previews off"),
        *("post on", "react on", "pin on", "add on", "edit on", "mention off"),
    ]


@pytest.mark.parametrize("line", ["/set", "/set post", "/set owner on", "/set post maybe"])
async def test_a_setting_without_such_a_name_or_value_is_refused(
    group: TerminalChat, screen: FakeScreen, line: str
) -> None:
    await group.execute(line)
    assert screen.shown[-1].startswith("/set NAME on, or off: a NAME is history, public, approval, previews, post, ")
    assert group.failed
