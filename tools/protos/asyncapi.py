"""The session protocol as an AsyncAPI 3.0 document, for those who write clients: made of the descriptors of
`session.proto` with their comments, and of what the gateway's code says about limits, codes and the handshake.

Schemas follow the JSON of `shared.contract.wire`: 64-bit integers as strings of digits, bytes as base64, proto names.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto

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
"""JSON Schema keywords of fields beyond their types, from the code, by full name."""

DEFAULTS = LiveConfiguration()
KNOWN: dict[str, Json] = {
    "Refused.code": CODE,
    "Goodbye.code": CODE,
    "Limits.max_frame_bytes": {"default": DEFAULTS.max_frame_bytes},
    "Limits.max_text_bytes": {"default": DEFAULTS.max_text_bytes},
    "Limits.frames_per_second": {"default": DEFAULTS.frames_per_second},
    "Limits.max_unanswered_sends": {"default": DEFAULTS.max_unanswered_sends},
    "Welcome.heartbeat_interval_ms": {"default": int(DEFAULTS.heartbeat_seconds * 1000)},
}

REPLIES = {
    "authenticate": ("welcome", "moved", "reconnect", "goodbye"),
    "send": ("accepted", "refused"),
    "react": ("event", "refused"),
    "unreact": ("event", "refused"),
    "receipt": ("event", "refused"),
    "ping": ("pong", "refused"),
}
"""Answers to client frames; other frames are answered only when refused."""

STATUSES = {
    101: "the session begins",
    400: f"no key of 16 bytes, or not the sub-protocol `{SUBPROTOCOL}`",
    403: "a page of this origin may not connect",
    404: f"a path other than `{PATH}`",
    405: "a method other than GET",
    426: "no WebSocket of version 13 is asked for",
    431: "too long a head",
    503: "the gateway is full: wait for `Retry-After` seconds",
    505: "an HTTP other than 1.1",
}
"""Answers to the handshake."""


def document(file: FileDescriptorProto) -> str:
    """The document as JSON text, for a `session.proto` whose descriptor has its source information."""
    comments = _comments(file)
    schemas = {message.name: schema_of(message, comments) for message in file.message_type}
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


def schema_of(message: DescriptorProto, comments: dict[str, str]) -> Json:
    """Convert a message to JSON Schema. One field of each `oneof` is required; others may be absent."""
    schema: Json = {"type": "object"}
    if comment := comments.get(message.name):
        schema["description"] = comment
    schema["properties"] = {
        field.name: _field(field, KNOWN.get(name, {}), comments.get(name, ""))
        for field in message.field
        for name in [f"{message.name}.{field.name}"]
    }
    if one_ofs := [_one_of(message, index) for index in range(len(message.oneof_decl))]:
        schema |= one_ofs[0] if len(one_ofs) == 1 else {"allOf": one_ofs}
    return schema


def _field(field: F, known: Json, comment: str) -> Json:
    """Schema of a field's value. A reference allows no other keyword, so a described one is wrapped."""
    if field.type == F.TYPE_MESSAGE:
        reference: Json = {"$ref": f"#/components/schemas/{_short(field.type_name)}"}
        schema = {"description": comment, "allOf": [reference]} if comment else reference
    else:
        schema = {**({"description": comment} if comment else {}), **SCALARS[field.type], **known}
    return {"type": "array", "items": schema} if field.label == F.LABEL_REPEATED else schema


def _one_of(message: DescriptorProto, index: int) -> Json:
    members = [field.name for field in message.field if field.HasField("oneof_index") and field.oneof_index == index]
    return {"oneOf": [{"required": [name]} for name in members]}


def _kinds(frame: DescriptorProto) -> list[F]:
    return [field for field in frame.field if field.HasField("oneof_index")]


def _message(frame: str, field: F, schemas: Json) -> Json:
    """One kind of frame: the content of its WebSocket text message."""
    payload: Json = {"$ref": f"#/components/schemas/{_short(field.type_name)}"}
    properties: Json = {"sequence": schemas[frame]["properties"]["sequence"]} if frame == SERVER else {}
    described = schemas[_short(field.type_name)].get("description", "")
    return {
        "name": field.name,
        "title": _short(field.type_name),
        **({"summary": described} if described else {}),
        "contentType": "application/json",
        "payload": {
            "type": "object",
            "required": [*properties, field.name],
            "properties": {**properties, field.name: payload},
        },
    }


def _operations(kinds: dict[str, list[F]]) -> Iterator[tuple[str, Json]]:
    """Operations of the gateway: frames that it receives with their answers, and frames that it sends unprompted."""
    for field in kinds[CLIENT]:
        yield (
            f"receive_{field.name}",
            {
                "action": "receive",
                "channel": {"$ref": "#/channels/session"},
                "messages": _on_channel(CLIENT, [field.name]),
                "reply": {
                    "channel": {"$ref": "#/channels/session"},
                    "messages": _on_channel(SERVER, REPLIES.get(field.name, ("refused",))),
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
        "description": "Where a user's sessions go is what `GET /v1/me/gateway` says: ask before every connection.",
        "security": [{"$ref": "#/components/securitySchemes/accessToken"}],
    }


def _security() -> Json:
    return {
        "type": "apiKey",
        "in": "password",
        "description": "An access token of `POST /v1/tokens`, in the first frame, `authenticate`: never in a URL.",
    }


def _channel(messages: Json) -> Json:
    return {
        "address": PATH,
        "title": "A session",
        "description": "Every text message is one frame. Nothing is compressed, and nothing is binary.\n\n"
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
            "Origin": {"type": "string", "description": "Of a page: the gateway's host, or one of its settings."},
        },
    }


def _table(title: str, rows: dict[int, str]) -> str:
    """A table in Markdown, the format of AsyncAPI descriptions."""
    return "\n".join((f"| {title} | |", "| --- | --- |", *(f"| {key} | {meaning} |" for key, meaning in rows.items())))


def _message_name(frame: str, kind: str) -> str:
    """Name of a message in the document; client and server frames must have different names."""
    return f"{'client' if frame == CLIENT else 'server'}_{kind}"


def _short(full_name: str) -> str:
    return full_name.rpartition(".")[2]


def _comments(file: FileDescriptorProto) -> dict[str, str]:
    """Comments of messages (`Send`) and fields (`Send.text`); the file's comment by the package name."""
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
