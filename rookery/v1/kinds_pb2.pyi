from google.protobuf import descriptor_pb2 as _descriptor_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Law(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LAW_UNSPECIFIED: _ClassVar[Law]
    LAW_LAST: _ClassVar[Law]
    LAW_MAX: _ClassVar[Law]
    LAW_WINS: _ClassVar[Law]
LAW_UNSPECIFIED: Law
LAW_LAST: Law
LAW_MAX: Law
LAW_WINS: Law
KIND_FIELD_NUMBER: _ClassVar[int]
kind: _descriptor.FieldDescriptor

class Kind(_message.Message):
    __slots__ = ("law", "key", "is_private", "is_listed", "is_of_chat", "outlives")
    LAW_FIELD_NUMBER: _ClassVar[int]
    KEY_FIELD_NUMBER: _ClassVar[int]
    IS_PRIVATE_FIELD_NUMBER: _ClassVar[int]
    IS_LISTED_FIELD_NUMBER: _ClassVar[int]
    IS_OF_CHAT_FIELD_NUMBER: _ClassVar[int]
    OUTLIVES_FIELD_NUMBER: _ClassVar[int]
    law: Law
    key: _containers.RepeatedScalarFieldContainer[str]
    is_private: bool
    is_listed: bool
    is_of_chat: bool
    outlives: bool
    def __init__(self, law: _Optional[_Union[Law, str]] = ..., key: _Optional[_Iterable[str]] = ..., is_private: _Optional[bool] = ..., is_listed: _Optional[bool] = ..., is_of_chat: _Optional[bool] = ..., outlives: _Optional[bool] = ...) -> None: ...
