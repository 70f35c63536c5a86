"""The AsyncAPI document matches the code: each accepts the frames of the other; its references resolve."""

import base64
import json
import re
from typing import Any

import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import given
from hypothesis import strategies as st

from messaging.gateway.frames import JsonEncoding, SharedEvent
from messaging.gateway.transports.handshake import PATH, SUBPROTOCOL
from messaging.gateway.transports.messages import CLOSE_CODES
from rookery.v1.session_pb2 import ClientFrame, Event, ServerFrame
from shared.configuration import LiveConfiguration
from shared.contract.errors import Code, Refusal
from shared.contract.wire import from_object, to_object
from tests.asyncapi import document, problems

INTEGERS = {
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
}
CODES = ("rookery.v1.Refused.code", "rookery.v1.Goodbye.code")


def messages(kind: type[Message]) -> st.SearchStrategy[Any]:
    """Messages of a type, with one field of each oneof and any of the other fields."""
    descriptor: Any = kind.DESCRIPTOR
    real = [one_of for one_of in descriptor.oneofs if not one_of.name.startswith("_")]  # not of an `optional` field
    plain = {field.name: values(field) for field in descriptor.fields if field.containing_oneof not in real}
    one_ofs = [
        st.one_of([st.fixed_dictionaries({field.name: values(field)}) for field in one_of.fields]) for one_of in real
    ]
    parts = st.tuples(st.fixed_dictionaries({}, optional=plain), *one_ofs)
    return parts.map(lambda found: kind(**{name: value for part in found for name, value in part.items()}))


def values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    return st.lists(single_values(field), max_size=3) if field.is_repeated else single_values(field)


def single_values(field: FieldDescriptor) -> st.SearchStrategy[Any]:
    if field.message_type is not None:
        return messages(GetMessageClass(field.message_type))
    if field.enum_type is not None:
        return st.sampled_from([value.number for value in field.enum_type.values])
    if field.full_name in CODES:
        return st.sampled_from([code.value for code in Code])
    if field.type in INTEGERS:
        return st.integers(*INTEGERS[field.type])
    return {
        FieldDescriptor.TYPE_STRING: st.text(max_size=20),
        FieldDescriptor.TYPE_BYTES: st.binary(max_size=20),
        FieldDescriptor.TYPE_BOOL: st.booleans(),
    }[field.type]


@given(messages(ServerFrame), st.integers(1, 2**64 - 1))
def test_what_the_server_encodes_is_as_the_document_says(frame: ServerFrame, sequence: int) -> None:
    frame.sequence = sequence
    assert problems("ServerFrame", json.loads(JsonEncoding().frame(frame))) == []


@given(messages(Event), st.integers(1, 2**64 - 1))
def test_so_is_an_event_that_is_encoded_once_for_many(event: Event, sequence: int) -> None:
    assert problems("ServerFrame", json.loads(JsonEncoding().shared(SharedEvent(event, 1), sequence))) == []


@given(messages(ClientFrame))
def test_what_a_client_encodes_is_as_the_document_says(frame: ClientFrame) -> None:
    assert problems("ClientFrame", to_object(frame)) == []


FIELDS = sorted({name for kind in document()["components"]["schemas"].values() for name in kind["properties"]})

ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**66), 2**66)
    | st.floats(allow_nan=False)
    | st.text(max_size=8)
    | st.integers(-(2**62), 2**62).map(str)
    | st.binary(max_size=8).map(lambda data: base64.b64encode(data).decode()),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=12,
)


@given(st.one_of(
    messages(ClientFrame).flatmap(
        lambda frame: st.sampled_from(sorted(to_object(frame))).flatmap(
            lambda name: st.fixed_dictionaries({name: ANYTHING | changed(to_object(frame)[name])})
        )
    ),
    ANYTHING,
))  # fmt: skip
def test_what_the_decoder_refuses_the_document_refuses(value: Any) -> None:
    """Drop the last digits of numbers: a pattern cannot exclude a number of 19 digits that is too large."""
    decoded = from_object(ClientFrame, value)
    if isinstance(decoded, Refusal) and "must be an integer from" not in decoded.message:
        assert problems("ClientFrame", value) != []


def changed(frame: Any) -> st.SearchStrategy[Any]:
    """The frame with one more field, or with another value."""
    if not isinstance(frame, dict):
        return ANYTHING
    return st.tuples(st.sampled_from(FIELDS), ANYTHING).map(lambda item: {**frame, item[0]: item[1]})


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"nothing": {}},
        {"send": []},
        {"ping": {}, "typing": {}},
        {"ping": {"payload": "?"}},
        {"ping": {"payload": 5}},
        {"change": {"target_id": "x"}},
        {"change": {"target_id": "1.5", "deleted": {}}},
        {"send": {"recipient_id": "1", "chat_id": "d-1-2", "text": {}}},
        {"send": {"text": {"body": 5}, "recipient_id": "1"}},
        {"authenticate": {"last_position": {"epoch": -1}}},
    ],
)
def test_frames_that_are_refused_are_wrong_by_the_document(value: Any) -> None:
    assert problems("ClientFrame", value) != []


def test_every_reference_leads_somewhere() -> None:
    for reference in set(re.findall(r'"\$ref": "([^"]+)"', json.dumps(document()))):
        found: Any = document()
        for part in reference.removeprefix("#/").split("/"):
            found = found[part]


def test_every_frame_is_a_message_of_the_channel_and_of_an_operation() -> None:
    sides: list[tuple[str, Any]] = [("client", ClientFrame.DESCRIPTOR), ("server", ServerFrame.DESCRIPTOR)]
    names = {f"{side}_{field.name}" for side, frame in sides for field in frame.oneofs_by_name["frame"].fields}
    assert document()["channels"]["session"]["messages"].keys() == names
    operations = document()["operations"].values()
    spoken = {message["$ref"].rpartition("/")[2] for operation in operations for message in operation["messages"]}
    assert spoken == names


def test_comments_of_the_proto_describe_it() -> None:
    schemas = document()["components"]["schemas"]
    assert schemas["Send"]["properties"]["client_message_id"]["description"].startswith("Chosen by the client")
    assert schemas["Accepted"]["description"].startswith("A frame was accepted")
    assert "sub-protocol" in document()["info"]["description"]


def test_limits_and_codes_are_those_of_the_code() -> None:
    schemas, defaults = document()["components"]["schemas"], LiveConfiguration()
    limits = {name: field.get("default") for name, field in schemas["Limits"]["properties"].items()}
    of_code = {name: getattr(defaults, name) for name in limits}
    assert limits == of_code | {"max_file_bytes": str(defaults.max_file_bytes)}  # 64 bits
    assert schemas["Goodbye"]["properties"]["code"]["enum"] == [code.value for code in Code]
    assert document()["x-close-codes"] == {str(code): meaning for code, meaning in CLOSE_CODES.items()}
    channel = document()["channels"]["session"]
    assert channel["address"] == PATH
    assert channel["bindings"]["ws"]["headers"]["properties"]["Sec-WebSocket-Protocol"]["const"] == SUBPROTOCOL
