from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional

DESCRIPTOR: _descriptor.FileDescriptor

class FileInfo(_message.Message):
    __slots__ = ("file_id", "name", "media_type", "size", "width", "height", "thumbhash", "thumbnails", "duration_ms", "waveform")
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    THUMBHASH_FIELD_NUMBER: _ClassVar[int]
    THUMBNAILS_FIELD_NUMBER: _ClassVar[int]
    DURATION_MS_FIELD_NUMBER: _ClassVar[int]
    WAVEFORM_FIELD_NUMBER: _ClassVar[int]
    file_id: int
    name: str
    media_type: str
    size: int
    width: int
    height: int
    thumbhash: bytes
    thumbnails: _containers.RepeatedScalarFieldContainer[int]
    duration_ms: int
    waveform: bytes
    def __init__(self, file_id: _Optional[int] = ..., name: _Optional[str] = ..., media_type: _Optional[str] = ..., size: _Optional[int] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., thumbhash: _Optional[bytes] = ..., thumbnails: _Optional[_Iterable[int]] = ..., duration_ms: _Optional[int] = ..., waveform: _Optional[bytes] = ...) -> None: ...

class FileRef(_message.Message):
    __slots__ = ("file_id", "chat_id", "message_id")
    FILE_ID_FIELD_NUMBER: _ClassVar[int]
    CHAT_ID_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    file_id: int
    chat_id: str
    message_id: int
    def __init__(self, file_id: _Optional[int] = ..., chat_id: _Optional[str] = ..., message_id: _Optional[int] = ...) -> None: ...
