"""The table of kinds is complete, and each kind checks the rights of the actor."""

import re
from pathlib import Path
from typing import Any

import pytest

from messaging import kinds
from messaging.kinds import KINDS
from messaging.kinds.kind import THE_CHAT, Circumstances, Target
from messaging.kinds.reacted import MAX_CHANGES
from rookery.v1.session_pb2 import (
    Archived,
    Change,
    ChatPinned,
    Deleted,
    Edited,
    Hidden,
    Marked,
    MarkedUnread,
    Mention,
    Muted,
    Pinned,
    Previewed,
    Reacted,
    Starred,
    Text,
    WithoutPreviews,
)
from shared.configuration import LiveConfiguration
from shared.contract import changes
from shared.contract.errors import Code
from shared.contract.groups import ALL_PERMISSIONS, DIRECT_PERMISSIONS, Permission
from shared.contract.ids import EPOCH_MS, MAX_ID

ANN, BEN = 1, 2
MEMBERS = (ANN, BEN)
ANNS, GONE = Target(ANN, is_deleted=False), Target(ANN, is_deleted=True)
BENS, CONTROL = Target(BEN, is_deleted=False), Target(BEN, is_deleted=False, is_control=True)
FULL, FLOODED = (Target(ANN, is_deleted=False, changes=count) for count in (MAX_CHANGES, 2 * MAX_CHANGES))
MINUTE_MS = 60_000
SENT = MINUTE_MS << 22
"""The id of a message of the first minute."""


EDIT = Edited(text=Text(body="x"))
WITH_FILE = ANNS._replace(has_files=True)


def mentioning(user_id: int) -> Edited:
    return Edited(text=Text(body="@x", mentions=[Mention(user_id=user_id, name="x")]))


def test_each_kind_of_the_protos_has_its_checks() -> None:
    assert {name: kind.contract for name, kind in KINDS.items()} == changes.KINDS


def test_the_docstring_names_each_module_that_depends_on_a_kind_by_its_name() -> None:
    names = "|".join(KINDS)
    bodies = "|".join(name.title().replace("_", "") for name in KINDS)
    use = re.compile(rf"\bchange\.({names})\b|(HasField\(|KINDS\[)\"({names})\"|\b({bodies})\(")
    root = Path(kinds.__file__).parents[2]
    modules = [path for part in ("bff", "messaging", "shared") for path in (root / part).rglob("*.py")]
    found = {str(path.relative_to(root)) for path in modules if use.search(path.read_text())}
    found = {path for path in found if not path.startswith("messaging/kinds/")}
    assert set(re.findall(r"`([\w/]+\.py)`", kinds.__doc__ or "")) == found


@pytest.mark.parametrize(
    ("actor_id", "target", "body", "code"),
    [
        (BEN, ANNS, {"reacted": Reacted()}, None),
        (ANN, GONE, {"reacted": Reacted()}, Code.NOT_FOUND),
        (BEN, FULL, {"reacted": Reacted(set=True)}, Code.TOO_LARGE),
        (BEN, FULL, {"reacted": Reacted()}, None),
        (BEN, FLOODED, {"reacted": Reacted()}, Code.TOO_LARGE),
        (ANN, FLOODED, {"edited": EDIT}, None),
        (ANN, ANNS, {"edited": mentioning(BEN)}, None),
        (ANN, ANNS, {"edited": mentioning(3)}, Code.NOT_FOUND),
        (BEN, ANNS, {"pinned": Pinned(set=True)}, None),
        (BEN, GONE, {"pinned": Pinned()}, Code.NOT_FOUND),
        (BEN, GONE, {"hidden": Hidden(set=True)}, None),
        (BEN, ANNS, {"starred": Starred(set=True)}, None),
        (BEN, GONE, {"starred": Starred()}, Code.NOT_FOUND),
        (ANN, ANNS, {"previewed": Previewed()}, None),
        (BEN, ANNS, {"previewed": Previewed()}, Code.FORBIDDEN),
        (ANN, GONE, {"previewed": Previewed()}, Code.NOT_FOUND),
        (BEN, THE_CHAT, {"marked_unread": MarkedUnread(set=True)}, None),
        (BEN, THE_CHAT, {"muted": Muted(until_ms=MAX_ID, except_mentions=True)}, None),
        (BEN, THE_CHAT, {"chat_pinned": ChatPinned(set=True)}, None),
        (BEN, THE_CHAT, {"archived": Archived(set=True)}, None),
        (BEN, THE_CHAT, {"without_previews": WithoutPreviews(set=True)}, None),
        (ANN, ANNS, {"edited": EDIT}, None),
        (ANN, ANNS, {"edited": Edited(text=Text(body=" "))}, Code.INVALID),
        (ANN, WITH_FILE, {"edited": Edited(text=Text())}, None),
        (BEN, ANNS, {"edited": Edited()}, Code.FORBIDDEN),
        (ANN, GONE, {"edited": Edited()}, Code.NOT_FOUND),
        (ANN, ANNS, {"deleted": Deleted()}, None),
        (ANN, GONE, {"deleted": Deleted()}, None),
        (BEN, GONE, {"deleted": Deleted()}, Code.FORBIDDEN),
        (BEN, THE_CHAT, {"marked": Marked(delivered_up_to=SENT)}, None),
        (BEN, THE_CHAT, {"marked": Marked(delivered_up_to=3 * SENT)}, Code.INVALID),
    ],
)
def test_who_may_make_which_change(actor_id: int, target: Target, body: dict[str, Any], code: Code | None) -> None:
    change = Change(actor_id=actor_id, target_id=SENT, **body)
    newest_ms = EPOCH_MS + 2 * MINUTE_MS
    circumstances = Circumstances(
        MEMBERS, DIRECT_PERMISSIONS, target, newest_ms, lambda: newest_ms, LiveConfiguration()
    )
    (name,) = body
    refusal = KINDS[name].refuse(change, circumstances)
    assert (None if refusal is None else refusal.code) == code


@pytest.mark.parametrize(
    ("target", "body", "permission", "code"),
    [
        (ANNS, {"reacted": Reacted(set=True)}, Permission.REACT, Code.FORBIDDEN),
        (ANNS, {"pinned": Pinned(set=True)}, Permission.PIN, Code.FORBIDDEN),
        (ANNS, {"deleted": Deleted()}, Permission.DELETE_MESSAGES, Code.FORBIDDEN),
        (BENS, {"edited": mentioning(ANN)}, Permission.POST, Code.FORBIDDEN),
        (ANNS, {"previewed": Previewed()}, Permission.DELETE_MESSAGES, Code.FORBIDDEN),
        (BENS, {"deleted": Deleted()}, None, None),
        (ANNS, {"starred": Starred(set=True)}, None, None),
        (CONTROL, {"hidden": Hidden(set=True)}, None, None),
        (CONTROL, {"pinned": Pinned(set=True)}, None, Code.INVALID),
        (CONTROL, {"starred": Starred(set=True)}, None, Code.INVALID),
        (CONTROL, {"deleted": Deleted()}, None, Code.INVALID),
    ],
)
def test_which_permission_a_change_needs_in_a_group(
    target: Target, body: dict[str, Any], permission: Permission | None, code: Code | None
) -> None:
    """With all others, it is refused with this code; with all, only changes of control changes are."""
    change = Change(actor_id=BEN, chat_id="g-7", target_id=SENT, **body)
    (name,) = body
    codes = []
    for permissions in (ALL_PERMISSIONS & ~(permission or ALL_PERMISSIONS), ALL_PERMISSIONS):
        circumstances = Circumstances(MEMBERS, permissions, target, EPOCH_MS, lambda: EPOCH_MS, LiveConfiguration())
        refusal = KINDS[name].refuse(change, circumstances)
        codes.append(refusal and refusal.code)
    assert codes == [code, None if permission else code]


@pytest.mark.parametrize(("seconds", "is_allowed"), [(0, True), (59, False), (60, True)])
def test_a_message_is_edited_within_the_configured_time(seconds: int, is_allowed: bool) -> None:
    change = Change(actor_id=ANN, target_id=SENT, edited=EDIT)
    now_ms = EPOCH_MS + 2 * MINUTE_MS
    circumstances = Circumstances(
        MEMBERS, DIRECT_PERMISSIONS, ANNS, now_ms, lambda: now_ms, LiveConfiguration(edit_seconds=seconds)
    )
    assert (KINDS["edited"].refuse(change, circumstances) is None) == is_allowed
