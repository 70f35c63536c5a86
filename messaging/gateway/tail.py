"""The tail: the newest minutes of one partition, from which clients resume and retried sends are recognised."""

from collections import deque
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import NamedTuple

import msgspec

from messaging.fences import Fences
from rookery.v1.session_pb2 import Text

ENTRY_OVERHEAD = 400
"""Bytes that an entry takes beside its record (measured with tracemalloc: 380 with two recipients)."""

SendKey = tuple[int, str]
"""A user's id and the `client_message_id` of a Send: two sends with one key are one message."""


class Sent(NamedTuple):
    """The message that was sent first with a SendKey. `content` is its `content_hash`."""

    message_id: int
    chat_id: str
    content: int


def content_hash(text: Text, reply_to: int) -> int:
    """A hash of a message's content, which tells a retry from another message. Within one process."""
    return hash((text.body, reply_to))


class Entry(msgspec.Struct, frozen=True, gc=False):
    """One event of the tail, with the value of its record."""

    offset: int
    at_ms: int
    event_id: int
    recipient_ids: Sequence[int]
    key: SendKey | None
    """Of a message's record of truth; else None."""
    chat_id: str
    """Of a message; else empty."""
    value: bytes
    content: int = 0
    """The `content_hash` of a message's record of truth."""

    @property
    def sent(self) -> Sent:
        return Sent(self.event_id, self.chat_id, self.content)


class Tail:
    """Entries in order of their offsets, bounded in time and bytes, found by recipient and by SendKey."""

    def __init__(self, offset: int, complete_from_ms: int = 0) -> None:
        """A tail that begins at this offset, and has every event of that moment or later."""
        self._entries: deque[Entry] = deque()
        self._by_user: dict[int, deque[Entry]] = {}
        self._accepted: dict[SendKey, Sent] = {}
        self._bytes = 0
        self.complete_from = offset
        """From this offset on the tail has every event."""
        self.complete_from_ms = complete_from_ms
        """From this moment on (since 1970) the tail has every event."""
        self.next_offset = offset
        self.fences = Fences(offset)
        self.is_released = False
        """Whether the partition has left: others may have published to it since."""
        self.highest_event_id = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes, about."""
        return self._bytes

    def append(self, entry: Entry) -> None:
        """Append an entry, whose offset must be above all others'."""
        self._entries.append(entry)
        for recipient_id in entry.recipient_ids:
            self._by_user.setdefault(recipient_id, deque()).append(entry)
        if entry.key is not None:
            self._accepted.setdefault(entry.key, entry.sent)
        self.highest_event_id = max(self.highest_event_id, entry.event_id)
        self._bytes += ENTRY_OVERHEAD + len(entry.value)

    def accept(self, key: SendKey, sent: Sent) -> None:
        """Remember a message that the log has acknowledged, until its record is appended."""
        self._accepted.setdefault(key, sent)

    def sent_with(self, key: SendKey) -> Sent | None:
        """The message that was sent with this key; None if the tail has none."""
        return self._accepted.get(key)

    def evict(self, *, older_than_ms: int, max_bytes: int) -> None:
        """Forget entries that are too old, and the oldest while all together are too large."""
        entries = self._entries
        while entries and (entries[0].at_ms < older_than_ms or self._bytes > max_bytes):
            self._forget(entries.popleft())

    def newer(self, user_id: int, offset: int) -> list[Entry]:
        """The user's entries at or above the offset, in order."""
        return _newest_while(self._by_user.get(user_id, ()), lambda entry: entry.offset >= offset)

    def since(self, user_id: int, at_ms: int) -> list[Entry]:
        """The user's entries of this moment or later, in order."""
        return _newest_while(self._by_user.get(user_id, ()), lambda entry: entry.at_ms >= at_ms)

    def has_message(self, user_id: int, message_id: int, chat_id: str) -> bool:
        """Whether the tail has this message of the chat, with the user as a recipient."""
        entries = reversed(self._by_user.get(user_id, ()))
        return any(entry.event_id == message_id and entry.chat_id == chat_id for entry in entries)

    def time_at(self, offset: int) -> int:
        """The time of the newest entry up to this offset, in milliseconds since 1970; 0 if the tail begins later."""
        for entry in reversed(self._entries):
            if entry.offset <= offset:
                return entry.at_ms
        return 0

    def _forget(self, entry: Entry) -> None:
        for recipient_id in entry.recipient_ids:
            entries = self._by_user[recipient_id]
            entries.popleft()
            if not entries:
                del self._by_user[recipient_id]
        if entry.key is not None and self._accepted.get(entry.key) == entry.sent:
            del self._accepted[entry.key]
        self._bytes -= ENTRY_OVERHEAD + len(entry.value)
        self.complete_from = entry.offset + 1
        self.complete_from_ms = max(self.complete_from_ms, entry.at_ms + 1)


def _newest_while(entries: Sequence[Entry] | deque[Entry], belongs: Callable[[Entry], bool]) -> list[Entry]:
    newest = list(takewhile(belongs, reversed(entries)))
    newest.reverse()
    return newest
