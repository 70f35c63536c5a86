"""The type of the kinds of changes on the server, and the refusals that they share."""

from collections.abc import Callable, Container
from typing import NamedTuple

import msgspec

from rookery.v1.kinds_pb2 import LAW_MAX
from rookery.v1.session_pb2 import Change
from shared.configuration import LiveConfiguration
from shared.contract import changes
from shared.contract.errors import Code, Refusal
from shared.contract.groups import NO_PERMISSIONS, PERMISSION_TEXTS, Permission


class Target(NamedTuple):
    """The message that a change changes."""

    sender_id: int
    is_deleted: bool
    changes: int = 0
    """The approximate number of its changes."""
    is_control: bool = False
    """Whether it is a control change of a group."""
    has_files: bool = False


THE_CHAT = Target(0, False)
"""The target of a change of the chat itself."""


class Circumstances(NamedTuple):
    """The facts by which a change is allowed, beside its own fields. Times are in milliseconds since 1970."""

    members: Container[int]
    """The members of the chat."""
    permissions: Permission
    """The permissions of the actor in the chat."""
    target: Target
    now_ms: int
    newest_ms: Callable[[], int]
    """Return the latest time that the id of an existing message may have, since clocks differ: few kinds need it."""
    configuration: LiveConfiguration


def never_read_mark(change: Change) -> bool:
    """Return False: no change of the kind states how far its actor has read."""
    return False


class Kind(msgspec.Struct, frozen=True):
    """The checks of one kind. Neither waits, and each refusal names the field and the limit."""

    contract: changes.Kind
    """Its name, law and key."""
    check: Callable[[Change, LiveConfiguration], Refusal | None]
    """Checks the shape and the limits of a change's body; may complete the body."""
    authorize: Callable[[Change, Circumstances], Refusal | None]
    """Refuses a change that its actor, who has the permission, may not make."""
    permission: Permission = NO_PERMISSIONS
    """The permission that the actor needs."""
    is_of_controls: bool = False
    """Whether control changes of groups can be its targets, too."""
    is_read_mark: Callable[[Change], bool] = never_read_mark
    """Whether a change states how far its actor has read, which users may hide from each other."""

    @property
    def is_mark(self) -> bool:
        """Whether its changes state how far their actor has received or read a chat."""
        return self.contract.law == LAW_MAX

    @property
    def is_personal(self) -> bool:
        """Whether, in a group, only the devices of the actor receive its changes, and a former member can make them."""
        return self.contract.is_private or self.is_mark

    def refuse(self, change: Change, circumstances: Circumstances) -> Refusal | None:
        """The refusal of a change that its actor, a user of the chat, may not make."""
        if circumstances.target.is_control and not self.is_of_controls:
            return refuse_control("change.target_id")
        if self.permission not in circumstances.permissions:
            return refuse_without(self.permission, "change.chat_id")
        return self.authorize(change, circumstances)


def accept_any_body(change: Change, configuration: LiveConfiguration) -> None:
    """The check of a kind whose body is valid with any values."""


def needs_existing_target(change: Change, circumstances: Circumstances) -> Refusal | None:
    """Allow every member to make the change, unless the message was deleted."""
    return refuse_deleted(circumstances.target)


def allow_every_member(change: Change, circumstances: Circumstances) -> None:
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


def refuse_control(field: str) -> Refusal:
    """The refusal of a change of, or of a reply to, a control change of a group; `field` names it."""
    return Refusal(Code.INVALID, "This is a change of the group, and no message of a member.", field)


def refuse_without(permission: Permission, field: str) -> Refusal:
    """The refusal for a missing permission; `field` names the field that needs it, or the chat."""
    return Refusal(Code.FORBIDDEN, f"You may not {PERMISSION_TEXTS[permission]} here.", field)
