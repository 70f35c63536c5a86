"""The types of the page match the JSON that the services send."""

import re
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from rookery.v1 import archive_pb2, files_pb2, groups_pb2, session_pb2
from shared.contract.errors import Refusal
from shared.contract.wire import from_object, to_object
from tools.protos import page_types

TYPES = {"string": "7", "number": 7, "boolean": True}


def test_each_scalar_has_the_type_that_it_has_in_json() -> None:
    text = page_types.document(map(description, (files_pb2, groups_pb2, session_pb2, archive_pb2)))
    seen = set()
    for name, properties in re.findall(r"@typedef \{object\} (\w+)\n(.*?)\*/", text, re.DOTALL):
        kind = next(
            getattr(file, name) for file in (files_pb2, groups_pb2, session_pb2, archive_pb2) if hasattr(file, name)
        )
        for type_, field in re.findall(r"@property \{(string|number|boolean)\} \[?(\w+)", properties):
            value = "YWJj" if field in ("payload", "picture", "secret_hash", "thumbhash", "waveform") else TYPES[type_]
            message = from_object(kind, {field: value})
            assert not isinstance(message, Refusal), message
            assert to_object(message) == {field: value}
            seen.add(type_)
    assert seen == set(TYPES)


def test_a_field_that_is_always_set_must_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_types, "ALWAYS_SET", "Chat.chat_id Chat.colour")
    with pytest.raises(ValueError, match=r"Chat\.colour"):
        page_types.document([description(files_pb2), description(session_pb2), description(archive_pb2)])


def description(module: Any) -> FileDescriptorProto:
    file = FileDescriptorProto()
    module.DESCRIPTOR.CopyToProto(file)
    return file
