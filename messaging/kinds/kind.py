"""The type of the kinds of changes on the server, and the refusals that they share."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from rookery.v1.session_pb2 import Change
from shared.configuration import LiveConfiguration
from shared.contract import changes
from shared.contract.errors import Code, Refusal


class Target(NamedTuple):
    """The message that a change changes."""

    sender_id: int
    is_deleted: bool
    changes: int = 0
    """About how many changes it has."""


THE_CHAT = Target(0, False)
"""The target of a change of the chat itself."""


class Circumstances(NamedTuple):
    """The facts by which a change is allowed, beside its own fields. Times are in milliseconds since 1970."""

    members: Sequence[int]
    """Of the chat."""
    target: Target
    now_ms: int
    newest_ms: int
    """The latest time that the id of an existing message may have, since clocks differ."""
    configuration: LiveConfiguration


class Kind(msgspec.Struct, frozen=True):
    """The checks of one kind. Neither waits, and each refusal names the field and the limit."""

    contract: changes.Kind
    """Its name, law and key."""
    check: Callable[[Change, LiveConfiguration], Refusal | None]
    """Checks the shape and the limits of a change's body; may complete the body."""
    authorize: Callable[[Change, Circumstances], Refusal | None]
    """Refuses a change that its actor, a member of the chat, may not make."""
    needs_target: bool = True
    """Whether its changes are of a message; else they are of the chat."""


def has_any_body(change: Change, configuration: LiveConfiguration) -> None:
    """The check of a kind whose body is valid with any values."""


def needs_existing_target(change: Change, circumstances: Circumstances) -> Refusal | None:
    """Allow every member to make the change, unless the message was deleted."""
    return refuse_deleted(circumstances.target)


def needs_no_right(change: Change, circumstances: Circumstances) -> None:
    """Allow every member to make the change."""


def refuse_others(change: Change, target: Target, verb: str) -> Refusal | None:
    """The refusal of a change that only the sender of a message may make."""
    if change.actor_id == target.sender_id:
        return None
    return Refusal(Code.FORBIDDEN, f"Only the sender of a message can {verb} it.", "change.target_id")


def refuse_deleted(target: Target) -> Refusal | None:
    """The refusal of a change of a deleted message."""
    if not target.is_deleted:
        return None
    return Refusal(Code.NOT_FOUND, "The message was deleted.", "change.target_id")
