"""Checks clients' frames, sans I/O: a frame becomes a request, or a Refusal that names the field and the limit."""

import re

import msgspec

from rookery.v1.session_pb2 import Authenticate, ClientFrame, Ping, Send, Text, Typing
from shared.configuration import LiveConfiguration
from shared.contract.chats import MAX_CLIENT_MESSAGE_ID, direct_chat_id, direct_members
from shared.contract.errors import Code, Refusal
from shared.contract.ids import MAX_ID

MAX_CLIENT_NAME = 64
MAX_EMOJI = 40
"""Bytes; the longest emoji, a kiss in two skin tones, has 35."""
MAX_PING = 128
"""Bytes."""

_PICTURE = (
    r"[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u2199\u21a9\u21aa\u231a\u231b\u2328\u23cf\u23e9-\u23f3\u23f8-\u23fa\u24c2"
    r"\u25aa\u25ab\u25b6\u25c0\u25fb-\u25fe\u2600-\u27bf\u2934\u2935\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55\u3030\u303d\u3297\u3299"
    r"\U0001f000-\U0001f1e5\U0001f200-\U0001f3fa\U0001f400-\U0001faff]"
)
"""A character that is an emoji alone. Blocks of pictures are whole, since each version of Unicode adds pictures."""

_ELEMENT = rf"{_PICTURE}(?:\ufe0f|[\U0001f3fb-\U0001f3ff]|[\U000e0020-\U000e007e]+\U000e007f)?"
"""A picture, and its presentation, its skin tone, or the tags of a flag."""

_EMOJI = re.compile(
    rf"{_ELEMENT}(?:\u200d{_ELEMENT})*|[\U0001f1e6-\U0001f1ff]{{2}}|[#*0-9]\ufe0f?\u20e3",
)
"""One emoji as Unicode's UTS 51 defines it: joined elements, a flag of two letters, or a keycap."""


class SendRequest(msgspec.Struct, frozen=True):
    """A message to a chat of these members."""

    client_message_id: str
    chat_id: str
    members: tuple[int, int]
    text: Text
    reply_to: int
    first_sent_ms_ago: int | None
    """0 if the client sends it for the first time; None if the client does not tell."""


class TypingRequest(msgspec.Struct, frozen=True):
    """The user is typing in a chat."""

    chat_id: str
    members: tuple[int, int]


Request = SendRequest | TypingRequest


def check(frame: ClientFrame, user_id: int, configuration: LiveConfiguration) -> Request | Refusal:
    """The request in a frame of a live session's user."""
    match frame.WhichOneof("frame"):
        case "send":
            return _check_send(frame.send, user_id, configuration)
        case "typing":
            return _check_typing(frame.typing, user_id)
        case _:
            return Refusal(Code.MALFORMED, "The frame is empty, or of a kind that this server does not know.")


def check_authenticate(frame: Authenticate) -> Refusal | None:
    """The refusal of a malformed Authenticate; None if it is well-formed."""
    if not frame.access_token:
        return Refusal(Code.UNAUTHENTICATED, "An access token is needed.", "authenticate.access_token")
    if len(frame.client_name.encode()) > MAX_CLIENT_NAME:
        return _too_long("authenticate.client_name", MAX_CLIENT_NAME)
    if frame.last_position.offset < -1:  # the position of a user without any event
        return Refusal(Code.INVALID, "The position's offset can't be below -1.", "authenticate.last_position.offset")
    return None


def check_ping(frame: Ping) -> Refusal | None:
    """The refusal of a Ping that is too long; None if it is not."""
    return _too_long("ping.payload", MAX_PING) if len(frame.payload) > MAX_PING else None


def is_emoji(text: str) -> bool:
    """Whether the text is one emoji, of any version of Unicode, and not too long."""
    return len(text.encode()) <= MAX_EMOJI and _EMOJI.fullmatch(text) is not None


def _check_send(send: Send, user_id: int, configuration: LiveConfiguration) -> SendRequest | Refusal:
    client_message_id = send.client_message_id
    if not 0 < len(client_message_id.encode()) <= MAX_CLIENT_MESSAGE_ID:
        message = f"`client_message_id` must have 1 to {MAX_CLIENT_MESSAGE_ID} bytes."
        return Refusal(Code.INVALID, message, "send.client_message_id")
    chat = _check_target(send, user_id)
    if isinstance(chat, Refusal):
        return chat
    if send.WhichOneof("content") != "text":
        return Refusal(Code.INVALID, "A message needs content, such as `text`.", "send.text")
    body = send.text.body
    if not body or body.isspace():
        return Refusal(Code.INVALID, "The text must have more than white space.", "send.text.body")
    limit = configuration.max_text_bytes
    if len(body) > limit or len(body.encode()) > limit:
        return _too_long("send.text.body", limit)
    if not 0 <= send.reply_to <= MAX_ID:
        return _bad_id("send.reply_to")
    first_sent_ms_ago = send.first_sent_ms_ago if send.HasField("first_sent_ms_ago") else None
    return SendRequest(client_message_id, *chat, send.text, send.reply_to, first_sent_ms_ago)


def _check_target(send: Send, user_id: int) -> tuple[str, tuple[int, int]] | Refusal:
    match send.WhichOneof("to"):
        case "chat_id":
            return _check_chat(send.chat_id, "send.chat_id", user_id)
        case "recipient_id":
            if send.recipient_id <= 0:
                return _bad_id("send.recipient_id")
            if send.recipient_id == user_id:
                return Refusal(Code.INVALID, "A message needs someone else to go to.", "send.recipient_id")
            chat_id = direct_chat_id(user_id, send.recipient_id)
            return chat_id, (min(user_id, send.recipient_id), max(user_id, send.recipient_id))
        case _:
            return Refusal(Code.INVALID, "A message needs a `chat_id` or a `recipient_id`.", "send.chat_id")


def _check_chat(chat_id: str, field: str, user_id: int) -> tuple[str, tuple[int, int]] | Refusal:
    members = direct_members(chat_id)
    if members is None or user_id not in members:  # the same refusal, to disclose no chat of other users
        return Refusal(Code.NOT_FOUND, "There is no such chat among yours.", field)
    return chat_id, members


def _check_typing(frame: Typing, user_id: int) -> TypingRequest | Refusal:
    chat = _check_chat(frame.chat_id, "typing.chat_id", user_id)
    return chat if isinstance(chat, Refusal) else TypingRequest(*chat)


def _bad_id(field: str) -> Refusal:
    name = field.rpartition(".")[2]
    return Refusal(Code.INVALID, f"`{name}` must be an id from 1 to {MAX_ID}.", field)


def _too_long(field: str, limit: int) -> Refusal:
    noun = "text" if field == "send.text.body" else field.rpartition(".")[2].replace("_", " ")
    return Refusal(Code.TOO_LARGE, f"The {noun} must have at most {limit} bytes.", field)
