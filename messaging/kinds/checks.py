"""Checks and refusals that several kinds of messages and changes share. All are pure."""

from collections.abc import Container

from messaging.kinds.kind import refuse_without
from rookery.v1.session_pb2 import Text
from shared.contract.chats import is_group
from shared.contract.errors import Code, Refusal
from shared.contract.groups import Permission
from shared.contract.ids import MAX_ID

MAX_MENTIONS = 50
"""Users whom a text mentions at most: see session.proto."""

MAX_MENTIONED_NAME = 64
"""Bytes: see session.proto."""


def check_text(text: Text, limit: int, field: str, *, may_be_blank: bool = False) -> Refusal | None:
    """The refusal of a text that is longer than `limit` bytes, or blank; `field` is its path."""
    body = text.body
    if not may_be_blank and (not body or body.isspace()):
        return Refusal(Code.INVALID, "Without files, the text must have more than white space.", f"{field}.body")
    if len(body.encode()) > limit:
        return too_long("text", limit, f"{field}.body")
    return None


def check_mentions(text: Text, chat_id: str, field: str) -> Refusal | None:
    """The refusal of a text for this chat with an invalid mention; `field` is its path."""
    if text.mentions_everyone and not is_group(chat_id):
        return Refusal(Code.INVALID, "Only a text in a group can mention everyone.", f"{field}.mentions_everyone")
    if text.mentions_everyone and "@" not in text.body:
        message = "A text that mentions everyone must contain `@`."
        return Refusal(Code.INVALID, message, f"{field}.mentions_everyone")
    if len(text.mentions) > MAX_MENTIONS:
        return Refusal(Code.TOO_LARGE, f"A text can mention {MAX_MENTIONS} users at most.", f"{field}.mentions")
    mentioned: set[int] = set()
    for index, mention in enumerate(text.mentions):
        path = f"{field}.mentions[{index}]"
        if mention.user_id <= 0:
            return bad_id(f"{path}.user_id")
        if mention.user_id in mentioned:
            return Refusal(Code.INVALID, "A text mentions each user once.", f"{path}.user_id")
        mentioned.add(mention.user_id)
        if len(mention.name.encode()) > MAX_MENTIONED_NAME:
            return too_long("name", MAX_MENTIONED_NAME, f"{path}.name")
        if not mention.name or f"@{mention.name}" not in text.body:
            return Refusal(Code.INVALID, "The text must contain the name of a mention, after `@`.", f"{path}.name")
    return None


def check_mentioned(text: Text, members: Container[int], permissions: Permission, field: str) -> Refusal | None:
    """The refusal of a text that mentions a user outside the chat, or everyone without the permission; `field` is its
    path."""
    if text.mentions_everyone and Permission.MENTION_EVERYONE not in permissions:
        return refuse_without(Permission.MENTION_EVERYONE, f"{field}.mentions_everyone")
    for index, mention in enumerate(text.mentions):
        if mention.user_id not in members:
            message = "Only members of the chat can be mentioned."
            return Refusal(Code.NOT_FOUND, message, f"{field}.mentions[{index}].user_id")
    return None


def bad_id(field: str) -> Refusal:
    """The refusal of a number that is no id."""
    name = field.rpartition(".")[2]
    return Refusal(Code.INVALID, f"`{name}` must be an id from 1 to {MAX_ID}.", field)


def too_long(noun: str, limit: int, field: str) -> Refusal:
    """The refusal of a field that has more than `limit` bytes."""
    return Refusal(Code.TOO_LARGE, f"The {noun} must have at most {limit} bytes.", field)
