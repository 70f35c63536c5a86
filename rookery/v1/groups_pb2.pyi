from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Role(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLE_UNSPECIFIED: _ClassVar[Role]
    ROLE_GUEST: _ClassVar[Role]
    ROLE_MEMBER: _ClassVar[Role]
    ROLE_ADMIN: _ClassVar[Role]
    ROLE_OWNER: _ClassVar[Role]

class Permission(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PERMISSION_UNSPECIFIED: _ClassVar[Permission]
    PERMISSION_POST: _ClassVar[Permission]
    PERMISSION_REACT: _ClassVar[Permission]
    PERMISSION_PIN: _ClassVar[Permission]
    PERMISSION_ADD_MEMBERS: _ClassVar[Permission]
    PERMISSION_EDIT_SETTINGS: _ClassVar[Permission]
    PERMISSION_DELETE_MESSAGES: _ClassVar[Permission]
    PERMISSION_REMOVE_MEMBERS: _ClassVar[Permission]
    PERMISSION_MANAGE: _ClassVar[Permission]
    PERMISSION_MENTION_EVERYONE: _ClassVar[Permission]
ROLE_UNSPECIFIED: Role
ROLE_GUEST: Role
ROLE_MEMBER: Role
ROLE_ADMIN: Role
ROLE_OWNER: Role
PERMISSION_UNSPECIFIED: Permission
PERMISSION_POST: Permission
PERMISSION_REACT: Permission
PERMISSION_PIN: Permission
PERMISSION_ADD_MEMBERS: Permission
PERMISSION_EDIT_SETTINGS: Permission
PERMISSION_DELETE_MESSAGES: Permission
PERMISSION_REMOVE_MEMBERS: Permission
PERMISSION_MANAGE: Permission
PERMISSION_MENTION_EVERYONE: Permission

class Control(_message.Message):
    __slots__ = ("version", "settings", "changed", "members", "invites", "member_count")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    INVITES_FIELD_NUMBER: _ClassVar[int]
    MEMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    version: int
    settings: GroupSettings
    changed: _containers.RepeatedScalarFieldContainer[str]
    members: _containers.RepeatedCompositeFieldContainer[Member]
    invites: _containers.RepeatedCompositeFieldContainer[Invite]
    member_count: int
    def __init__(self, version: _Optional[int] = ..., settings: _Optional[_Union[GroupSettings, _Mapping]] = ..., changed: _Optional[_Iterable[str]] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., invites: _Optional[_Iterable[_Union[Invite, _Mapping]]] = ..., member_count: _Optional[int] = ...) -> None: ...

class GroupSettings(_message.Message):
    __slots__ = ("name", "topic", "permissions", "shows_history", "is_public", "asks_to_join", "is_channel", "avatar", "without_previews")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TOPIC_FIELD_NUMBER: _ClassVar[int]
    PERMISSIONS_FIELD_NUMBER: _ClassVar[int]
    SHOWS_HISTORY_FIELD_NUMBER: _ClassVar[int]
    IS_PUBLIC_FIELD_NUMBER: _ClassVar[int]
    ASKS_TO_JOIN_FIELD_NUMBER: _ClassVar[int]
    IS_CHANNEL_FIELD_NUMBER: _ClassVar[int]
    AVATAR_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_PREVIEWS_FIELD_NUMBER: _ClassVar[int]
    name: str
    topic: str
    permissions: int
    shows_history: bool
    is_public: bool
    asks_to_join: bool
    is_channel: bool
    avatar: str
    without_previews: bool
    def __init__(self, name: _Optional[str] = ..., topic: _Optional[str] = ..., permissions: _Optional[int] = ..., shows_history: _Optional[bool] = ..., is_public: _Optional[bool] = ..., asks_to_join: _Optional[bool] = ..., is_channel: _Optional[bool] = ..., avatar: _Optional[str] = ..., without_previews: _Optional[bool] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("user_id", "role", "allow", "deny", "spans", "version", "former_role", "asked_at_ms", "invite_id", "was_removed", "was_guest")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ALLOW_FIELD_NUMBER: _ClassVar[int]
    DENY_FIELD_NUMBER: _ClassVar[int]
    SPANS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    FORMER_ROLE_FIELD_NUMBER: _ClassVar[int]
    ASKED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    INVITE_ID_FIELD_NUMBER: _ClassVar[int]
    WAS_REMOVED_FIELD_NUMBER: _ClassVar[int]
    WAS_GUEST_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    role: Role
    allow: int
    deny: int
    spans: _containers.RepeatedCompositeFieldContainer[Span]
    version: int
    former_role: Role
    asked_at_ms: int
    invite_id: int
    was_removed: bool
    was_guest: bool
    def __init__(self, user_id: _Optional[int] = ..., role: _Optional[_Union[Role, str]] = ..., allow: _Optional[int] = ..., deny: _Optional[int] = ..., spans: _Optional[_Iterable[_Union[Span, _Mapping]]] = ..., version: _Optional[int] = ..., former_role: _Optional[_Union[Role, str]] = ..., asked_at_ms: _Optional[int] = ..., invite_id: _Optional[int] = ..., was_removed: _Optional[bool] = ..., was_guest: _Optional[bool] = ...) -> None: ...

class Invite(_message.Message):
    __slots__ = ("invite_id", "secret_hash", "creator_id", "expires_at_ms", "max_uses", "uses", "is_revoked", "version")
    INVITE_ID_FIELD_NUMBER: _ClassVar[int]
    SECRET_HASH_FIELD_NUMBER: _ClassVar[int]
    CREATOR_ID_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_USES_FIELD_NUMBER: _ClassVar[int]
    USES_FIELD_NUMBER: _ClassVar[int]
    IS_REVOKED_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    invite_id: int
    secret_hash: bytes
    creator_id: int
    expires_at_ms: int
    max_uses: int
    uses: int
    is_revoked: bool
    version: int
    def __init__(self, invite_id: _Optional[int] = ..., secret_hash: _Optional[bytes] = ..., creator_id: _Optional[int] = ..., expires_at_ms: _Optional[int] = ..., max_uses: _Optional[int] = ..., uses: _Optional[int] = ..., is_revoked: _Optional[bool] = ..., version: _Optional[int] = ...) -> None: ...

class Span(_message.Message):
    __slots__ = ("first", "last")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    first: int
    last: int
    def __init__(self, first: _Optional[int] = ..., last: _Optional[int] = ...) -> None: ...
