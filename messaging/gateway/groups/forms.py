"""Checks the form of a request to change a group, sans I/O: each refusal names the field and the limit.

A field has the name that it has in the HTTP API, such as `user_ids[3]`.
"""

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Sequence

from rookery.v1.group_service_pb2 import (
    AddMembers,
    ChangeGroupRequest,
    ChangeMember,
    ChangeSettings,
    CreateGroup,
    CreateInvite,
)
from rookery.v1.groups_pb2 import (
    ROLE_GUEST,
    ROLE_MEMBER,
    ROLE_OWNER,
    ROLE_UNSPECIFIED,
    Control,
    GroupSettings,
    Member,
    Role,
)
from shared.contract.avatars import is_avatar_of
from shared.contract.chats import MAX_CLIENT_ID, group_chat_id, is_group, no_such_chat
from shared.contract.errors import Code, Refusal
from shared.contract.groups import (
    ALL_PERMISSIONS,
    DEFAULT_PERMISSIONS,
    MAX_MEMBERS,
    MAX_NAME_BYTES,
    MAX_TOPIC_BYTES,
    MAX_USES,
)
from shared.contract.ids import MAX_ID
from shared.contract.joining import secret_hash

HASH_BYTES = 32
"""Bytes of a hash, which is SHA-256."""

MAX_SECRET_BYTES = 64
"""Most bytes of a secret. The secret of a token has 22."""

MAX_ADDED = MAX_MEMBERS - 1
"""Users that one request adds at most: see group_service.proto."""

JOIN_ROLES = (ROLE_GUEST, ROLE_MEMBER)
"""The roles with which users join by themselves."""

JOINERS = "\u200c\u200d"
"""The invisible characters that a name may have anywhere: scripts and emoji need them."""

FLAG_TAGS = re.compile("(?<=\U0001f3f4)[\U000e0020-\U000e007e]+\U000e007f")
"""The invisible characters of the flag of a region, such as Scotland: they follow a black flag."""

CONTROL_CHARACTERS = frozenset(("Cc", "Cf", "Zl", "Zp"))
"""Unicode's categories of the other ones: they break a line, or hide or reorder text."""


def check(request: ChangeGroupRequest, user_id: int) -> Refusal | None:
    """The refusal of a malformed request of the user; None if it is well-formed."""
    kind = request.WhichOneof("change")
    if kind is None:
        return Refusal(Code.MALFORMED, "The request is empty, or of a kind that this server does not know.")
    if not 0 < len(request.client_change_id.encode()) <= MAX_CLIENT_ID:
        message = f"`client_change_id` must have 1 to {MAX_CLIENT_ID} bytes."
        return Refusal(Code.INVALID, message, "client_change_id")
    if not is_group(request.chat_id):
        return no_such_chat()
    match kind:
        case "create":
            if request.chat_id != group_chat_id(user_id, request.client_change_id):
                message = "The id of a new group must be made of the user and the `client_change_id`."
                return Refusal(Code.INVALID, message, "chat_id")
            return _check_create(request.create, user_id)
        case "add_members":
            return _check_add(request.add_members)
        case "remove_member":
            return _check_id(request.remove_member.user_id, "user_id")
        case "change_member":
            return _check_change_member(request.change_member)
        case "change_settings":
            return _check_change_settings(request.change_settings, request.chat_id)
        case "join":
            return _check_join(request)
        case "decline_user":
            return _check_id(request.decline_user.user_id, "user_id")
        case "create_invite":
            return _check_invite(request.create_invite)
        case "revoke_invite":
            return _check_id(request.revoke_invite.invite_id, "invite_id", "invite links")
        case kind:
            raise AssertionError(f"no check of {kind}")


def named_users(request: ChangeGroupRequest) -> Sequence[int]:
    """The users that the request adds, whose accounts must exist."""
    return request.create.user_ids or request.add_members.user_ids


def named_owner(request: ChangeGroupRequest) -> int:
    """The user to whom the request hands the group over; 0 if it does not."""
    return request.change_member.user_id if request.change_member.role == ROLE_OWNER else 0


def looked_up_users(request: ChangeGroupRequest, user_id: int) -> Sequence[int]:
    """The users whom a decision on the user's request must know in a channel, beside the creators of invite links and
    the users who have asked to join: MAX_LOOKED_UP at most."""
    changed = request.remove_member.user_id, request.change_member.user_id, request.decline_user.user_id
    return [user_id, *named_users(request), *(each for each in changed if each)]


def role_of_added(add: AddMembers) -> Role:
    return add.role or ROLE_MEMBER


def settings_of_new(create: CreateGroup) -> GroupSettings:
    """The settings of a group that is created, without the fields that this release does not know, and without a
    picture, which a group can only get later."""
    given = create.settings
    return GroupSettings(
        name=given.name,
        topic=given.topic,
        permissions=given.permissions or int(DEFAULT_PERMISSIONS),
        shows_history=given.shows_history,
        is_public=given.is_public,
        asks_to_join=given.asks_to_join,
        is_channel=given.is_channel,
        without_previews=given.without_previews,
    )


def stored_client_id(request: ChangeGroupRequest) -> str:
    """The `client_message_id` of the control change that the request makes: 72 bytes, which no client may choose for a
    message, since tails and stores keep only the first of two events with one id."""
    digest = hashlib.sha256(f"{request.chat_id} {request.client_change_id}".encode()).hexdigest()
    return f"control:{digest}"


def is_result(request: ChangeGroupRequest, control: Control) -> bool:
    """Whether the control change, which has the client id of the request, may be the result of an equal request."""
    members, settings = control.members, control.settings
    is_creation = control.version == 1
    match request.WhichOneof("change"):
        case "create":
            create = request.create
            wanted = settings_of_new(create)
            return is_creation and wanted == settings and _ids(members) - {_owner(members)} == set(create.user_ids)
        case "add_members":
            add = request.add_members
            joined = [each for each in members if not each.former_role and each.role == role_of_added(add)]
            return not is_creation and len(joined) == len(members) and _ids(members) == set(add.user_ids)
        case "remove_member":
            return [request.remove_member.user_id] == [
                each.user_id for each in members if each.former_role and not each.role
            ]
        case "change_member":
            asked_for = request.change_member
            changed = [each for each in members if each.former_role and each.role]
            return any(asked_for.user_id == each.user_id and has_values(each, asked_for) for each in changed)
        case "change_settings":
            return not is_creation and bool(control.changed) and has_values(settings, request.change_settings)
        case "join":
            hashes = [secret_hash(request.join.secret)] if request.join.secret else []
            came = [each for each in members if not each.former_role and (each.role in JOIN_ROLES or each.asked_at_ms)]
            used_ids = [each.invite_id for each in came]
            used = [each.secret_hash for each in control.invites if each.invite_id in used_ids]
            is_join = len(came) == 1 and len(came) + len(_declined(members)) == len(members)
            return not is_creation and is_join and used == hashes
        case "decline_user":
            return [request.decline_user.user_id] == _declined(members)
        case "create_invite":
            asked = request.create_invite.secret_hash, request.create_invite.max_uses
            return any(asked == (each.secret_hash, each.max_uses) and not each.is_revoked for each in control.invites)
        case "revoke_invite":
            invite_id = request.revoke_invite.invite_id
            return [invite_id] == [each.invite_id for each in control.invites if each.is_revoked]
        case kind:
            raise AssertionError(f"no comparison of {kind}")


def has_values(present: Member | GroupSettings, change: ChangeMember | ChangeSettings) -> bool:
    """Whether each value that the change sets is there."""
    return all(getattr(present, field.name) == value for field, value in change.ListFields())


def _ids(members: Iterable[Member]) -> set[int]:
    return {each.user_id for each in members}


def _declined(members: Iterable[Member]) -> list[int]:
    return [each.user_id for each in members if not (each.former_role or each.role or each.asked_at_ms)]


def _owner(members: Iterable[Member]) -> int:
    return next((each.user_id for each in members if each.role == ROLE_OWNER), 0)


def _check_create(create: CreateGroup, user_id: int) -> Refusal | None:
    settings = create.settings
    refusal = _check_settings(settings.name, settings.topic, settings.permissions)
    if refusal or user_id not in create.user_ids:
        return refusal or _check_users(create.user_ids)
    message = "The creator of a group becomes its owner, and is not among the added users."
    return Refusal(Code.INVALID, message, f"user_ids[{list(create.user_ids).index(user_id)}]")


def _check_add(add: AddMembers) -> Refusal | None:
    if add.role not in (ROLE_UNSPECIFIED, ROLE_GUEST, ROLE_MEMBER):
        return Refusal(Code.INVALID, "Users are added as guests or as members.", "role")
    if not add.user_ids:
        return Refusal(Code.INVALID, f"`user_ids` must have 1 to {MAX_ADDED} ids.", "user_ids")
    return _check_users(add.user_ids)


def _check_users(user_ids: Sequence[int]) -> Refusal | None:
    if len(user_ids) > MAX_ADDED:
        return Refusal(Code.TOO_LARGE, f"One request adds {MAX_ADDED} users at most.", "user_ids")
    seen: set[int] = set()
    for index, user_id in enumerate(user_ids):
        field = f"user_ids[{index}]"
        if refusal := _check_id(user_id, field):
            return refusal
        if user_id in seen:
            return Refusal(Code.INVALID, "Each user is added once.", field)
        seen.add(user_id)
    return None


def _check_change_member(change: ChangeMember) -> Refusal | None:
    if refusal := _check_id(change.user_id, "user_id"):
        return refusal
    if not any(map(change.HasField, ("role", "allow", "deny"))):
        return Refusal(Code.INVALID, "A change of a member needs `role`, `allow` or `deny`.", "role")
    if change.HasField("role") and not ROLE_GUEST <= change.role <= ROLE_OWNER:
        return Refusal(Code.INVALID, "`role` must be that of a guest, a member, an admin or the owner.", "role")
    return _check_mask(change.allow, "allow") or _check_mask(change.deny, "deny")


def _check_change_settings(change: ChangeSettings, chat_id: str) -> Refusal | None:
    if not change.ListFields():
        return Refusal(Code.INVALID, "A change of settings needs at least one of them.", "name")
    if change.HasField("is_channel") and not change.is_channel:
        return Refusal(Code.INVALID, "A channel does not become a group again.", "is_channel")
    if change.avatar and not is_avatar_of(chat_id, change.avatar):
        return Refusal(Code.INVALID, "This is not a picture of this group.", "avatar")
    return _check_settings(change.name if change.HasField("name") else None, change.topic, change.permissions)


def _check_settings(name: str | None, topic: str, permissions: int) -> Refusal | None:
    """`name` is None if it is not set."""
    if name is not None:
        if all(character.isspace() or character in JOINERS for character in name):
            return Refusal(Code.INVALID, "The name must have more than white space.", "name")
        if refusal := _check_line(name, MAX_NAME_BYTES, "name"):
            return refusal
    return _check_line(topic, MAX_TOPIC_BYTES, "topic") or _check_mask(permissions, "permissions")


def _check_line(text: str, limit: int, field: str) -> Refusal | None:
    if len(text.encode()) > limit:
        return Refusal(Code.TOO_LARGE, f"The {field} must have at most {limit} bytes.", field)
    for character in FLAG_TAGS.sub("", text):
        if character not in JOINERS and unicodedata.category(character) in CONTROL_CHARACTERS:
            message = f"The {field} must not have line breaks, control characters or invisible characters."
            return Refusal(Code.INVALID, message, field)
    return None


def _check_mask(mask: int, field: str) -> Refusal | None:
    if mask & ~int(ALL_PERMISSIONS):
        message = f"`{field}` must be a sum of permissions: {int(ALL_PERMISSIONS)} at most."
        return Refusal(Code.INVALID, message, field)
    return None


def _check_join(request: ChangeGroupRequest) -> Refusal | None:
    if len(request.join.secret.encode()) > MAX_SECRET_BYTES:
        return Refusal(Code.INVALID, f"`secret` must have at most {MAX_SECRET_BYTES} bytes.", "secret")
    if request.expected_version:  # which a user who is no member does not know
        return Refusal(Code.INVALID, "`expected_version` must be 0 to join.", "expected_version")
    return None


def _check_invite(create: CreateInvite) -> Refusal | None:
    if len(create.secret_hash) != HASH_BYTES:
        return Refusal(Code.INVALID, f"`secret_hash` must have {HASH_BYTES} bytes.", "secret_hash")
    if create.expires_at_ms < 0:
        return Refusal(Code.INVALID, "`expires_at_ms` must be 0 or more.", "expires_at_ms")
    if create.max_uses > MAX_USES:
        return Refusal(Code.INVALID, f"`max_uses` must be {MAX_USES} at most; 0 for any number.", "max_uses")
    return None


def _check_id(value: int, field: str, kind: str = "users") -> Refusal | None:
    if 1 <= value <= MAX_ID:
        return None
    return Refusal(Code.INVALID, f"Ids of {kind} are numbers from 1 to {MAX_ID}.", field)
