from rookery.v1 import groups_pb2 as _groups_pb2
from rookery.v1 import session_pb2 as _session_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChangeGroupRequest(_message.Message):
    __slots__ = ("chat_id", "client_change_id", "expected_version", "create", "add_members", "remove_member", "change_member", "change_settings", "join", "decline_user", "create_invite", "revoke_invite")
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_FIELD_NUMBER: _ClassVar[int]
    ADD_MEMBERS_FIELD_NUMBER: _ClassVar[int]
    REMOVE_MEMBER_FIELD_NUMBER: _ClassVar[int]
    CHANGE_MEMBER_FIELD_NUMBER: _ClassVar[int]
    CHANGE_SETTINGS_FIELD_NUMBER: _ClassVar[int]
    JOIN_FIELD_NUMBER: _ClassVar[int]
    DECLINE_USER_FIELD_NUMBER: _ClassVar[int]
    CREATE_INVITE_FIELD_NUMBER: _ClassVar[int]
    REVOKE_INVITE_FIELD_NUMBER: _ClassVar[int]
    chat_id: str
    client_change_id: str
    expected_version: int
    create: CreateGroup
    add_members: AddMembers
    remove_member: RemoveMember
    change_member: ChangeMember
    change_settings: ChangeSettings
    join: Join
    decline_user: DeclineUser
    create_invite: CreateInvite
    revoke_invite: RevokeInvite
    def __init__(self, chat_id: _Optional[str] = ..., client_change_id: _Optional[str] = ..., expected_version: _Optional[int] = ..., create: _Optional[_Union[CreateGroup, _Mapping]] = ..., add_members: _Optional[_Union[AddMembers, _Mapping]] = ..., remove_member: _Optional[_Union[RemoveMember, _Mapping]] = ..., change_member: _Optional[_Union[ChangeMember, _Mapping]] = ..., change_settings: _Optional[_Union[ChangeSettings, _Mapping]] = ..., join: _Optional[_Union[Join, _Mapping]] = ..., decline_user: _Optional[_Union[DeclineUser, _Mapping]] = ..., create_invite: _Optional[_Union[CreateInvite, _Mapping]] = ..., revoke_invite: _Optional[_Union[RevokeInvite, _Mapping]] = ...) -> None: ...

class ChangeGroupResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: _session_pb2.Event
    def __init__(self, event: _Optional[_Union[_session_pb2.Event, _Mapping]] = ...) -> None: ...

class CreateGroup(_message.Message):
    __slots__ = ("settings", "user_ids")
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    settings: _groups_pb2.GroupSettings
    user_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, settings: _Optional[_Union[_groups_pb2.GroupSettings, _Mapping]] = ..., user_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class AddMembers(_message.Message):
    __slots__ = ("user_ids", "role")
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    user_ids: _containers.RepeatedScalarFieldContainer[int]
    role: _groups_pb2.Role
    def __init__(self, user_ids: _Optional[_Iterable[int]] = ..., role: _Optional[_Union[_groups_pb2.Role, str]] = ...) -> None: ...

class RemoveMember(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    def __init__(self, user_id: _Optional[int] = ...) -> None: ...

class ChangeMember(_message.Message):
    __slots__ = ("user_id", "role", "allow", "deny")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    ALLOW_FIELD_NUMBER: _ClassVar[int]
    DENY_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    role: _groups_pb2.Role
    allow: int
    deny: int
    def __init__(self, user_id: _Optional[int] = ..., role: _Optional[_Union[_groups_pb2.Role, str]] = ..., allow: _Optional[int] = ..., deny: _Optional[int] = ...) -> None: ...

class ChangeSettings(_message.Message):
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

class Join(_message.Message):
    __slots__ = ("secret",)
    SECRET_FIELD_NUMBER: _ClassVar[int]
    secret: str
    def __init__(self, secret: _Optional[str] = ...) -> None: ...

class DeclineUser(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    def __init__(self, user_id: _Optional[int] = ...) -> None: ...

class CreateInvite(_message.Message):
    __slots__ = ("secret_hash", "expires_at_ms", "max_uses")
    SECRET_HASH_FIELD_NUMBER: _ClassVar[int]
    EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    MAX_USES_FIELD_NUMBER: _ClassVar[int]
    secret_hash: bytes
    expires_at_ms: int
    max_uses: int
    def __init__(self, secret_hash: _Optional[bytes] = ..., expires_at_ms: _Optional[int] = ..., max_uses: _Optional[int] = ...) -> None: ...

class RevokeInvite(_message.Message):
    __slots__ = ("invite_id",)
    INVITE_ID_FIELD_NUMBER: _ClassVar[int]
    invite_id: int
    def __init__(self, invite_id: _Optional[int] = ...) -> None: ...
