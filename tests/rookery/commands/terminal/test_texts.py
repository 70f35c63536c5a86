"""Changes of messages and groups as sentences."""

from typing import Any

import pytest

from rookery.client import ROLE_ADMIN, ROLE_GUEST, ROLE_MEMBER, ROLE_OWNER, Control, Member, Message
from rookery.commands.terminal.texts import change_text, control_text
from rookery.v1 import session_pb2 as pb
from tests.rookery.commands.terminal.screens import SETTINGS

JOINED, LEFT = {"role": ROLE_MEMBER}, {"former_role": ROLE_MEMBER}


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
        ({"members": [(7, {"asked_at_ms": 4}), (9, {})]}, "asked to join"),
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
