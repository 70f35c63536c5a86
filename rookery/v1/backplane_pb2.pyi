from rookery.v1 import session_pb2 as _session_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Envelope(_message.Message):
    __slots__ = ("event", "sign_out", "fence", "copies_stored", "recipient_ids", "truth", "sender_id", "origin_session_id", "epoch", "chat_version", "to_members", "all_recipient_ids", "former_member_ids")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    SIGN_OUT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    COPIES_STORED_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_IDS_FIELD_NUMBER: _ClassVar[int]
    TRUTH_FIELD_NUMBER: _ClassVar[int]
    SENDER_ID_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CHAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    TO_MEMBERS_FIELD_NUMBER: _ClassVar[int]
    ALL_RECIPIENT_IDS_FIELD_NUMBER: _ClassVar[int]
    FORMER_MEMBER_IDS_FIELD_NUMBER: _ClassVar[int]
    event: _session_pb2.Event
    sign_out: SignOut
    fence: Fence
    copies_stored: CopiesStored
    recipient_ids: _containers.RepeatedScalarFieldContainer[int]
    truth: bool
    sender_id: int
    origin_session_id: str
    epoch: int
    chat_version: int
    to_members: bool
    all_recipient_ids: _containers.RepeatedScalarFieldContainer[int]
    former_member_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, event: _Optional[_Union[_session_pb2.Event, _Mapping]] = ..., sign_out: _Optional[_Union[SignOut, _Mapping]] = ..., fence: _Optional[_Union[Fence, _Mapping]] = ..., copies_stored: _Optional[_Union[CopiesStored, _Mapping]] = ..., recipient_ids: _Optional[_Iterable[int]] = ..., truth: _Optional[bool] = ..., sender_id: _Optional[int] = ..., origin_session_id: _Optional[str] = ..., epoch: _Optional[int] = ..., chat_version: _Optional[int] = ..., to_members: _Optional[bool] = ..., all_recipient_ids: _Optional[_Iterable[int]] = ..., former_member_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class Fence(_message.Message):
    __slots__ = ("gateway", "read_up_to")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    READ_UP_TO_FIELD_NUMBER: _ClassVar[int]
    gateway: int
    read_up_to: int
    def __init__(self, gateway: _Optional[int] = ..., read_up_to: _Optional[int] = ...) -> None: ...

class CopiesStored(_message.Message):
    __slots__ = ("up_to",)
    UP_TO_FIELD_NUMBER: _ClassVar[int]
    up_to: int
    def __init__(self, up_to: _Optional[int] = ...) -> None: ...

class SignOut(_message.Message):
    __slots__ = ("family_id", "is_deleted")
    FAMILY_ID_FIELD_NUMBER: _ClassVar[int]
    IS_DELETED_FIELD_NUMBER: _ClassVar[int]
    family_id: str
    is_deleted: bool
    def __init__(self, family_id: _Optional[str] = ..., is_deleted: _Optional[bool] = ...) -> None: ...

class FormerEvent(_message.Message):
    __slots__ = ("event_id", "reaction", "receipt")
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    REACTION_FIELD_NUMBER: _ClassVar[int]
    RECEIPT_FIELD_NUMBER: _ClassVar[int]
    event_id: int
    reaction: FormerReaction
    receipt: FormerReceipt
    def __init__(self, event_id: _Optional[int] = ..., reaction: _Optional[_Union[FormerReaction, _Mapping]] = ..., receipt: _Optional[_Union[FormerReceipt, _Mapping]] = ...) -> None: ...

class FormerReaction(_message.Message):
    __slots__ = ("chat_id", "message_id", "user_id", "emoji", "set")
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    EMOJI_FIELD_NUMBER: _ClassVar[int]
    SET_FIELD_NUMBER: _ClassVar[int]
    chat_id: str
    message_id: int
    user_id: int
    emoji: str
    set: bool
    def __init__(self, chat_id: _Optional[str] = ..., message_id: _Optional[int] = ..., user_id: _Optional[int] = ..., emoji: _Optional[str] = ..., set: _Optional[bool] = ...) -> None: ...

class FormerReceipt(_message.Message):
    __slots__ = ("chat_id", "user_id", "delivered_up_to", "read_up_to")
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_UP_TO_FIELD_NUMBER: _ClassVar[int]
    READ_UP_TO_FIELD_NUMBER: _ClassVar[int]
    chat_id: str
    user_id: int
    delivered_up_to: int
    read_up_to: int
    def __init__(self, chat_id: _Optional[str] = ..., user_id: _Optional[int] = ..., delivered_up_to: _Optional[int] = ..., read_up_to: _Optional[int] = ...) -> None: ...
