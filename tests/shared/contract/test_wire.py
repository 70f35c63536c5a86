import json
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from rookery.v1.archive_pb2 import ListChatsResponse, ListMessagesResponse
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.session_pb2 import ClientFrame, Ping, ServerFrame
from shared.contract import wire
from shared.contract.errors import Code, Refusal

KINDS: list[type[Message]] = [ClientFrame, ServerFrame, ListChatsResponse, ListMessagesResponse, Envelope]
SCALARS: dict[int, st.SearchStrategy[Any]] = {
    FieldDescriptor.TYPE_INT64: st.integers(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: st.integers(0, 2**64 - 1),
    FieldDescriptor.TYPE_INT32: st.integers(-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_UINT32: st.integers(0, 2**32 - 1),
    FieldDescriptor.TYPE_BOOL: st.booleans(),
    FieldDescriptor.TYPE_STRING: st.text(),
    FieldDescriptor.TYPE_BYTES: st.binary(max_size=40),
}


@st.composite
def filled(draw: st.DrawFn, kind: type[Message]) -> Message:
    """Any message of the kind: each field set or not, to any value."""
    message = kind()
    fill(draw, message)
    return message


def fill(draw: st.DrawFn, message: Message) -> None:
    for field in message.DESCRIPTOR.fields:
        if not draw(st.booleans()):
            continue
        if field.message_type and field.is_repeated:
            for _ in range(draw(st.integers(0, 2))):
                fill(draw, getattr(message, field.name).add())
        elif field.message_type:
            getattr(message, field.name).SetInParent()
            fill(draw, getattr(message, field.name))
        else:
            values = st.sampled_from([0, 1]) if field.enum_type else SCALARS[field.type]
            if field.is_repeated:
                getattr(message, field.name).extend(draw(st.lists(values, max_size=3)))
            else:
                setattr(message, field.name, draw(values))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_json_is_the_mapping_of_protobuf(kind: type[Message], data: st.DataObject) -> None:
    """Any message, both ways, against protobuf's own implementation: stubs of any language read our JSON."""
    message = data.draw(filled(kind))
    text = wire.to_json(message)
    assert json.loads(text) == json_format.MessageToDict(message, preserving_proto_field_name=True)
    assert wire.from_json(kind, text) == message


@given(st.binary(max_size=200))
def test_any_bytes_give_a_message_or_a_refusal(data: bytes) -> None:
    assert isinstance(wire.from_json(ClientFrame, data), ClientFrame | Refusal)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["send", "ping", "react", "payload", "chat_id", "recipient_id", "text"]), inner
        )
    ),
)


@given(JSON)
def test_any_json_gives_a_message_or_a_refusal(value: Any) -> None:
    assert isinstance(wire.from_object(ClientFrame, value), ClientFrame | Refusal)


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ('{"send":{"client_message_id":5}}', "send.client_message_id", "must be a string"),
        ('{"send":{"recipient_id":true}}', "send.recipient_id", "must be an integer from"),
        ('{"send":{"recipient_id":"9223372036854775808"}}', "send.recipient_id", "to 9223372036854775807"),
        ('{"send":{"recipient_id":1.5}}', "send.recipient_id", "must be an integer"),
        ('{"send":{"chat_id":"a","recipient_id":"5"}}', "send.recipient_id", "can't be combined with `chat_id`"),
        ('{"send":{"text":"hi"}}', "send.text", "must be an object"),
        ('{"ping":{"payload":"***"}}', "ping.payload", "must be base64"),
        ('{"send":{},"ping":{}}', "ping", "can't be combined with `send`"),
        ('{"send":{"files":[{"file_id":"5"},{"file_id":"x"}]}}', "send.files[1].file_id", "must be an integer"),
        ('{"send":{"files":[{},5]}}', "send.files[1]", "must be an object"),
        ('{"send":{"files":5}}', "send.files", "must be a list"),
        ('{"follow":{"chat_ids":["a","b",7]}}', "follow.chat_ids[2]", "must be a string"),
        ("[]", "", "must be an object"),
        (b"\xff\xfe", "", ""),
        (b'{"ping":', "", ""),
        (b"", "", ""),
        (b'{"send":{"text":{"body":"\\ud800"}}}', "", ""),
        pytest.param(b"[" * 100_000, "", "", id="deep"),
    ],
)
def test_a_refusal_names_the_field(text: str | bytes, field: str, problem: str) -> None:
    refusal = wire.from_json(ClientFrame, text)
    assert isinstance(refusal, Refusal)
    assert (refusal.code, refusal.field) == (Code.MALFORMED, field)
    assert problem in refusal.message


def test_a_list_may_have_as_many_items_as_the_caller_accepts() -> None:
    text = '{"watch":{"user_ids":["1","2","3"]}}'
    assert wire.from_json(ClientFrame, text, 3) == wire.from_json(ClientFrame, text)
    refusal = wire.from_json(ClientFrame, text, 2)
    assert refusal == Refusal(Code.MALFORMED, "`watch.user_ids` may have 2 items at most.", "watch.user_ids")


def test_unknown_fields_and_nulls_are_ignored() -> None:
    frame = wire.from_json(ClientFrame, '{"ping":{"payload":"aGk=","new":1},"newer":{},"send":null}')
    assert frame == ClientFrame(ping=Ping(payload=b"hi"))
