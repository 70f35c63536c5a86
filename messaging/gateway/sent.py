"""Client ids: distinguishes the retry of a message or of a change from another one with the same client id."""

from collections.abc import Sequence
from typing import NamedTuple

from rookery.v1.files_pb2 import FileInfo, FileRef
from rookery.v1.session_pb2 import Change, Event, Message, Text

SendKey = tuple[int, str]
"""A user's id and the client id of a message or a change: two frames with one key are one event."""


class Sent(NamedTuple):
    """The event that was made first with a SendKey."""

    event_id: int
    chat_id: str
    content: int | None
    """The hash of its content, within one process; None if the content was deleted."""
    files: Sequence[FileInfo] = ()
    """The files of a message that is not read from the tail."""

    def is_repeated_by(self, other: "Sent") -> bool:
        """Whether the other one, with the same key, may be a retry."""
        return self.chat_id == other.chat_id and self.content in (other.content, None)


def message_hash(text: Text, reply_to: int, forwarded: bool, files: Sequence[FileInfo | FileRef] = ()) -> int:
    """The hash of a message's content."""
    has_mentions = text.mentions or text.mentions_everyone
    content = (text.SerializeToString() if has_mentions else text.body, reply_to, forwarded)
    return hash((content, *(each.file_id for each in files)) if files else content)


def control_hash(message: Message) -> int:
    """The hash of the content of a control change."""
    return hash(message.control.SerializeToString(deterministic=True))


def change_hash(change: Change) -> int:
    """The hash of a change's content."""
    name = change.WhichOneof("body") or ""
    return hash((change.target_id, name, getattr(change, name).SerializeToString(deterministic=True) if name else b""))


def sent_of(event: Event) -> Sent:
    """The Sent of a recorded message or change; without content if that was deleted since."""
    if event.HasField("message"):
        message = event.message
        content = None
        if message.HasField("control"):
            content = control_hash(message)
        elif message.WhichOneof("content"):
            content = message_hash(message.text, message.reply_to, message.forwarded, message.files)
        return Sent(event.event_id, message.chat_id, content, message.files)
    change = event.change
    return Sent(event.event_id, change.chat_id, change_hash(change) if change.WhichOneof("body") else None)
