from rookery.v1 import session_pb2 as _session_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Signal(_message.Message):
    __slots__ = ("event", "watched", "presence_changed")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    WATCHED_FIELD_NUMBER: _ClassVar[int]
    PRESENCE_CHANGED_FIELD_NUMBER: _ClassVar[int]
    event: SignalEvent
    watched: Watched
    presence_changed: PresenceChanged
    def __init__(self, event: _Optional[_Union[SignalEvent, _Mapping]] = ..., watched: _Optional[_Union[Watched, _Mapping]] = ..., presence_changed: _Optional[_Union[PresenceChanged, _Mapping]] = ...) -> None: ...

class SignalEvent(_message.Message):
    __slots__ = ("event", "recipient_ids", "is_for_watchers")
    EVENT_FIELD_NUMBER: _ClassVar[int]
    RECIPIENT_IDS_FIELD_NUMBER: _ClassVar[int]
    IS_FOR_WATCHERS_FIELD_NUMBER: _ClassVar[int]
    event: _session_pb2.Event
    recipient_ids: _containers.RepeatedScalarFieldContainer[int]
    is_for_watchers: bool
    def __init__(self, event: _Optional[_Union[_session_pb2.Event, _Mapping]] = ..., recipient_ids: _Optional[_Iterable[int]] = ..., is_for_watchers: _Optional[bool] = ...) -> None: ...

class Watched(_message.Message):
    __slots__ = ("gateway", "user_ids")
    GATEWAY_FIELD_NUMBER: _ClassVar[int]
    USER_IDS_FIELD_NUMBER: _ClassVar[int]
    gateway: int
    user_ids: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, gateway: _Optional[int] = ..., user_ids: _Optional[_Iterable[int]] = ...) -> None: ...

class PresenceChanged(_message.Message):
    __slots__ = ("presences", "is_provisional")
    PRESENCES_FIELD_NUMBER: _ClassVar[int]
    IS_PROVISIONAL_FIELD_NUMBER: _ClassVar[int]
    presences: _containers.RepeatedCompositeFieldContainer[_session_pb2.Presence]
    is_provisional: bool
    def __init__(self, presences: _Optional[_Iterable[_Union[_session_pb2.Presence, _Mapping]]] = ..., is_provisional: _Optional[bool] = ...) -> None: ...
