"""The types of the frames, chats and history that the page reads and sends: JSDoc for `tsc`, generated from the
descriptors and the comments of the protos. And the table of the kinds of changes, for the page's reducer.

They follow the JSON of `shared.contract.wire`: proto names, 64-bit integers as strings of digits, bytes as base64; a
field with its default value is left out.
"""

import json
import textwrap
from collections.abc import Iterable, Iterator, Set
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)

from rookery.v1 import kinds_pb2
from tools.protos.asyncapi import comments_of, short_name

F = FieldDescriptorProto

ROOTS = (
    *("ClientFrame", "ServerFrame", "Chat", "ListChatsResponse", "ListMessagesResponse", "ListChangesResponse"),
    *("ListMembersResponse", "ListMarksResponse", "ListChatFilesResponse"),
)
"""The messages that the page sends and reads. Types are generated for them and for the messages in their fields."""

ALWAYS_SET = """
Authenticate.access_token Renew.access_token Send.client_message_id Send.chat_id
Change.chat_id Reacted.emoji Typing.chat_id GroupMarks.chat_id
ServerFrame.sequence Accepted.frame Refused.frame Refused.code Refused.message
Message.message_id Message.chat_id Message.sender_id Text.body
Chat.chat_id HistoryMessage.message
GroupSettings.name Member.user_id Control.version
FileInfo.file_id FileInfo.name FileInfo.media_type FileInfo.size
"""
"""Fields that always have a value: in the messages that the page reads, and in the messages that it sends."""

SCALARS = {
    **dict.fromkeys((F.TYPE_INT32, F.TYPE_UINT32), "number"),
    **dict.fromkeys((F.TYPE_INT64, F.TYPE_UINT64, F.TYPE_STRING, F.TYPE_BYTES), "string"),
    F.TYPE_BOOL: "boolean",
}

HEAD = """\
// The frames of a session, and chats and pages of history, as JSON. `make protos` generates this file from protos/. A
// 64-bit integer is a string of digits; a field with its default value is left out. For the type checker alone: nothing
// imports this file at run time.
"""
WIDTH = 120

KINDS_HEAD = """\
// The kinds of changes, by the name of their field in Change. `make protos` generates this file from protos/.

/**
 * @typedef {object} Kind
 * @property {"LAST" | "MAX" | "WINS"} law
 * @property {readonly string[]} key the fields of the change, and of its body, that are part of the key of the state
 * @property {boolean} [outlives] whether its changes stay beside one that wins
 */
/** @type {Readonly<Record<string, Kind>>} */
export const KINDS = {
"""


def document(files: Iterable[FileDescriptorProto]) -> str:
    """Return the text of the module. The descriptors must contain source information.

    Raises KeyError if a root does not exist, and ValueError if a field of ALWAYS_SET does not exist.
    """
    comments: dict[str, str] = {}
    messages: dict[str, DescriptorProto] = {}
    enums: dict[str, EnumDescriptorProto] = {}
    for file in files:
        comments |= comments_of(file)
        messages |= {message.name: message for message in file.message_type}
        enums |= {enum.name: enum for enum in file.enum_type}
    always = set(ALWAYS_SET.split())
    if unknown := always - {f"{name}.{field.name}" for name, message in messages.items() for field in message.field}:
        raise ValueError(f"no such fields: {', '.join(sorted(unknown))}")
    parts = [HEAD]
    for name in _reachable(messages):
        if name in enums:
            values = " | ".join(f'"{value.name}"' for value in enums[name].value)
            parts.append(_block([f"@typedef {{{values}}} {name}"]))
        else:
            parts.append(_block(_lines(messages[name], comments, always)))
    return "\n".join([*parts, "export {};\n"])


def _reachable(messages: dict[str, DescriptorProto]) -> list[str]:
    """The names of the types below the roots, each once, in the order in which they are first used."""
    found: dict[str, None] = {}

    def visit(name: str) -> None:
        if name in found:
            return
        found[name] = None
        for field in messages[name].field if name in messages else ():
            if field.type_name:
                visit(short_name(field.type_name))

    for root in ROOTS:
        visit(messages[root].name)
    return list(found)


def _lines(message: DescriptorProto, comments: dict[str, str], always: Set[str]) -> Iterator[str]:
    if comment := comments.get(message.name):
        yield comment.replace("\n", " ")
    yield f"@typedef {{object}} {message.name}"
    for field in message.field:
        name = f"{message.name}.{field.name}"
        key = field.name if name in always else f"[{field.name}]"
        comment = comments.get(name, "").replace("\n", " ")
        yield f"@property {{{_type(field)}}} {key} {comment}".rstrip()


def _type(field: F) -> str:
    kind = short_name(field.type_name) if field.type_name else SCALARS[field.type]
    return f"{kind}[]" if field.label == F.LABEL_REPEATED else kind


def _block(lines: Iterable[str]) -> str:
    """A comment for JSDoc, with lines that are not too long."""
    wrapped = [piece for line in lines for piece in textwrap.wrap(line, WIDTH - 3, break_long_words=False)]
    return "\n".join(["/**", *(f" * {line}" for line in wrapped), " */", ""])


def kinds(file: FileDescriptorProto) -> str:
    """Return the text of the module with the table of kinds."""
    extension: Any = kinds_pb2.kind  # its generated type is that of no extension
    change = next(message for message in file.message_type if message.name == "Change")
    lines = [
        f"  {field.name}: {{ law: {json.dumps(law)}, key: {json.dumps(list(kind.key))}"
        f"{', outlives: true' if kind.outlives else ''} }},"
        for field in change.field
        if (kind := field.options.Extensions[extension]).law
        and (law := kinds_pb2.Law.Name(kind.law).removeprefix("LAW_"))
    ]
    return KINDS_HEAD + "\n".join([*lines, "};\n"])
