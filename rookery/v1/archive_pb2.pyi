from rookery.v1 import files_pb2 as _files_pb2
from rookery.v1 import groups_pb2 as _groups_pb2
from rookery.v1 import session_pb2 as _session_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ChatKind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHAT_KIND_UNSPECIFIED: _ClassVar[ChatKind]
    CHAT_KIND_DIRECT: _ClassVar[ChatKind]
    CHAT_KIND_GROUP: _ClassVar[ChatKind]

class FileState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILE_STATE_UNSPECIFIED: _ClassVar[FileState]
    FILE_STATE_UPLOADING: _ClassVar[FileState]
    FILE_STATE_COMPLETE: _ClassVar[FileState]
    FILE_STATE_BLOCKED: _ClassVar[FileState]

class FileClass(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FILE_CLASS_UNSPECIFIED: _ClassVar[FileClass]
    FILE_CLASS_MEDIA: _ClassVar[FileClass]
    FILE_CLASS_OTHER: _ClassVar[FileClass]
    FILE_CLASS_LINKS: _ClassVar[FileClass]
CHAT_KIND_UNSPECIFIED: ChatKind
CHAT_KIND_DIRECT: ChatKind
CHAT_KIND_GROUP: ChatKind
FILE_STATE_UNSPECIFIED: FileState
FILE_STATE_UPLOADING: FileState
FILE_STATE_COMPLETE: FileState
FILE_STATE_BLOCKED: FileState
FILE_CLASS_UNSPECIFIED: FileClass
FILE_CLASS_MEDIA: FileClass
FILE_CLASS_OTHER: FileClass
FILE_CLASS_LINKS: FileClass

class Chat(_message.Message):
    __slots__ = ("chat_id", "kind", "member_ids", "newest", "unread", "marks", "changed_at_ms", "changes", "version", "settings", "member_count", "own", "unread_mentions", "newest_sent_id")
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    MEMBER_IDS_FIELD_NUMBER: _ClassVar[int]
    NEWEST_FIELD_NUMBER: _ClassVar[int]
    UNREAD_FIELD_NUMBER: _ClassVar[int]
    MARKS_FIELD_NUMBER: _ClassVar[int]
    CHANGED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    MEMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    UNREAD_MENTIONS_FIELD_NUMBER: _ClassVar[int]
    NEWEST_SENT_ID_FIELD_NUMBER: _ClassVar[int]
    chat_id: str
    kind: ChatKind
    member_ids: _containers.RepeatedScalarFieldContainer[int]
    newest: HistoryMessage
    unread: int
    marks: _containers.RepeatedCompositeFieldContainer[Mark]
    changed_at_ms: int
    changes: _containers.RepeatedCompositeFieldContainer[_session_pb2.Event]
    version: int
    settings: _groups_pb2.GroupSettings
    member_count: int
    own: _groups_pb2.Member
    unread_mentions: int
    newest_sent_id: int
    def __init__(self, chat_id: _Optional[str] = ..., kind: _Optional[_Union[ChatKind, str]] = ..., member_ids: _Optional[_Iterable[int]] = ..., newest: _Optional[_Union[HistoryMessage, _Mapping]] = ..., unread: _Optional[int] = ..., marks: _Optional[_Iterable[_Union[Mark, _Mapping]]] = ..., changed_at_ms: _Optional[int] = ..., changes: _Optional[_Iterable[_Union[_session_pb2.Event, _Mapping]]] = ..., version: _Optional[int] = ..., settings: _Optional[_Union[_groups_pb2.GroupSettings, _Mapping]] = ..., member_count: _Optional[int] = ..., own: _Optional[_Union[_groups_pb2.Member, _Mapping]] = ..., unread_mentions: _Optional[int] = ..., newest_sent_id: _Optional[int] = ...) -> None: ...

class Mark(_message.Message):
    __slots__ = ("user_id", "delivered_up_to", "read_up_to")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_UP_TO_FIELD_NUMBER: _ClassVar[int]
    READ_UP_TO_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    delivered_up_to: int
    read_up_to: int
    def __init__(self, user_id: _Optional[int] = ..., delivered_up_to: _Optional[int] = ..., read_up_to: _Optional[int] = ...) -> None: ...

class HistoryMessage(_message.Message):
    __slots__ = ("message", "changes")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    message: _session_pb2.Message
    changes: _containers.RepeatedCompositeFieldContainer[_session_pb2.Event]
    def __init__(self, message: _Optional[_Union[_session_pb2.Message, _Mapping]] = ..., changes: _Optional[_Iterable[_Union[_session_pb2.Event, _Mapping]]] = ...) -> None: ...

class ListChatsRequest(_message.Message):
    __slots__ = ("user_id", "changed_since_ms", "limit", "cursor")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CHANGED_SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    changed_since_ms: int
    limit: int
    cursor: str
    def __init__(self, user_id: _Optional[int] = ..., changed_since_ms: _Optional[int] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...

class ListChatsResponse(_message.Message):
    __slots__ = ("chats", "next_cursor", "complete_up_to")
    CHATS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_UP_TO_FIELD_NUMBER: _ClassVar[int]
    chats: _containers.RepeatedCompositeFieldContainer[Chat]
    next_cursor: str
    complete_up_to: int
    def __init__(self, chats: _Optional[_Iterable[_Union[Chat, _Mapping]]] = ..., next_cursor: _Optional[str] = ..., complete_up_to: _Optional[int] = ...) -> None: ...

class GetChatRequest(_message.Message):
    __slots__ = ("user_id", "chat_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    chat_id: str
    def __init__(self, user_id: _Optional[int] = ..., chat_id: _Optional[str] = ...) -> None: ...

class GetChatResponse(_message.Message):
    __slots__ = ("chat",)
    CHAT_FIELD_NUMBER: _ClassVar[int]
    chat: Chat
    def __init__(self, chat: _Optional[_Union[Chat, _Mapping]] = ...) -> None: ...

class ListMessagesRequest(_message.Message):
    __slots__ = ("user_id", "chat_id", "before_id", "after_id", "around_id", "before_ms", "after_ms", "around_ms", "limit", "having")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    BEFORE_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_ID_FIELD_NUMBER: _ClassVar[int]
    AROUND_ID_FIELD_NUMBER: _ClassVar[int]
    BEFORE_MS_FIELD_NUMBER: _ClassVar[int]
    AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    AROUND_MS_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    HAVING_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    chat_id: str
    before_id: int
    after_id: int
    around_id: int
    before_ms: int
    after_ms: int
    around_ms: int
    limit: int
    having: str
    def __init__(self, user_id: _Optional[int] = ..., chat_id: _Optional[str] = ..., before_id: _Optional[int] = ..., after_id: _Optional[int] = ..., around_id: _Optional[int] = ..., before_ms: _Optional[int] = ..., after_ms: _Optional[int] = ..., around_ms: _Optional[int] = ..., limit: _Optional[int] = ..., having: _Optional[str] = ...) -> None: ...

class ListMessagesResponse(_message.Message):
    __slots__ = ("messages", "has_older", "has_newer", "complete_up_to")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    HAS_OLDER_FIELD_NUMBER: _ClassVar[int]
    HAS_NEWER_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_UP_TO_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[HistoryMessage]
    has_older: bool
    has_newer: bool
    complete_up_to: int
    def __init__(self, messages: _Optional[_Iterable[_Union[HistoryMessage, _Mapping]]] = ..., has_older: _Optional[bool] = ..., has_newer: _Optional[bool] = ..., complete_up_to: _Optional[int] = ...) -> None: ...

class GetMessageRequest(_message.Message):
    __slots__ = ("user_id", "chat_id", "message_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    chat_id: str
    message_id: int
    def __init__(self, user_id: _Optional[int] = ..., chat_id: _Optional[str] = ..., message_id: _Optional[int] = ...) -> None: ...

class GetMessageResponse(_message.Message):
    __slots__ = ("message", "complete_up_to")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_UP_TO_FIELD_NUMBER: _ClassVar[int]
    message: HistoryMessage
    complete_up_to: int
    def __init__(self, message: _Optional[_Union[HistoryMessage, _Mapping]] = ..., complete_up_to: _Optional[int] = ...) -> None: ...

class ListChangesRequest(_message.Message):
    __slots__ = ("user_id", "chat_id", "after")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    chat_id: str
    after: int
    def __init__(self, user_id: _Optional[int] = ..., chat_id: _Optional[str] = ..., after: _Optional[int] = ...) -> None: ...

class ListChangesResponse(_message.Message):
    __slots__ = ("events", "too_old", "complete_up_to")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    TOO_OLD_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_UP_TO_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_session_pb2.Event]
    too_old: bool
    complete_up_to: int
    def __init__(self, events: _Optional[_Iterable[_Union[_session_pb2.Event, _Mapping]]] = ..., too_old: _Optional[bool] = ..., complete_up_to: _Optional[int] = ...) -> None: ...

class ListVersionsRequest(_message.Message):
    __slots__ = ("user_id", "chat_id", "message_id", "kind")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    chat_id: str
    message_id: int
    kind: str
    def __init__(self, user_id: _Optional[int] = ..., chat_id: _Optional[str] = ..., message_id: _Optional[int] = ..., kind: _Optional[str] = ...) -> None: ...

class ListVersionsResponse(_message.Message):
    __slots__ = ("changes",)
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    changes: _containers.RepeatedCompositeFieldContainer[_session_pb2.Event]
    def __init__(self, changes: _Optional[_Iterable[_Union[_session_pb2.Event, _Mapping]]] = ...) -> None: ...

class FindSentRequest(_message.Message):
    __slots__ = ("user_id", "chat_id", "client_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    chat_id: str
    client_id: str
    def __init__(self, user_id: _Optional[int] = ..., chat_id: _Optional[str] = ..., client_id: _Optional[str] = ...) -> None: ...

class FindSentResponse(_message.Message):
    __slots__ = ("event",)
    EVENT_FIELD_NUMBER: _ClassVar[int]
    event: _session_pb2.Event
    def __init__(self, event: _Optional[_Union[_session_pb2.Event, _Mapping]] = ...) -> None: ...

class ListMembersRequest(_message.Message):
    __slots__ = ("user_id", "chat_id", "limit", "after", "user_ids")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    chat_id: str
    limit: int
    after: int
    user_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, user_id: _Optional[int] = ..., chat_id: _Optional[str] = ..., limit: _Optional[int] = ..., after: _Optional[int] = ..., user_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class ListMembersResponse(_message.Message):
    __slots__ = ("members", "has_more", "version")
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    HAS_MORE_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    members: _containers.RepeatedCompositeFieldContainer[_groups_pb2.Member]
    has_more: bool
    version: int
    def __init__(self, members: _Optional[_Iterable[_Union[_groups_pb2.Member, _Mapping]]] = ..., has_more: _Optional[bool] = ..., version: _Optional[int] = ...) -> None: ...

class ListMarksRequest(_message.Message):
    __slots__ = ("user_id", "chat_id", "from_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    FROM_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    chat_id: str
    from_id: int
    def __init__(self, user_id: _Optional[int] = ..., chat_id: _Optional[str] = ..., from_id: _Optional[int] = ...) -> None: ...

class ListMarksResponse(_message.Message):
    __slots__ = ("marks",)
    MARKS_FIELD_NUMBER: _ClassVar[int]
    marks: _containers.RepeatedCompositeFieldContainer[Mark]
    def __init__(self, marks: _Optional[_Iterable[_Union[Mark, _Mapping]]] = ...) -> None: ...

class ListPublicChatsRequest(_message.Message):
    __slots__ = ("user_id", "query", "limit", "cursor")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    query: str
    limit: int
    cursor: str
    def __init__(self, user_id: _Optional[int] = ..., query: _Optional[str] = ..., limit: _Optional[int] = ..., cursor: _Optional[str] = ...) -> None: ...

class ListPublicChatsResponse(_message.Message):
    __slots__ = ("chats", "next_cursor")
    CHATS_FIELD_NUMBER: _ClassVar[int]
    NEXT_CURSOR_FIELD_NUMBER: _ClassVar[int]
    chats: _containers.RepeatedCompositeFieldContainer[PublicChat]
    next_cursor: str
    def __init__(self, chats: _Optional[_Iterable[_Union[PublicChat, _Mapping]]] = ..., next_cursor: _Optional[str] = ...) -> None: ...

class PublicChat(_message.Message):
    __slots__ = ("chat_id", "settings", "member_count", "own")
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    MEMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    OWN_FIELD_NUMBER: _ClassVar[int]
    chat_id: str
    settings: _groups_pb2.GroupSettings
    member_count: int
    own: _groups_pb2.Member
    def __init__(self, chat_id: _Optional[str] = ..., settings: _Optional[_Union[_groups_pb2.GroupSettings, _Mapping]] = ..., member_count: _Optional[int] = ..., own: _Optional[_Union[_groups_pb2.Member, _Mapping]] = ...) -> None: ...

class Group(_message.Message):
    __slots__ = ("chat_id", "version", "settings", "members", "invites", "member_count", "changed_id")
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    INVITES_FIELD_NUMBER: _ClassVar[int]
    MEMBER_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_ID_FIELD_NUMBER: _ClassVar[int]
    chat_id: str
    version: int
    settings: _groups_pb2.GroupSettings
    members: _containers.RepeatedCompositeFieldContainer[_groups_pb2.Member]
    invites: _containers.RepeatedCompositeFieldContainer[_groups_pb2.Invite]
    member_count: int
    changed_id: int
    def __init__(self, chat_id: _Optional[str] = ..., version: _Optional[int] = ..., settings: _Optional[_Union[_groups_pb2.GroupSettings, _Mapping]] = ..., members: _Optional[_Iterable[_Union[_groups_pb2.Member, _Mapping]]] = ..., invites: _Optional[_Iterable[_Union[_groups_pb2.Invite, _Mapping]]] = ..., member_count: _Optional[int] = ..., changed_id: _Optional[int] = ...) -> None: ...

class GetGroupRequest(_message.Message):
    __slots__ = ("chat_id", "user_ids")
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    chat_id: str
    user_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, chat_id: _Optional[str] = ..., user_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class GetGroupResponse(_message.Message):
    __slots__ = ("group",)
    GROUP_FIELD_NUMBER: _ClassVar[int]
    group: Group
    def __init__(self, group: _Optional[_Union[Group, _Mapping]] = ...) -> None: ...

class StoredFile(_message.Message):
    __slots__ = ("file", "owner_id", "state", "sha256", "upload_id", "reserved_at_ms", "rendition", "keep_original")
    FILE_FIELD_NUMBER: _ClassVar[int]
    OWNER_ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_ID_FIELD_NUMBER: _ClassVar[int]
    RESERVED_AT_MS_FIELD_NUMBER: _ClassVar[int]
    RENDITION_FIELD_NUMBER: _ClassVar[int]
    KEEP_ORIGINAL_FIELD_NUMBER: _ClassVar[int]
    file: _files_pb2.FileInfo
    owner_id: int
    state: FileState
    sha256: bytes
    upload_id: str
    reserved_at_ms: int
    rendition: str
    keep_original: bool
    def __init__(self, file: _Optional[_Union[_files_pb2.FileInfo, _Mapping]] = ..., owner_id: _Optional[int] = ..., state: _Optional[_Union[FileState, str]] = ..., sha256: _Optional[bytes] = ..., upload_id: _Optional[str] = ..., reserved_at_ms: _Optional[int] = ..., rendition: _Optional[str] = ..., keep_original: _Optional[bool] = ...) -> None: ...

class ReserveFileRequest(_message.Message):
    __slots__ = ("user_id", "client_file_id", "file", "quota_bytes", "max_uploads")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FILE_ID_FIELD_NUMBER: _ClassVar[int]
    FILE_FIELD_NUMBER: _ClassVar[int]
    QUOTA_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_UPLOADS_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    client_file_id: str
    file: StoredFile
    quota_bytes: int
    max_uploads: int
    def __init__(self, user_id: _Optional[int] = ..., client_file_id: _Optional[str] = ..., file: _Optional[_Union[StoredFile, _Mapping]] = ..., quota_bytes: _Optional[int] = ..., max_uploads: _Optional[int] = ...) -> None: ...

class ReserveFileResponse(_message.Message):
    __slots__ = ("file",)
    FILE_FIELD_NUMBER: _ClassVar[int]
    file: StoredFile
    def __init__(self, file: _Optional[_Union[StoredFile, _Mapping]] = ...) -> None: ...

class CompleteFileRequest(_message.Message):
    __slots__ = ("file",)
    FILE_FIELD_NUMBER: _ClassVar[int]
    file: StoredFile
    def __init__(self, file: _Optional[_Union[StoredFile, _Mapping]] = ...) -> None: ...

class CompleteFileResponse(_message.Message):
    __slots__ = ("file",)
    FILE_FIELD_NUMBER: _ClassVar[int]
    file: StoredFile
    def __init__(self, file: _Optional[_Union[StoredFile, _Mapping]] = ...) -> None: ...

class CancelFileRequest(_message.Message):
    __slots__ = ("user_id", "file_id")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    file_id: int
    def __init__(self, user_id: _Optional[int] = ..., file_id: _Optional[int] = ...) -> None: ...

class CancelFileResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetFilesRequest(_message.Message):
    __slots__ = ("user_id", "files")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    files: _containers.RepeatedCompositeFieldContainer[_files_pb2.FileRef]
    def __init__(self, user_id: _Optional[int] = ..., files: _Optional[_Iterable[_Union[_files_pb2.FileRef, _Mapping]]] = ...) -> None: ...

class GetFilesResponse(_message.Message):
    __slots__ = ("files", "not_recorded", "unknown_chat_ids")
    FILES_FIELD_NUMBER: _ClassVar[int]
    NOT_RECORDED_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_CHAT_IDS_FIELD_NUMBER: _ClassVar[int]
    files: _containers.RepeatedCompositeFieldContainer[StoredFile]
    not_recorded: _containers.RepeatedCompositeFieldContainer[_files_pb2.FileRef]
    unknown_chat_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, files: _Optional[_Iterable[_Union[StoredFile, _Mapping]]] = ..., not_recorded: _Optional[_Iterable[_Union[_files_pb2.FileRef, _Mapping]]] = ..., unknown_chat_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class GetReportedFileRequest(_message.Message):
    __slots__ = ("file",)
    FILE_FIELD_NUMBER: _ClassVar[int]
    file: _files_pb2.FileRef
    def __init__(self, file: _Optional[_Union[_files_pb2.FileRef, _Mapping]] = ...) -> None: ...

class GetReportedFileResponse(_message.Message):
    __slots__ = ("file",)
    FILE_FIELD_NUMBER: _ClassVar[int]
    file: StoredFile
    def __init__(self, file: _Optional[_Union[StoredFile, _Mapping]] = ...) -> None: ...

class ListChatFilesRequest(_message.Message):
    __slots__ = ("user_id", "chat_id", "before_id", "limit", "file_class")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    BEFORE_ID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    FILE_CLASS_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    chat_id: str
    before_id: int
    limit: int
    file_class: FileClass
    def __init__(self, user_id: _Optional[int] = ..., chat_id: _Optional[str] = ..., before_id: _Optional[int] = ..., limit: _Optional[int] = ..., file_class: _Optional[_Union[FileClass, str]] = ...) -> None: ...

class ListChatFilesResponse(_message.Message):
    __slots__ = ("messages", "has_older")
    MESSAGES_FIELD_NUMBER: _ClassVar[int]
    HAS_OLDER_FIELD_NUMBER: _ClassVar[int]
    messages: _containers.RepeatedCompositeFieldContainer[HistoryMessage]
    has_older: bool
    def __init__(self, messages: _Optional[_Iterable[_Union[HistoryMessage, _Mapping]]] = ..., has_older: _Optional[bool] = ...) -> None: ...
