"""The messages of `protos/` as JSON: protobuf's JSON mapping with the names of the proto files.

64-bit integers are strings of digits (numbers are accepted too), bytes are base64, default values are omitted, unknown
fields are ignored. Encoders and decoders are built from the descriptors, so that a frame is defined once, in its
proto. Ten times as fast as `google.protobuf.json_format`; a property test compares the two.
"""

import base64
import binascii
import math
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import msgspec
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from shared.contract.errors import Code, Refusal

M = TypeVar("M", bound=Message)
Convert = Callable[[Any], Any]

_INT64 = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
_BOUNDS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


class _Mismatch(Exception):
    """A value that does not fit its field: the problem, and the path to it, such as `.send.files[1].file_id`."""

    def __init__(self, problem: str, path: str = "") -> None:
        super().__init__(problem)
        self.problem = problem
        self.path = path


def to_object(message: Message) -> dict[str, Any]:
    """The message as a JSON value: dictionaries, lists, strings, numbers and booleans."""
    result = {}
    for field, value in message.ListFields():
        name, encode = _ENCODERS[field]
        result[name] = value if encode is None else encode(value)
    return result


def to_json(message: Message) -> bytes:
    """The message as JSON text, in UTF-8."""
    return msgspec.json.encode(to_object(message))


def from_json(kind: type[M], text: bytes | str, max_items: float = math.inf) -> M | Refusal:
    """Decode a message of this type from JSON text. A Refusal names the invalid field, such as a list of more than
    `max_items`, of which nothing is decoded."""
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return Refusal(Code.MALFORMED, f"This is not JSON in UTF-8: {error}.")
    return from_object(kind, value, max_items)


def from_object(kind: type[M], value: Any, max_items: float = math.inf) -> M | Refusal:
    """Decode a message of this type from a JSON value. As `from_json`."""
    message = kind()
    try:
        _fill(message, value, max_items)
    except _Mismatch as mismatch:
        path = mismatch.path.removeprefix(".")
        return Refusal(Code.MALFORMED, f"{f'`{path}`' if path else 'It'} {mismatch.problem}.", field=path)
    return message


def _fill(message: Message, value: Any, max_items: float) -> None:
    if type(value) is not dict:
        raise _Mismatch("must be an object")
    decoders = _decoders(message.DESCRIPTOR, max_items)
    for name, item in value.items():
        if item is None or (decoder := decoders.get(name)) is None:
            continue
        oneof, store = decoder
        if oneof is not None and message.WhichOneof(oneof) is not None:
            raise _Mismatch(f"can't be combined with `{message.WhichOneof(oneof)}`", f".{name}")
        try:
            store(message, item)
        except _Mismatch as mismatch:
            raise _Mismatch(mismatch.problem, f".{name}{mismatch.path}") from None


class _Encoders(dict[FieldDescriptor, tuple[str, Convert | None]]):
    """By field: its name, and the function that converts its value to JSON (None if it needs no conversion)."""

    def __missing__(self, field: FieldDescriptor) -> tuple[str, Convert | None]:
        encoder = self[field] = field.name, _encoder(field)
        return encoder


_ENCODERS = _Encoders()


def _encoder(field: FieldDescriptor) -> Convert | None:
    encode: Convert | None = None
    if field.cpp_type in _INT64:
        encode = str
    elif field.cpp_type == FieldDescriptor.CPPTYPE_MESSAGE:
        encode = to_object
    elif field.enum_type is not None:
        names = {number: value.name for number, value in field.enum_type.values_by_number.items()}
        encode = lambda number: names.get(number, number)  # noqa: E731
    elif field.type == FieldDescriptor.TYPE_BYTES:
        encode = lambda value: base64.b64encode(value).decode("ascii")  # noqa: E731
    if not field.is_repeated:
        return encode
    return list if encode is None else lambda values: [encode(value) for value in values]


@cache
def _decoders(descriptor: Descriptor, max_items: float) -> dict[str, tuple[str | None, Callable[[Message, Any], None]]]:
    """By field name: its oneof, if any, and the function that stores a JSON value in the field of a message."""
    return {
        field.name: (field.containing_oneof.name if field.containing_oneof else None, _storer(field, max_items))
        for field in descriptor.fields
    }


def _storer(field: FieldDescriptor, max_items: float) -> Callable[[Message, Any], None]:
    name = field.name
    if field.is_repeated:
        one = _decode_message(field.message_type, max_items) if field.message_type else _decoder(field)

        def store_list(message: Message, value: Any) -> None:
            if type(value) is not list:
                raise _Mismatch("must be a list")
            if len(value) > max_items:
                raise _Mismatch(f"may have {max_items} items at most")
            items = getattr(message, name)
            try:
                for item in value:
                    items.append(one(item))
            except _Mismatch as mismatch:
                raise _Mismatch(mismatch.problem, f"[{len(items)}]{mismatch.path}") from None

        return store_list
    if field.message_type:

        def store_message(message: Message, value: Any) -> None:
            child = getattr(message, name)
            child.SetInParent()
            _fill(child, value, max_items)

        return store_message
    decode = _decoder(field)

    def store(message: Message, value: Any) -> None:
        setattr(message, name, decode(value))

    return store


def _decode_message(descriptor: Descriptor, max_items: float) -> Convert:
    kind = GetMessageClass(descriptor)

    def decode(value: Any) -> Message:
        message = kind()
        _fill(message, value, max_items)
        return message

    return decode


def _decoder(field: FieldDescriptor) -> Convert:
    if field.cpp_type in _BOUNDS:
        return _integer_decoder(*_BOUNDS[field.cpp_type])
    if field.enum_type is not None:
        return _enum_decoder(field.enum_type)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return _decode_bytes
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return _type_decoder(bool, "must be true or false")
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return _type_decoder(str, "must be a string")
    raise TypeError(f"{field.full_name}: no JSON mapping for this type yet")


def _integer_decoder(low: int, high: int) -> Convert:
    problem = f"must be an integer from {low} to {high}"

    def decode(value: Any) -> int:
        if (
            type(value) is str
            and len(value) <= 20
            and value.removeprefix("-").isascii()
            and value.removeprefix("-").isdigit()
        ):
            value = int(value)
        if type(value) is not int or not low <= value <= high:
            raise _Mismatch(problem)
        return value

    return decode


def _enum_decoder(enum: EnumDescriptor) -> Convert:
    numbers = {value.name: value.number for value in enum.values}

    def decode(value: Any) -> int:
        if type(value) is not str or value not in numbers:
            raise _Mismatch(f"must be one of {', '.join(numbers)}")
        return numbers[value]

    return decode


def _type_decoder(kind: type, problem: str) -> Convert:
    def decode(value: Any) -> Any:
        if type(value) is not kind:
            raise _Mismatch(problem)
        return value

    return decode


def _decode_bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        raise _Mismatch("must be base64") from None
