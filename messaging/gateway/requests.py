"""Checks clients' frames, sans I/O: a frame becomes a request, or a Refusal that names the field and the limit."""

from collections.abc import Sequence
from typing import ClassVar

import msgspec

from messaging.gateway.sent import change_hash, message_hash
from messaging.kinds import KINDS
from messaging.kinds.checks import bad_id, check_mentioned, check_mentions, check_text, too_long
from messaging.kinds.kind import Kind
from rookery.v1.files_pb2 import FileInfo, FileRef
from rookery.v1.kinds_pb2 import LAW_MAX
from rookery.v1.session_pb2 import (
    Authenticate,
    Change,
    ClientFrame,
    Event,
    Follow,
    Message,
    Ping,
    Send,
    Text,
    Typing,
    Watch,
)
from shared.configuration import LiveConfiguration
from shared.contract.chats import MAX_CLIENT_ID, direct_chat_id, direct_members, is_group, no_such_chat
from shared.contract.errors import Code, Refusal
from shared.contract.groups import DIRECT_PERMISSIONS
from shared.contract.ids import MAX_ID
from shared.contract.sessions import MAX_FOLLOWED, MAX_OPEN, MAX_WATCHED

MAX_CLIENT_NAME = 64
MAX_PING = 128
"""Bytes."""

MAX_FILES = 10
"""Files of a message: see session.proto."""

Members = tuple[int, ...]
"""The two members of a direct chat; empty for a group, whose members the publisher looks up."""

GROUP: Members = ()


class SendRequest(msgspec.Struct, frozen=True):
    """A message to a direct chat of these members, or to a group."""

    client_id_field: ClassVar[str] = "send.client_message_id"
    chat_id_field: ClassVar[str] = "send.chat_id"
    target_field: ClassVar[str] = "send.reply_to"
    is_message: ClassVar[bool] = True

    client_id: str
    chat_id: str
    members: Members
    text: Text
    reply_to: int
    """The message to which it replies; 0 if none."""
    forwarded: bool
    first_sent_ms_ago: int | None
    """0 if the client sends it for the first time; None if the frame has no `first_sent_ms_ago`."""
    files: tuple[FileRef, ...] = ()

    @property
    def is_personal(self) -> bool:
        """Whether, in a group, only the devices of the user receive it."""
        return False

    @property
    def is_mark(self) -> bool:
        """Whether it states how far the user has received or read the chat."""
        return False

    @property
    def is_read_mark(self) -> bool:
        """Whether it states how far the user has read, which users may hide from each other."""
        return False

    @property
    def recipients(self) -> Sequence[int]:
        """The users of a direct chat that receive it; of a personal one, also in a group."""
        return self.members

    @property
    def mentioned(self) -> Sequence[int]:
        """The users whom its text mentions by name."""
        return mentioned(self.text)

    @property
    def span_name(self) -> str:
        """The name of its trace's first span."""
        return "session send"

    def content_hash(self) -> int:
        """The hash of the content, by which a retry differs from another message with the same client id."""
        return message_hash(self.text, self.reply_to, self.forwarded, self.files)

    def event(self, event_id: int, user_id: int, files: Sequence[FileInfo] = ()) -> Event:
        """The event of this message under this id, with its files."""
        message = Message(
            message_id=event_id,
            chat_id=self.chat_id,
            sender_id=user_id,
            client_message_id=self.client_id,
            text=self.text,
            reply_to=self.reply_to,
            forwarded=self.forwarded,
        )
        if files:
            message.files.extend(files)
        return Event(event_id=event_id, message=message)


class ChangeRequest(msgspec.Struct, frozen=True):
    """A change of a message or of a chat. It has all properties and methods of a SendRequest."""

    client_id_field: ClassVar[str] = "change.client_change_id"
    chat_id_field: ClassVar[str] = "change.chat_id"
    target_field: ClassVar[str] = "change.target_id"
    is_message: ClassVar[bool] = False
    files: ClassVar[Sequence[FileRef]] = ()

    client_id: str
    """Empty if it may be repeated."""
    chat_id: str
    members: Members
    kind: Kind
    change: Change
    """Complete, with its actor."""
    first_sent_ms_ago: int | None

    @property
    def is_personal(self) -> bool:
        return self.kind.is_personal

    @property
    def is_mark(self) -> bool:
        return self.kind.is_mark

    @property
    def is_read_mark(self) -> bool:
        return self.kind.is_read_mark(self.change)

    @property
    def recipients(self) -> Sequence[int]:
        return (self.change.actor_id,) if self.kind.contract.is_private else self.members

    @property
    def mentioned(self) -> Sequence[int]:
        return mentioned(self.change.edited.text)

    @property
    def span_name(self) -> str:
        return f"session {self.kind.contract.name}"

    def content_hash(self) -> int:
        return change_hash(self.change)

    def event(self, event_id: int, user_id: int, files: Sequence[FileInfo] = ()) -> Event:
        return Event(event_id=event_id, change=self.change)


class TypingRequest(msgspec.Struct, frozen=True):
    """The user is typing in a chat."""

    chat_id_field: ClassVar[str] = "typing.chat_id"

    chat_id: str
    members: Members

    @property
    def span_name(self) -> str:
        return "session typing"


class WatchRequest(msgspec.Struct, frozen=True):
    """The session watches these users from now on, and no others."""

    user_ids: tuple[int, ...]


class FollowRequest(msgspec.Struct, frozen=True):
    """The session follows these channels from now on, and no others."""

    chat_ids: tuple[str, ...]
    open_chat_ids: frozenset[str]
    """The channels among `chat_ids` of which the session gets all events."""


KeptRequest = SendRequest | ChangeRequest
"""A request whose event is stored durably."""

Request = KeptRequest | TypingRequest | WatchRequest | FollowRequest


def check(frame: ClientFrame, user_id: int, configuration: LiveConfiguration) -> Request | Refusal:
    """The request in a frame of a live session's user."""
    match frame.WhichOneof("frame"):
        case "send":
            return _check_send(frame, user_id, configuration)
        case "change":
            return _check_change(frame, user_id, configuration)
        case "typing":
            return _check_typing(frame.typing, user_id)
        case "watch":
            return _check_watch(frame.watch)
        case "follow":
            return _check_follow(frame.follow)
        case _:
            return Refusal(Code.MALFORMED, "The frame is empty, or of a kind that this server does not know.")


def mentioned(text: Text) -> Sequence[int]:
    """The users whom a text mentions by name."""
    return [each.user_id for each in text.mentions]


def client_id_of(frame: ClientFrame) -> str:
    """The client's own id of its message or change; empty for other frames."""
    return frame.send.client_message_id or frame.change.client_change_id


def check_authenticate(frame: Authenticate) -> Refusal | None:
    """The refusal of a malformed Authenticate; None if it is well-formed."""
    if not frame.access_token:
        return Refusal(Code.UNAUTHENTICATED, "An access token is needed.", "authenticate.access_token")
    if len(frame.client_name.encode()) > MAX_CLIENT_NAME:
        return too_long("client name", MAX_CLIENT_NAME, "authenticate.client_name")
    if frame.last_position.offset < -1:  # the position of a user without any event
        return Refusal(Code.INVALID, "The position's offset can't be below -1.", "authenticate.last_position.offset")
    return None


def check_ping(frame: Ping) -> Refusal | None:
    """The refusal of a Ping that is too long; None if it is not."""
    return too_long("payload", MAX_PING, "ping.payload") if len(frame.payload) > MAX_PING else None


def _check_send(frame: ClientFrame, user_id: int, configuration: LiveConfiguration) -> SendRequest | Refusal:
    send = frame.send
    client_id = send.client_message_id
    if not 0 < len(client_id.encode()) <= MAX_CLIENT_ID:
        return _bad_client_id(SendRequest.client_id_field)
    chat = _check_to(send, user_id)
    if isinstance(chat, Refusal):
        return chat
    text, reply_to = Text(), send.reply_to
    text.CopyFrom(send.text)
    text.DiscardUnknownFields()
    files = tuple(send.files) if send.files else ()
    if files and (refusal := _check_files(files, user_id)):
        return refusal
    if not files and send.WhichOneof("content") != "text":
        return Refusal(Code.INVALID, "A message needs content, such as `text`.", "send.text")
    if refusal := check_text(text, configuration.max_text_bytes, "send.text", may_be_blank=bool(files)):
        return refusal
    if text.mentions or text.mentions_everyone:
        refusal = check_mentions(text, chat[0], "send.text")
        if refusal is None and chat[1]:
            refusal = check_mentioned(text, chat[1], DIRECT_PERMISSIONS, "send.text")
        if refusal:
            return refusal
    if not 0 <= reply_to <= MAX_ID:
        return bad_id("send.reply_to")
    first_sent_ms_ago = frame.first_sent_ms_ago if frame.HasField("first_sent_ms_ago") else None
    return SendRequest(client_id, *chat, text, reply_to, send.forwarded, first_sent_ms_ago, files)


def _check_files(files: Sequence[FileRef], user_id: int) -> Refusal | None:
    if len(files) > MAX_FILES:
        return Refusal(Code.TOO_LARGE, f"A message can have {MAX_FILES} files at most.", "send.files")
    if len({each.file_id for each in files}) < len(files):
        return Refusal(Code.INVALID, "A message has each file once.", "send.files")
    for index, each in enumerate(files):
        field = f"send.files[{index}]"
        if each.file_id <= 0:
            return bad_id(f"{field}.file_id")
        if bool(each.chat_id) != bool(each.message_id):
            message = "A file in a message needs both `chat_id` and `message_id`."
            return Refusal(Code.INVALID, message, f"{field}.message_id")
        if each.chat_id and isinstance(chat := _check_chat(each.chat_id, f"{field}.chat_id", user_id), Refusal):
            return chat
        if each.message_id < 0:
            return bad_id(f"{field}.message_id")
    return None


def _check_change(frame: ClientFrame, user_id: int, configuration: LiveConfiguration) -> ChangeRequest | Refusal:
    change = Change()
    change.CopyFrom(frame.change)
    change.DiscardUnknownFields()
    change.actor_id = user_id
    change.is_private = False
    kind = KINDS.get(change.WhichOneof("body") or "")
    if kind is None:
        return Refusal(Code.MALFORMED, "The change is empty, or of a kind that this server does not know.", "change")
    client_id = change.client_change_id
    shortest = 0 if kind.contract.law == LAW_MAX else 1
    if not shortest <= len(client_id.encode()) <= MAX_CLIENT_ID:
        return _bad_client_id(ChangeRequest.client_id_field)
    chat = _check_chat(change.chat_id, "change.chat_id", user_id)
    if isinstance(chat, Refusal):
        return chat
    if not kind.contract.is_of_chat and change.target_id <= 0:
        return bad_id("change.target_id")
    if kind.contract.is_of_chat and change.target_id:
        return Refusal(Code.INVALID, "`target_id` must be 0 for a change of the chat.", "change.target_id")
    if refusal := kind.check(change, configuration):
        return refusal
    first_sent_ms_ago = frame.first_sent_ms_ago if frame.HasField("first_sent_ms_ago") else None
    return ChangeRequest(client_id, *chat, kind, change, first_sent_ms_ago)


def _check_to(send: Send, user_id: int) -> tuple[str, Members] | Refusal:
    match send.WhichOneof("to"):
        case "chat_id":
            return _check_chat(send.chat_id, "send.chat_id", user_id)
        case "recipient_id":
            if send.recipient_id <= 0:
                return bad_id("send.recipient_id")
            if send.recipient_id == user_id:
                return Refusal(Code.INVALID, "A message needs someone else to go to.", "send.recipient_id")
            chat_id = direct_chat_id(user_id, send.recipient_id)
            return chat_id, (min(user_id, send.recipient_id), max(user_id, send.recipient_id))
        case _:
            return Refusal(Code.INVALID, "A message needs a `chat_id` or a `recipient_id`.", "send.chat_id")


def _check_chat(chat_id: str, field: str, user_id: int) -> tuple[str, Members] | Refusal:
    members = direct_members(chat_id)
    if members is None:
        return (chat_id, GROUP) if is_group(chat_id) else no_such_chat(field)
    return (chat_id, members) if user_id in members else no_such_chat(field)


def _check_typing(frame: Typing, user_id: int) -> TypingRequest | Refusal:
    chat = _check_chat(frame.chat_id, "typing.chat_id", user_id)
    return chat if isinstance(chat, Refusal) else TypingRequest(*chat)


def _check_watch(frame: Watch) -> WatchRequest | Refusal:
    user_ids = tuple(frame.user_ids)
    field = "watch.user_ids"
    if len(user_ids) > MAX_WATCHED:
        return Refusal(Code.INVALID, f"A session may watch {MAX_WATCHED} users.", field)
    if any(user_id <= 0 for user_id in user_ids):
        return bad_id(field)
    if len(set(user_ids)) < len(user_ids):
        return Refusal(Code.INVALID, "Each user may be listed once.", field)
    return WatchRequest(user_ids)


def _check_follow(frame: Follow) -> FollowRequest | Refusal:
    chat_ids, open_chat_ids = tuple(frame.chat_ids), frozenset(frame.open_chat_ids)
    if len(chat_ids) > MAX_FOLLOWED:
        return Refusal(Code.INVALID, f"A session may follow {MAX_FOLLOWED} channels.", "follow.chat_ids")
    if len(frame.open_chat_ids) > MAX_OPEN:
        return Refusal(Code.INVALID, f"A session may have {MAX_OPEN} channels open.", "follow.open_chat_ids")
    if len(set(chat_ids)) < len(chat_ids):
        return Refusal(Code.INVALID, "Each channel may be listed once.", "follow.chat_ids")
    for index, chat_id in enumerate(chat_ids):
        if not is_group(chat_id):
            return no_channel(index)
    if not open_chat_ids.issubset(chat_ids):
        return Refusal(Code.INVALID, "An open channel must be in `chat_ids`, too.", "follow.open_chat_ids")
    return FollowRequest(chat_ids, open_chat_ids)


def no_channel(index: int) -> Refusal:
    """The refusal of a Follow of another chat, by the chat's index."""
    return Refusal(Code.INVALID, "This chat is no channel.", f"follow.chat_ids[{index}]")


def _bad_client_id(field: str) -> Refusal:
    name = field.rpartition(".")[2]
    return Refusal(Code.INVALID, f"`{name}` must have 1 to {MAX_CLIENT_ID} bytes.", field)
