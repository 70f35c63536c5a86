from rookery.v1 import session_pb2 as _session_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Envelope(_message.Message):
    __slots__ = ("event", "sign_out", "fence", "recipient_ids", "truth", "sender_id", "origin_session_id", "epoch")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    SIGN_OUT_FIELD_NUMBER: _ClassVar[int]
    FENCE_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_IDS_FIELD_NUMBER: _ClassVar[int]
    TRUTH_FIELD_NUMBER: _ClassVar[int]
    SENDER_ID_FIELD_NUMBER: _ClassVar[int]
    ORIGIN_SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    event: _session_pb2.Event
    sign_out: SignOut
    fence: Fence
    recipient_ids: _containers.RepeatedScalarFieldContainer[int]
    truth: bool
    sender_id: int
    origin_session_id: str
    epoch: int
    def __init__(self, event: _Optional[_Union[_session_pb2.Event, _Mapping]] = ..., sign_out: _Optional[_Union[SignOut, _Mapping]] = ..., fence: _Optional[_Union[Fence, _Mapping]] = ..., recipient_ids: _Optional[_Iterable[int]] = ..., truth: _Optional[bool] = ..., sender_id: _Optional[int] = ..., origin_session_id: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class Fence(_message.Message):
    __slots__ = ("gateway", "read_up_to")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    READ_UP_TO_FIELD_NUMBER: _ClassVar[int]
    gateway: int
    read_up_to: int
    def __init__(self, gateway: _Optional[int] = ..., read_up_to: _Optional[int] = ...) -> None: ...

class SignOut(_message.Message):
    __slots__ = ("family_id", "is_deleted")
    FAMILY_ID_FIELD_NUMBER: _ClassVar[int]
    IS_DELETED_FIELD_NUMBER: _ClassVar[int]
    family_id: str
    is_deleted: bool
    def __init__(self, family_id: _Optional[str] = ..., is_deleted: _Optional[bool] = ...) -> None: ...
