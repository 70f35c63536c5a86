"""The settings of a group that are on or off: `/settings` of `rookery chat` lists them, and `/set` switches one."""

from collections.abc import Mapping, Sequence
from typing import Any

import trio

from rookery.client import Client, GroupSettings, Message, Permission, Refused

FLAGS: Mapping[str, tuple[str, bool, str]] = {
    "history": ("shows_history", True, "members may read messages from before they joined"),
    "public": ("is_public", True, "all users find the group and may join it"),
    "approval": ("asks_to_join", True, "users who join wait until a member adds them"),
    "previews": ("without_previews", False, "links in messages get previews"),
}
"""By the name of a setting: the field of GroupSettings, its value while the setting is on, and the effect."""

PERMISSIONS: Mapping[str, tuple[Permission, str]] = {
    "post": (Permission.POST, "members may write messages"),
    "react": (Permission.REACT, "members may react to messages"),
    "pin": (Permission.PIN, "members may pin messages"),
    "add": (Permission.ADD_MEMBERS, "members may add members"),
    "edit": (Permission.EDIT_SETTINGS, "members may change the name, the topic and the picture"),
    "mention": (Permission.MENTION_EVERYONE, "members may mention @everyone"),
}
"""By the name of a setting: the permission that members have while it is on, and the effect."""

SWITCHES = (*FLAGS, *PERMISSIONS)
"""The names of the settings."""

PAUSES = (0.25, 0.5, 1.0, 2.0)
"""Seconds before each further attempt after a version conflict: the archive records a change after its answer."""


def settings_lines(settings: GroupSettings) -> Sequence[str]:
    """Return a line for each setting."""
    flags = [(name, getattr(settings, field) == value, text) for name, (field, value, text) in FLAGS.items()]
    granted = settings.permissions
    permissions = [(name, bool(granted & permission), text) for name, (permission, text) in PERMISSIONS.items()]
    return [f"{name} {'on' if is_on else 'off'}: {text}" for name, is_on, text in (*flags, *permissions)]


async def switch(client: Client, chat_id: str, name: str, *, is_on: bool) -> Message:
    """Switch one of the SWITCHES, and return the control change. Raises RookeryError."""
    if name in FLAGS:
        field, value, _ = FLAGS[name]
        changed: dict[str, Any] = {field: value if is_on else not value}
        return await client.groups.change_settings(chat_id, **changed)
    permission, _ = PERMISSIONS[name]
    for pause in PAUSES:
        try:
            return await _switch_permission(client, chat_id, permission, is_on=is_on)
        except Refused as refused:
            if refused.code != "version_conflict":
                raise
        await trio.sleep(pause)
    return await _switch_permission(client, chat_id, permission, is_on=is_on)


async def _switch_permission(client: Client, chat_id: str, permission: Permission, *, is_on: bool) -> Message:
    """Grant a permission to members, or take it away; the others stay.

    Raises Refused with `version_conflict` if another user changes the group meanwhile, or if the archive has a former
    version of it.
    """
    chat = await client.api.chat(chat_id)
    others = chat.settings.permissions & ~int(permission)
    permissions = others | permission if is_on else others
    return await client.groups.change_settings(chat_id, permissions=permissions, expected_version=chat.version)
