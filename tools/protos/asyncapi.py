"""The session protocol as an AsyncAPI 3.0 document for authors of clients. It is generated from the descriptors and the
comments of `session.proto`, and from the gateway's limits, codes and handshake statuses.

Schemas follow the JSON of `shared.contract.wire`: 64-bit integers as strings of digits, bytes as base64, proto names.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from messaging.gateway.transports.handshake import PATH, SUBPROTOCOL
from messaging.gateway.transports.messages import CLOSE_CODES
from shared.configuration import LiveConfiguration
from shared.contract.errors import KINDS, Code

Json = dict[str, Any]
F = FieldDescriptorProto

CLIENT, SERVER = "ClientFrame", "ServerFrame"

INTEGERS: dict[int, Json] = {
    F.TYPE_INT32: {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    F.TYPE_UINT32: {"type": "integer", "minimum": 0, "maximum": 2**32 - 1},
    F.TYPE_INT64: {"type": "string", "format": "int64", "pattern": "^-?[0-9]{1,19}$"},
    F.TYPE_UINT64: {"type": "string", "format": "uint64", "pattern": "^[0-9]{1,20}$"},
}

BASE64 = "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"

SCALARS: dict[int, Json] = INTEGERS | {
    F.TYPE_BOOL: {"type": "boolean"},
    F.TYPE_STRING: {"type": "string"},
    F.TYPE_BYTES: {"type": "string", "contentEncoding": "base64", "pattern": BASE64},
}

CODE: Json = {"enum": [code.value for code in Code]}
DEFAULTS = LiveConfiguration()
DETAILS: dict[str, Json] = {
    "Refused.code": CODE,
    "Goodbye.code": CODE,
    "Limits.max_frame_bytes": {"default": DEFAULTS.max_frame_bytes},
    "Limits.max_text_bytes": {"default": DEFAULTS.max_text_bytes},
    "Limits.frames_per_second": {"default": DEFAULTS.frames_per_second},
    "Limits.max_unanswered_sends": {"default": DEFAULTS.max_unanswered_sends},
    "Limits.max_file_bytes": {"default": str(DEFAULTS.max_file_bytes)},
    "Limits.edit_seconds": {"default": DEFAULTS.edit_seconds},
    "Welcome.heartbeat_interval_ms": {"default": int(DEFAULTS.heartbeat_seconds * 1000)},
}
"""JSON Schema keywords of fields beyond their types, by full name, from the code."""

RETRIED = ("send", "change")
"""Frames whose command may be sent again."""

REPLIES = {
    "authenticate": ("welcome", "moved", "reconnect", "goodbye"),
    "renew": ("accepted", "refused"),
    "send": ("accepted", "refused"),
    "change": ("accepted", "refused"),
    "typing": ("accepted", "refused"),
    "watch": ("accepted", "refused"),
    "follow": ("accepted", "refused"),
    "ping": ("pong", "refused"),
}
"""The possible answers to each frame of the client."""

STATUSES = {
    101: "the session starts",
    400: f"the key does not have 16 bytes, or the sub-protocol is not `{SUBPROTOCOL}`",
    403: "pages of this origin may not connect",
    404: f"a path other than `{PATH}`",
    405: "a method other than GET",
    426: "the request is not for a WebSocket of version 13",
    431: "the request's head is too long",
    503: "the gateway is full: wait for `Retry-After` seconds",
    505: "an HTTP version other than 1.1",
}
"""The status codes of the handshake."""


def document(file: FileDescriptorProto, *imported: FileDescriptorProto) -> str:
    """Return the document as JSON text. The descriptors of `session.proto` and of the files that it imports must
    contain source information."""
    comments = comments_of(*imported, file)
    enums = {enum.name: enum for each in imported for enum in each.enum_type}
    schemas = {
        message.name: schema_of(message, comments, enums) for each in (*imported, file) for message in each.message_type
    }
    kinds = {message.name: _kinds(message) for message in file.message_type if message.name in (CLIENT, SERVER)}
    messages: Json = {}
    for frame, fields in kinds.items():
        for field in fields:
            messages[_message_name(frame, field.name)] = _message(frame, field, schemas)
    return json.dumps(
        {
            "asyncapi": "3.0.0",
            "info": {
                "title": "Rookery sessions",
                "version": "1",
                "description": comments[file.package],
                "license": {"name": "Apache-2.0"},
            },
            "defaultContentType": "application/json",
            "servers": {"gateway": _server()},
            "channels": {"session": _channel(messages)},
            "operations": dict(_operations(kinds)),
            "components": {
                "messages": messages,
                "schemas": schemas,
                "securitySchemes": {"accessToken": _security()},
            },
            "x-close-codes": {str(code): meaning for code, meaning in CLOSE_CODES.items()},
            "x-handshake-statuses": {str(status): meaning for status, meaning in STATUSES.items()},
            "x-refusal-codes": {
                code.value: {"meaning": kind.title, "retryable": kind.retryable} for code, kind in KINDS.items()
            },
        },
        indent=1,
        ensure_ascii=False,
    )


def schema_of(message: DescriptorProto, comments: dict[str, str], enums: dict[str, EnumDescriptorProto]) -> Json:
    """A message as JSON Schema. Each `oneof` needs one member; other fields may be omitted if default."""
    schema: Json = {"type": "object"}
    if comment := comments.get(message.name):
        schema["description"] = comment
    schema["properties"] = {
        field.name: _field(field, DETAILS.get(name, {}), comments.get(name, ""), enums)
        for field in message.field
        for name in [f"{message.name}.{field.name}"]
    }
    optional = {field.oneof_index for field in message.field if field.proto3_optional}  # each in a `oneof` of its own
    if one_ofs := [_one_of(message, index) for index in range(len(message.oneof_decl)) if index not in optional]:
        schema |= one_ofs[0] if len(one_ofs) == 1 else {"allOf": one_ofs}
    return schema


def short_name(full_name: str) -> str:
    """`Chat` for `.rookery.v1.Chat`."""
    return full_name.rpartition(".")[2]


def comments_of(*files: FileDescriptorProto) -> dict[str, str]:
    """The comments by message (`Send`) and field (`Send.text`); the last file's comment by the package's name."""
    found: dict[str, str] = {}
    for file in files:
        found |= _comments_of(file)
    return found


def _comments_of(file: FileDescriptorProto) -> dict[str, str]:
    found = {file.package: ""}
    for location in file.source_code_info.location:
        match list(location.path):
            case [12]:  # the line `syntax`, right below the file's comment
                name = file.package
            case [4, message]:
                name = file.message_type[message].name
            case [4, message, 2, field]:
                name = f"{file.message_type[message].name}.{file.message_type[message].field[field].name}"
            case _:
                continue
        if location.leading_comments:
            found[name] = "\n".join(line.removeprefix(" ") for line in location.leading_comments.rstrip().split("\n"))
    return found


def _field(field: F, details: Json, comment: str, enums: dict[str, EnumDescriptorProto]) -> Json:
    """The schema of a field. A reference must be alone in its object, so one with a description is wrapped."""
    if field.type == F.TYPE_MESSAGE:
        reference: Json = {"$ref": f"#/components/schemas/{short_name(field.type_name)}"}
        schema = {"description": comment, "allOf": [reference]} if comment else reference
    elif field.type == F.TYPE_ENUM:
        values = [value.name for value in enums[short_name(field.type_name)].value]
        schema = {**({"description": comment} if comment else {}), "enum": values}
    else:
        schema = {**({"description": comment} if comment else {}), **SCALARS[field.type], **details}
    return {"type": "array", "items": schema} if field.label == F.LABEL_REPEATED else schema


def _one_of(message: DescriptorProto, index: int) -> Json:
    members = [field.name for field in message.field if field.HasField("oneof_index") and field.oneof_index == index]
    return {"oneOf": [{"required": [name]} for name in members]}


def _kinds(frame: DescriptorProto) -> list[F]:
    return [field for field in frame.field if field.HasField("oneof_index") and not field.proto3_optional]


def _message(frame: str, field: F, schemas: Json) -> Json:
    """One kind of frame, as the text message that carries it."""
    payload: Json = {"$ref": f"#/components/schemas/{short_name(field.type_name)}"}
    others = {SERVER: ("sequence",), CLIENT: ("first_sent_ms_ago",) if field.name in RETRIED else ()}[frame]
    properties: Json = {name: schemas[frame]["properties"][name] for name in others}
    described = schemas[short_name(field.type_name)].get("description", "")
    return {
        "name": field.name,
        "title": short_name(field.type_name),
        **({"summary": described} if described else {}),
        "contentType": "application/json",
        "payload": {
            "type": "object",
            "required": [*(properties if frame == SERVER else ()), field.name],
            "properties": {**properties, field.name: payload},
        },
    }


def _operations(kinds: dict[str, list[F]]) -> Iterator[tuple[str, Json]]:
    """The operations of the gateway: each frame that it receives, with its answers, and each that it sends."""
    for field in kinds[CLIENT]:
        yield (
            f"receive_{field.name}",
            {
                "action": "receive",
                "channel": {"$ref": "#/channels/session"},
                "messages": _on_channel(CLIENT, [field.name]),
                "reply": {
                    "channel": {"$ref": "#/channels/session"},
                    "messages": _on_channel(SERVER, REPLIES[field.name]),
                },
            },
        )
    for field in kinds[SERVER]:
        operation = {"action": "send", "channel": {"$ref": "#/channels/session"}}
        yield f"send_{field.name}", operation | {"messages": _on_channel(SERVER, [field.name])}


def _on_channel(frame: str, names: Iterable[str]) -> list[Json]:
    return [{"$ref": f"#/channels/session/messages/{_message_name(frame, name)}"} for name in names]


def _server() -> Json:
    return {
        "host": "localhost:8081",
        "protocol": "ws",
        "protocolVersion": "13",
        "description": "Request the gateway's address with `GET /v1/me/gateway` before every connection.",
        "security": [{"$ref": "#/components/securitySchemes/accessToken"}],
    }


def _security() -> Json:
    return {
        "type": "apiKey",
        "in": "password",
        "description": "An access token of `POST /v1/tokens`, sent in the first frame, `authenticate`, never in a URL.",
    }


def _channel(messages: Json) -> Json:
    return {
        "address": PATH,
        "title": "A session",
        "description": "Every text message is one frame. There are no binary messages and no compression.\n\n"
        + _table("status of the handshake", STATUSES)
        + "\n\n"
        + _table("close code", CLOSE_CODES),
        "servers": [{"$ref": "#/servers/gateway"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "headers": _headers(), "bindingVersion": "0.1.0"}},
    }


def _headers() -> Json:
    return {
        "type": "object",
        "required": ["Sec-WebSocket-Protocol"],
        "properties": {
            "Sec-WebSocket-Protocol": {"type": "string", "const": SUBPROTOCOL},
            "Origin": {
                "type": "string",
                "description": "Sent by browsers: must be the gateway's host or an origin of its settings.",
            },
        },
    }


def _table(title: str, rows: dict[int, str]) -> str:
    """A table in Markdown, the format of descriptions in AsyncAPI."""
    return "\n".join((f"| {title} | |", "| --- | --- |", *(f"| {key} | {meaning} |" for key, meaning in rows.items())))


def _message_name(frame: str, kind: str) -> str:
    """The name of a message in the document. It has a prefix because client and server have frames of the same name."""
    return f"{'client' if frame == CLIENT else 'server'}_{kind}"
