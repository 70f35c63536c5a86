from rookery.v1 import files_pb2 as _files_pb2
from rookery.v1 import groups_pb2 as _groups_pb2
from rookery.v1 import kinds_pb2 as _kinds_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClientFrame(_message.Message):
    __slots__ = ("authenticate", "renew", "send", "change", "typing", "ping", "watch", "follow", "first_sent_ms_ago")
    AUTHENTICATE_FIELD_NUMBER: _ClassVar[int]
    RENEW_FIELD_NUMBER: _ClassVar[int]
    SEND_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    TYPING_FIELD_NUMBER: _ClassVar[int]
    PING_FIELD_NUMBER: _ClassVar[int]
    WATCH_FIELD_NUMBER: _ClassVar[int]
    FOLLOW_FIELD_NUMBER: _ClassVar[int]
    FIRST_SENT_MS_AGO_FIELD_NUMBER: _ClassVar[int]
    authenticate: Authenticate
    renew: Renew
    send: Send
    change: Change
    typing: Typing
    ping: Ping
    watch: Watch
    follow: Follow
    first_sent_ms_ago: int
    def __init__(self, authenticate: _Optional[_Union[Authenticate, _Mapping]] = ..., renew: _Optional[_Union[Renew, _Mapping]] = ..., send: _Optional[_Union[Send, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ..., typing: _Optional[_Union[Typing, _Mapping]] = ..., ping: _Optional[_Union[Ping, _Mapping]] = ..., watch: _Optional[_Union[Watch, _Mapping]] = ..., follow: _Optional[_Union[Follow, _Mapping]] = ..., first_sent_ms_ago: _Optional[int] = ...) -> None: ...

class ServerFrame(_message.Message):
    __slots__ = ("sequence", "welcome", "expiring", "accepted", "refused", "event", "gap", "reconnect", "moved", "pong", "goodbye", "channel_head")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    EXPIRING_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    GAP_FIELD_NUMBER: _ClassVar[int]
    RECONNECT_FIELD_NUMBER: _ClassVar[int]
    MOVED_FIELD_NUMBER: _ClassVar[int]
    PONG_FIELD_NUMBER: _ClassVar[int]
    GOODBYE_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_HEAD_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    welcome: Welcome
    expiring: Expiring
    accepted: Accepted
    refused: Refused
    event: Event
    gap: Gap
    reconnect: Reconnect
    moved: Moved
    pong: Pong
    goodbye: Goodbye
    channel_head: ChannelHead
    def __init__(self, sequence: _Optional[int] = ..., welcome: _Optional[_Union[Welcome, _Mapping]] = ..., expiring: _Optional[_Union[Expiring, _Mapping]] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ..., refused: _Optional[_Union[Refused, _Mapping]] = ..., event: _Optional[_Union[Event, _Mapping]] = ..., gap: _Optional[_Union[Gap, _Mapping]] = ..., reconnect: _Optional[_Union[Reconnect, _Mapping]] = ..., moved: _Optional[_Union[Moved, _Mapping]] = ..., pong: _Optional[_Union[Pong, _Mapping]] = ..., goodbye: _Optional[_Union[Goodbye, _Mapping]] = ..., channel_head: _Optional[_Union[ChannelHead, _Mapping]] = ...) -> None: ...

class Position(_message.Message):
    __slots__ = ("offset", "epoch")
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    offset: int
    epoch: int
    def __init__(self, offset: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class Authenticate(_message.Message):
    __slots__ = ("access_token", "last_position", "client_name")
    ACCESS_TOKEN_FIELD_NUMBER: _ClassVar[int]
    LAST_POSITION_FIELD_NUMBER: _ClassVar[int]
    CLIENT_NAME_FIELD_NUMBER: _ClassVar[int]
    access_token: str
    last_position: Position
    client_name: str
    def __init__(self, access_token: _Optional[str] = ..., last_position: _Optional[_Union[Position, _Mapping]] = ..., client_name: _Optional[str] = ...) -> None: ...

class Renew(_message.Message):
    __slots__ = ("access_token",)
    ACCESS_TOKEN_FIELD_NUMBER: _ClassVar[int]
    access_token: str
    def __init__(self, access_token: _Optional[str] = ...) -> None: ...

class Send(_message.Message):
    __slots__ = ("client_message_id", "chat_id", "recipient_id", "text", "reply_to", "forwarded", "files")
    CLIENT_MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    REPLY_TO_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    client_message_id: str
    chat_id: str
    recipient_id: int
    text: Text
    reply_to: int
    forwarded: bool
    files: _containers.RepeatedCompositeFieldContainer[_files_pb2.FileRef]
    def __init__(self, client_message_id: _Optional[str] = ..., chat_id: _Optional[str] = ..., recipient_id: _Optional[int] = ..., text: _Optional[_Union[Text, _Mapping]] = ..., reply_to: _Optional[int] = ..., forwarded: _Optional[bool] = ..., files: _Optional[_Iterable[_Union[_files_pb2.FileRef, _Mapping]]] = ...) -> None: ...

class Typing(_message.Message):
    __slots__ = ("chat_id", "user_id")
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    chat_id: str
    user_id: int
    def __init__(self, chat_id: _Optional[str] = ..., user_id: _Optional[int] = ...) -> None: ...

class Watch(_message.Message):
    __slots__ = ("user_ids",)
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    user_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, user_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Follow(_message.Message):
    __slots__ = ("chat_ids", "open_chat_ids")
    CHAT_IDS_FIELD_NUMBER: _ClassVar[int]
    OPEN_CHAT_IDS_FIELD_NUMBER: _ClassVar[int]
    chat_ids: _containers.RepeatedScalarFieldContainer[str]
    open_chat_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, chat_ids: _Optional[_Iterable[str]] = ..., open_chat_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class Ping(_message.Message):
    __slots__ = ("payload",)
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    def __init__(self, payload: _Optional[bytes] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("session_id", "user_id", "limits", "heartbeat_interval_ms", "replayed", "position", "token_expires_at_ms", "at_ms")
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_INTERVAL_MS_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    TOKEN_EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    session_id: str
    user_id: int
    limits: Limits
    heartbeat_interval_ms: int
    replayed: int
    position: Position
    token_expires_at_ms: int
    at_ms: int
    def __init__(self, session_id: _Optional[str] = ..., user_id: _Optional[int] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., heartbeat_interval_ms: _Optional[int] = ..., replayed: _Optional[int] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., token_expires_at_ms: _Optional[int] = ..., at_ms: _Optional[int] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("max_frame_bytes", "max_text_bytes", "frames_per_second", "max_unanswered_sends", "max_file_bytes", "edit_seconds")
    MAX_FRAME_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_TEXT_BYTES_FIELD_NUMBER: _ClassVar[int]
    FRAMES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    MAX_UNANSWERED_SENDS_FIELD_NUMBER: _ClassVar[int]
    MAX_FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    EDIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    max_frame_bytes: int
    max_text_bytes: int
    frames_per_second: int
    max_unanswered_sends: int
    max_file_bytes: int
    edit_seconds: int
    def __init__(self, max_frame_bytes: _Optional[int] = ..., max_text_bytes: _Optional[int] = ..., frames_per_second: _Optional[int] = ..., max_unanswered_sends: _Optional[int] = ..., max_file_bytes: _Optional[int] = ..., edit_seconds: _Optional[int] = ...) -> None: ...

class Expiring(_message.Message):
    __slots__ = ("token_expires_at_ms",)
    TOKEN_EXPIRES_AT_MS_FIELD_NUMBER: _ClassVar[int]
    token_expires_at_ms: int
    def __init__(self, token_expires_at_ms: _Optional[int] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("client_id", "event_id", "chat_id", "frame", "at_ms")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    FRAME_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    event_id: int
    chat_id: str
    frame: int
    at_ms: int
    def __init__(self, client_id: _Optional[str] = ..., event_id: _Optional[int] = ..., chat_id: _Optional[str] = ..., frame: _Optional[int] = ..., at_ms: _Optional[int] = ...) -> None: ...

class Refused(_message.Message):
    __slots__ = ("frame", "client_id", "code", "message", "field", "retryable", "retry_after_ms")
    FRAME_FIELD_NUMBER: _ClassVar[int]
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    RETRYABLE_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    frame: int
    client_id: str
    code: str
    message: str
    field: str
    retryable: bool
    retry_after_ms: int
    def __init__(self, frame: _Optional[int] = ..., client_id: _Optional[str] = ..., code: _Optional[str] = ..., message: _Optional[str] = ..., field: _Optional[str] = ..., retryable: _Optional[bool] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("event_id", "position", "message", "typing", "change", "presence", "profile_changed", "people_changed", "group_marks")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    TYPING_FIELD_NUMBER: _ClassVar[int]
    CHANGE_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_FIELD_NUMBER: _ClassVar[int]
    PROFILE_CHANGED_FIELD_NUMBER: _ClassVar[int]
    PEOPLE_CHANGED_FIELD_NUMBER: _ClassVar[int]
    GROUP_MARKS_FIELD_NUMBER: _ClassVar[int]
    event_id: int
    position: Position
    message: Message
    typing: Typing
    change: Change
    presence: Presence
    profile_changed: ProfileChanged
    people_changed: PeopleChanged
    group_marks: GroupMarks
    def __init__(self, event_id: _Optional[int] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., message: _Optional[_Union[Message, _Mapping]] = ..., typing: _Optional[_Union[Typing, _Mapping]] = ..., change: _Optional[_Union[Change, _Mapping]] = ..., presence: _Optional[_Union[Presence, _Mapping]] = ..., profile_changed: _Optional[_Union[ProfileChanged, _Mapping]] = ..., people_changed: _Optional[_Union[PeopleChanged, _Mapping]] = ..., group_marks: _Optional[_Union[GroupMarks, _Mapping]] = ...) -> None: ...

class Presence(_message.Message):
    __slots__ = ("user_id", "is_online", "last_seen_ms")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    IS_ONLINE_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_MS_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    is_online: bool
    last_seen_ms: int
    def __init__(self, user_id: _Optional[int] = ..., is_online: _Optional[bool] = ..., last_seen_ms: _Optional[int] = ...) -> None: ...

class ProfileChanged(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    def __init__(self, user_id: _Optional[int] = ...) -> None: ...

class PeopleChanged(_message.Message):
    __slots__ = ("user_id",)
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    def __init__(self, user_id: _Optional[int] = ...) -> None: ...

class GroupMarks(_message.Message):
    __slots__ = ("chat_id", "marks")
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    MARKS_FIELD_NUMBER: _ClassVar[int]
    chat_id: str
    marks: _containers.RepeatedCompositeFieldContainer[MemberMark]
    def __init__(self, chat_id: _Optional[str] = ..., marks: _Optional[_Iterable[_Union[MemberMark, _Mapping]]] = ...) -> None: ...

class MemberMark(_message.Message):
    __slots__ = ("user_id", "delivered_up_to", "read_up_to")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_UP_TO_FIELD_NUMBER: _ClassVar[int]
    READ_UP_TO_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    delivered_up_to: int
    read_up_to: int
    def __init__(self, user_id: _Optional[int] = ..., delivered_up_to: _Optional[int] = ..., read_up_to: _Optional[int] = ...) -> None: ...

class Message(_message.Message):
    __slots__ = ("message_id", "chat_id", "sender_id", "client_message_id", "text", "control", "reply_to", "forwarded", "files")
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    SENDER_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CONTROL_FIELD_NUMBER: _ClassVar[int]
    REPLY_TO_FIELD_NUMBER: _ClassVar[int]
    FORWARDED_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    message_id: int
    chat_id: str
    sender_id: int
    client_message_id: str
    text: Text
    control: _groups_pb2.Control
    reply_to: int
    forwarded: bool
    files: _containers.RepeatedCompositeFieldContainer[_files_pb2.FileInfo]
    def __init__(self, message_id: _Optional[int] = ..., chat_id: _Optional[str] = ..., sender_id: _Optional[int] = ..., client_message_id: _Optional[str] = ..., text: _Optional[_Union[Text, _Mapping]] = ..., control: _Optional[_Union[_groups_pb2.Control, _Mapping]] = ..., reply_to: _Optional[int] = ..., forwarded: _Optional[bool] = ..., files: _Optional[_Iterable[_Union[_files_pb2.FileInfo, _Mapping]]] = ...) -> None: ...

class Text(_message.Message):
    __slots__ = ("body", "mentions", "mentions_everyone")
    BODY_FIELD_NUMBER: _ClassVar[int]
    MENTIONS_FIELD_NUMBER: _ClassVar[int]
    MENTIONS_EVERYONE_FIELD_NUMBER: _ClassVar[int]
    body: str
    mentions: _containers.RepeatedCompositeFieldContainer[Mention]
    mentions_everyone: bool
    def __init__(self, body: _Optional[str] = ..., mentions: _Optional[_Iterable[_Union[Mention, _Mapping]]] = ..., mentions_everyone: _Optional[bool] = ...) -> None: ...

class Mention(_message.Message):
    __slots__ = ("user_id", "name")
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    user_id: int
    name: str
    def __init__(self, user_id: _Optional[int] = ..., name: _Optional[str] = ...) -> None: ...

class Change(_message.Message):
    __slots__ = ("chat_id", "target_id", "actor_id", "client_change_id", "is_private", "reacted", "marked", "edited", "deleted", "pinned", "hidden", "marked_unread", "starred", "muted", "chat_pinned", "archived", "previewed", "without_previews")
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    TARGET_ID_FIELD_NUMBER: _ClassVar[int]
    ACTOR_ID_FIELD_NUMBER: _ClassVar[int]
    CLIENT_CHANGE_ID_FIELD_NUMBER: _ClassVar[int]
    IS_PRIVATE_FIELD_NUMBER: _ClassVar[int]
    REACTED_FIELD_NUMBER: _ClassVar[int]
    MARKED_FIELD_NUMBER: _ClassVar[int]
    EDITED_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    PINNED_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_FIELD_NUMBER: _ClassVar[int]
    MARKED_UNREAD_FIELD_NUMBER: _ClassVar[int]
    STARRED_FIELD_NUMBER: _ClassVar[int]
    MUTED_FIELD_NUMBER: _ClassVar[int]
    CHAT_PINNED_FIELD_NUMBER: _ClassVar[int]
    ARCHIVED_FIELD_NUMBER: _ClassVar[int]
    PREVIEWED_FIELD_NUMBER: _ClassVar[int]
    WITHOUT_PREVIEWS_FIELD_NUMBER: _ClassVar[int]
    chat_id: str
    target_id: int
    actor_id: int
    client_change_id: str
    is_private: bool
    reacted: Reacted
    marked: Marked
    edited: Edited
    deleted: Deleted
    pinned: Pinned
    hidden: Hidden
    marked_unread: MarkedUnread
    starred: Starred
    muted: Muted
    chat_pinned: ChatPinned
    archived: Archived
    previewed: Previewed
    without_previews: WithoutPreviews
    def __init__(self, chat_id: _Optional[str] = ..., target_id: _Optional[int] = ..., actor_id: _Optional[int] = ..., client_change_id: _Optional[str] = ..., is_private: _Optional[bool] = ..., reacted: _Optional[_Union[Reacted, _Mapping]] = ..., marked: _Optional[_Union[Marked, _Mapping]] = ..., edited: _Optional[_Union[Edited, _Mapping]] = ..., deleted: _Optional[_Union[Deleted, _Mapping]] = ..., pinned: _Optional[_Union[Pinned, _Mapping]] = ..., hidden: _Optional[_Union[Hidden, _Mapping]] = ..., marked_unread: _Optional[_Union[MarkedUnread, _Mapping]] = ..., starred: _Optional[_Union[Starred, _Mapping]] = ..., muted: _Optional[_Union[Muted, _Mapping]] = ..., chat_pinned: _Optional[_Union[ChatPinned, _Mapping]] = ..., archived: _Optional[_Union[Archived, _Mapping]] = ..., previewed: _Optional[_Union[Previewed, _Mapping]] = ..., without_previews: _Optional[_Union[WithoutPreviews, _Mapping]] = ...) -> None: ...

class Reacted(_message.Message):
    __slots__ = ("emoji", "set")
    EMOJI_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    emoji: str
    set: bool
    def __init__(self, emoji: _Optional[str] = ..., set: _Optional[bool] = ...) -> None: ...

class Marked(_message.Message):
    __slots__ = ("delivered_up_to", "read_up_to")
    DELIVERED_UP_TO_FIELD_NUMBER: _ClassVar[int]
    READ_UP_TO_FIELD_NUMBER: _ClassVar[int]
    delivered_up_to: int
    read_up_to: int
    def __init__(self, delivered_up_to: _Optional[int] = ..., read_up_to: _Optional[int] = ...) -> None: ...

class Edited(_message.Message):
    __slots__ = ("text",)
    TEXT_FIELD_NUMBER: _ClassVar[int]
    text: Text
    def __init__(self, text: _Optional[_Union[Text, _Mapping]] = ...) -> None: ...

class Deleted(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Pinned(_message.Message):
    __slots__ = ("set",)
    SET_FIELD_NUMBER: _ClassVar[int]
    set: bool
    def __init__(self, set: _Optional[bool] = ...) -> None: ...

class Hidden(_message.Message):
    __slots__ = ("set",)
    SET_FIELD_NUMBER: _ClassVar[int]
    set: bool
    def __init__(self, set: _Optional[bool] = ...) -> None: ...

class MarkedUnread(_message.Message):
    __slots__ = ("set",)
    SET_FIELD_NUMBER: _ClassVar[int]
    set: bool
    def __init__(self, set: _Optional[bool] = ...) -> None: ...

class Starred(_message.Message):
    __slots__ = ("set",)
    SET_FIELD_NUMBER: _ClassVar[int]
    set: bool
    def __init__(self, set: _Optional[bool] = ...) -> None: ...

class Muted(_message.Message):
    __slots__ = ("until_ms", "except_mentions")
    UNTIL_MS_FIELD_NUMBER: _ClassVar[int]
    EXCEPT_MENTIONS_FIELD_NUMBER: _ClassVar[int]
    until_ms: int
    except_mentions: bool
    def __init__(self, until_ms: _Optional[int] = ..., except_mentions: _Optional[bool] = ...) -> None: ...

class ChatPinned(_message.Message):
    __slots__ = ("set",)
    SET_FIELD_NUMBER: _ClassVar[int]
    set: bool
    def __init__(self, set: _Optional[bool] = ...) -> None: ...

class Archived(_message.Message):
    __slots__ = ("set",)
    SET_FIELD_NUMBER: _ClassVar[int]
    set: bool
    def __init__(self, set: _Optional[bool] = ...) -> None: ...

class Previewed(_message.Message):
    __slots__ = ("preview",)
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    preview: LinkPreview
    def __init__(self, preview: _Optional[_Union[LinkPreview, _Mapping]] = ...) -> None: ...

class WithoutPreviews(_message.Message):
    __slots__ = ("set",)
    SET_FIELD_NUMBER: _ClassVar[int]
    set: bool
    def __init__(self, set: _Optional[bool] = ...) -> None: ...

class LinkPreview(_message.Message):
    __slots__ = ("url", "title", "description", "site_name", "picture", "picture_width", "picture_height")
    URL_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SITE_NAME_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    PICTURE_WIDTH_FIELD_NUMBER: _ClassVar[int]
    PICTURE_HEIGHT_FIELD_NUMBER: _ClassVar[int]
    url: str
    title: str
    description: str
    site_name: str
    picture: bytes
    picture_width: int
    picture_height: int
    def __init__(self, url: _Optional[str] = ..., title: _Optional[str] = ..., description: _Optional[str] = ..., site_name: _Optional[str] = ..., picture: _Optional[bytes] = ..., picture_width: _Optional[int] = ..., picture_height: _Optional[int] = ...) -> None: ...

class Gap(_message.Message):
    __slots__ = ("since", "since_ms", "dropped", "position", "at_ms")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    SINCE_MS_FIELD_NUMBER: _ClassVar[int]
    DROPPED_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    AT_MS_FIELD_NUMBER: _ClassVar[int]
    since: Position
    since_ms: int
    dropped: int
    position: Position
    at_ms: int
    def __init__(self, since: _Optional[_Union[Position, _Mapping]] = ..., since_ms: _Optional[int] = ..., dropped: _Optional[int] = ..., position: _Optional[_Union[Position, _Mapping]] = ..., at_ms: _Optional[int] = ...) -> None: ...

class ChannelHead(_message.Message):
    __slots__ = ("chat_id", "newest_id")
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    NEWEST_ID_FIELD_NUMBER: _ClassVar[int]
    chat_id: str
    newest_id: int
    def __init__(self, chat_id: _Optional[str] = ..., newest_id: _Optional[int] = ...) -> None: ...

class Reconnect(_message.Message):
    __slots__ = ("after_ms",)
    AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    after_ms: int
    def __init__(self, after_ms: _Optional[int] = ...) -> None: ...

class Moved(_message.Message):
    __slots__ = ("websocket", "grpc")
    WEBSOCKET_FIELD_NUMBER: _ClassVar[int]
    GRPC_FIELD_NUMBER: _ClassVar[int]
    websocket: str
    grpc: str
    def __init__(self, websocket: _Optional[str] = ..., grpc: _Optional[str] = ...) -> None: ...

class Pong(_message.Message):
    __slots__ = ("payload",)
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    payload: bytes
    def __init__(self, payload: _Optional[bytes] = ...) -> None: ...

class Goodbye(_message.Message):
    __slots__ = ("code", "message", "field", "is_final", "retry_after_ms")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    FIELD_FIELD_NUMBER: _ClassVar[int]
    IS_FINAL_FIELD_NUMBER: _ClassVar[int]
    RETRY_AFTER_MS_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    field: str
    is_final: bool
    retry_after_ms: int
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., field: _Optional[str] = ..., is_final: _Optional[bool] = ..., retry_after_ms: _Optional[int] = ...) -> None: ...
