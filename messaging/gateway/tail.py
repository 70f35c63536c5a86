"""The tail: the newest minutes of one partition, from which clients resume and retries are recognised."""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile
from typing import NamedTuple

import msgspec

from messaging.envelopes import decode
from messaging.fences import Fences
from messaging.gateway.sent import SendKey, Sent
from messaging.kinds.kind import Target
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.files_pb2 import FileInfo
from rookery.v1.groups_pb2 import Member, Span
from rookery.v1.session_pb2 import Event
from shared.contract.changes import make_stub, outlives
from shared.contract.groups import is_within

ENTRY_OVERHEAD = 460
"""Bytes that an entry takes beside its record (measured with tracemalloc: 440 with two recipients)."""

RECIPIENT_OVERHEAD = 48
"""Bytes for each recipient beyond two: its id, and its places in the entry and in the list of the user's entries."""


class Entry(msgspec.Struct, gc=False):
    """One event of the tail, with the value of its record."""

    offset: int
    at_ms: int
    event_id: int
    recipient_ids: Sequence[int]
    key: SendKey | None
    """The key of a record of truth, of a message or a change with a client id; None for other records."""
    chat_id: str
    value: bytes
    """Empty for a change of a deleted message; the message itself has become a stub."""
    content: int = 0
    """The hash of the content, if there is a key that the tail does not have yet."""
    target_id: int = 0
    """The message that a change changes; 0 for other events."""
    chat_version: int = 0
    """The version of the group whose members the recipients are; 0 for other events."""
    is_control: bool = False
    """Whether it is the record of truth of a control change."""
    is_to_members: bool = False
    """Whether it is of a channel: also for the members whose sessions follow it."""

    @property
    def size(self) -> int:
        """Bytes of the entry in memory, about."""
        size, recipients = ENTRY_OVERHEAD + len(self.value), len(self.recipient_ids)
        return size if recipients <= 2 else size + RECIPIENT_OVERHEAD * (recipients - 2)

    @property
    def sent(self) -> Sent:
        return Sent(self.event_id, self.chat_id, self.content)


class Head(NamedTuple):
    """The newest event of a channel in one partition."""

    offset: int
    """The offset of the event that was read last."""
    event_id: int
    """The highest id of an event, in most cases of the event at the offset."""


class Tail:
    """Entries in order of their offsets, bounded in time and bytes, found by recipient, by message and by SendKey."""

    def __init__(self, offset: int, complete_from_ms: int = 0) -> None:
        """A tail that begins at this offset, and has every event of that moment or later."""
        self._entries: deque[Entry] = deque()
        self._by_user: dict[int, deque[Entry]] = {}
        self._accepted: dict[SendKey, Sent] = {}
        self._unread: dict[int, SendKey] = {}  # of accepted messages, by id, until their records are appended
        self._messages: dict[int, Entry] = {}  # by id; also other events that have no target
        self._changes: dict[int, list[Entry]] = {}  # by target; also repeated copies of the message itself
        self.deletions: dict[int, Entry] = {}
        """The entries of deletions, by deleted message."""
        self._of_groups: dict[str, deque[Entry]] = {}  # records of truth with a key, by group
        self._heads: dict[str, Head] = {}  # by channel
        self._bytes = 0
        self.complete_from = offset
        """From this offset on the tail has every event."""
        self.complete_from_ms = complete_from_ms
        """From this moment on (since 1970) the tail has every event."""
        self.next_offset = offset
        self.fences = Fences(offset)
        self.copies_stored_up_to = offset
        """The log has the copies that are due for records below this offset: see CopiesStored."""
        self.copies_due = 0
        """The number of records whose copies for further members are not stored yet."""
        self.copied_offset = -1
        """The offset of the newest record for which copies are or were due."""
        self.is_released = False
        """Whether the partition has left: others may have published to it since."""
        self.highest_event_id = 0
        self.announced_ms = 0
        """The time of the newest record that announces a changed relationship, which is no entry (since 1970)."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size(self) -> int:
        """Bytes of all entries in memory, about."""
        return self._bytes

    @property
    def read_up_to_ms(self) -> int:
        """The log's time (since 1970) up to which its records have been read, at least."""
        newest_ms = self._entries[-1].at_ms if self._entries else self.complete_from_ms - 1
        return max(newest_ms, self.announced_ms)

    @property
    def lacks_mark(self) -> bool:
        """Whether the newest CopiesStored does not cover every record for which copies were due, and the log has the
        copies for further members."""
        return self.copied_offset >= self.copies_stored_up_to and not self.copies_due

    def append(self, entry: Entry) -> bool:
        """Append an entry, whose offset must be above all others'. Return whether it counts: of two records of truth
        with one key, the first in the log does."""
        event_id, key = entry.event_id, entry.key
        if key is not None:
            sent = self._accepted.get(key)
            if sent is None:
                self._accepted[key] = entry.sent
            elif sent.event_id != event_id:
                return False
            elif sent.files:
                self._accepted[key] = sent._replace(files=())
            self._unread.pop(event_id, None)
        self._entries.append(entry)
        by_user = self._by_user
        for recipient_id in entry.recipient_ids:
            entries = by_user.get(recipient_id)
            if entries is None:
                entries = by_user[recipient_id] = deque()
            entries.append(entry)
        if entry.chat_version and key is not None:
            self._of_groups.setdefault(entry.chat_id, deque()).append(entry)
        if entry.is_control:
            self.copied_offset = entry.offset
        if entry.is_to_members:
            head = self._heads.get(entry.chat_id)
            self._heads[entry.chat_id] = Head(entry.offset, event_id if head is None else max(event_id, head.event_id))
        if entry.target_id or self._messages.setdefault(event_id, entry) is not entry:
            self._changes.setdefault(entry.target_id or event_id, []).append(entry)
        if event_id > self.highest_event_id:
            self.highest_event_id = event_id
        self._bytes += entry.size
        return True

    def delete(self, deletion: Entry) -> None:
        """Remove the content of a message, and its changes of kinds that do not outlive it, since this entry, which is
        appended, deletes it."""
        message_id = deletion.target_id
        if self.deletions.setdefault(message_id, deletion) is not deletion:
            return
        if message := self._messages.get(message_id):
            self._make_stub(message)
        for entry in self._changes.get(message_id, ()):
            if entry is deletion or not entry.value:
                continue
            if not entry.target_id:
                self._make_stub(entry)
            elif not outlives(decode(entry.value).event.change):
                self._replace(entry, b"")

    def withdraw(self, chat_id: str, member: Member) -> None:
        """Take the events of a group that are outside a member's spans away from them, unless the events' senders knew
        the group as it was after the member's last change."""
        entries = self._by_user.get(member.user_id, ())
        outside = [
            entry
            for entry in entries
            if 0 < entry.chat_version < member.version
            and entry.chat_id == chat_id
            and not is_within(member.spans, entry.event_id)
        ]
        if not outside:
            return
        withdrawn = {entry.offset for entry in outside}
        if kept := deque(entry for entry in entries if entry.offset not in withdrawn):
            self._by_user[member.user_id] = kept
        else:
            del self._by_user[member.user_id]
        for entry in outside:
            self._bytes -= entry.size
            entry.recipient_ids = tuple(each for each in entry.recipient_ids if each != member.user_id)
            self._bytes += entry.size

    def accept(self, key: SendKey, sent: Sent, *, is_message: bool) -> None:
        """Remember a message or a change that the log has acknowledged, until its record is appended."""
        if key not in self._accepted:
            self._accepted[key] = sent
            if is_message:
                self._unread[sent.event_id] = key

    def sent_with(self, key: SendKey) -> Sent | None:
        """The message or the change that was sent with this key; None if the tail has none."""
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

    def head(self, chat_id: str) -> Head | None:
        """The newest event of a channel; None if the tail has none."""
        return self._heads.get(chat_id)

    def target(self, user_id: int, chat_id: str, message_id: int, spans: Iterable[Span] = ()) -> Target | None:
        """The message of the chat, if the tail has it and it reached the user or is theirs. `spans` are the user's in a
        channel: a message of a channel reaches all its members."""
        entry, key = self._messages.get(message_id), self._unread.get(message_id)
        if entry is not None and entry.chat_id == chat_id and self._reached(user_id, entry, spans):
            event = decode(entry.value).event
            if event.HasField("message"):  # else the id is that of a change
                changes = len(self._changes.get(message_id, ()))
                is_control, has_files = event.message.HasField("control"), bool(event.message.files)
                return Target(event.message.sender_id, message_id in self.deletions, changes, is_control, has_files)
        if key is not None and key[0] == user_id and (sent := self._accepted[key]).chat_id == chat_id:
            return Target(user_id, message_id in self.deletions, has_files=bool(sent.files))
        return None

    def has_message(self, user_id: int, chat_id: str) -> bool:
        """Whether the tail has a message of the chat that reached the user. Reads all entries of the user."""
        of_chat = (entry for entry in self._by_user.get(user_id, ()) if entry.chat_id == chat_id and entry.value)
        return any(decode(entry.value).event.HasField("message") for entry in of_chat if not entry.target_id)

    def own_change(self, user_id: int, chat_id: str, kind: str) -> Event | None:
        """The user's newest change of the chat itself of a private kind, by its name; None if the tail has none. Reads
        all entries of the user, and decodes those of their own messages and changes of the chat."""
        for entry in reversed(self._by_user.get(user_id, ())):
            if entry.chat_id == chat_id and entry.key is not None and entry.key[0] == user_id and not entry.target_id:
                event = decode(entry.value).event
                if event.change.WhichOneof("body") == kind:
                    return event
        return None

    def versions(self, message_id: int, kind: str) -> list[Event]:
        """The changes of this kind, by its name, of a message, in order. Decodes all changes of the message."""
        changes = (entry for entry in self._changes.get(message_id, ()) if entry.target_id and entry.value)
        events = [decode(entry.value).event for entry in changes]
        return [event for event in events if event.change.WhichOneof("body") == kind]

    def event(self, event_id: int) -> Event | None:
        """The message with this id, if the tail has it."""
        entry = self._messages.get(event_id)
        return None if entry is None or not entry.value else decode(entry.value).event

    def files_of(self, message_id: int) -> Sequence[FileInfo]:
        """The files of a message of the tail, or of an accepted one that is not read yet; none of a deleted message."""
        if (event := self.event(message_id)) is not None:
            return event.message.files
        key = self._unread.get(message_id)
        return () if key is None or message_id in self.deletions else self._accepted[key].files

    def sent_after(self, chat_id: str, event_id: int) -> list[Entry]:
        """The records of truth of a group's messages and changes with a higher id than this one, in order. Not of
        control changes, nor of events of a channel, which do not list the members. Reads all entries of the group: ids
        are not in order, since a repeated send keeps its own."""
        newer = (entry for entry in self._of_groups.get(chat_id, ()) if entry.event_id > event_id)
        return [entry for entry in newer if not entry.is_control and not entry.is_to_members and entry.value]

    def controls(self, chat_id: str) -> list[Event]:
        """The control changes of a group whose home partition this is, in order."""
        return [decode(entry.value).event for entry in self._of_groups.get(chat_id, ()) if entry.is_control]

    def unmarked_controls(self) -> list[Envelope]:
        """The control changes of former epochs that no CopiesStored covers, of all groups whose home partition this is,
        in order."""
        unmarked = takewhile(lambda entry: entry.offset >= self.copies_stored_up_to, reversed(self._entries))
        controls = [decode(each.value) for each in unmarked if each.is_control and each.offset < self.fences.epoch]
        controls.reverse()
        return controls

    def has_reached(self, user_ids: Sequence[int], message_id: int) -> bool:
        """Whether the tail has copies of the message for all these users."""
        entry = self._messages.get(message_id)
        return entry is not None and all(self._reached(user_id, entry) for user_id in user_ids)

    def _reached(self, user_id: int, entry: Entry, spans: Iterable[Span] = ()) -> bool:
        """Whether the user is a recipient of a message or of another copy of it, or the message is one of a channel and
        is in these spans of the user."""
        if user_id in entry.recipient_ids or (entry.is_to_members and is_within(spans, entry.event_id)):
            return True
        copies = self._changes.get(entry.event_id, ()) if entry.chat_version else ()
        return any(user_id in copy.recipient_ids for copy in copies if not copy.target_id)

    def time_at(self, offset: int) -> int:
        """The time of the newest entry up to this offset, in milliseconds since 1970; 0 if the tail begins later."""
        if not self._entries or offset < self._entries[0].offset:
            return 0
        return next(entry.at_ms for entry in reversed(self._entries) if entry.offset <= offset)

    def offset_before(self, offset: int, ms: int) -> int:
        """The offset behind which all entries are that are at most so many milliseconds older than the newest one up to
        `offset`; `offset` itself if the tail begins later."""
        place = bisect_right(self._entries, offset, key=lambda entry: entry.offset)
        if not place:
            return offset
        oldest_ms = self._entries[place - 1].at_ms - ms
        return self._entries[bisect_left(self._entries, oldest_ms, hi=place, key=lambda entry: entry.at_ms)].offset - 1

    def _forget(self, entry: Entry) -> None:
        for recipient_id in entry.recipient_ids:
            entries = self._by_user[recipient_id]
            entries.popleft()
            if not entries:
                del self._by_user[recipient_id]
        if entry.chat_version and entry.key is not None:
            self._forget_of_group(entry)
        if entry.is_to_members and self._heads[entry.chat_id].offset == entry.offset:
            del self._heads[entry.chat_id]
        event_id, key, target_id = entry.event_id, entry.key, entry.target_id
        if key is not None and (sent := self._accepted.get(key)) is not None and sent.event_id == event_id:
            del self._accepted[key]
        if not target_id and self._messages.get(event_id) is entry:
            del self._messages[event_id]
        else:
            self._forget_change(entry, target_id or event_id)
        self._bytes -= entry.size
        self.complete_from = entry.offset + 1
        self.complete_from_ms = max(self.complete_from_ms, entry.at_ms + 1)

    def _forget_of_group(self, entry: Entry) -> None:
        entries = self._of_groups[entry.chat_id]
        entries.popleft()
        if not entries:
            del self._of_groups[entry.chat_id]

    def _forget_change(self, entry: Entry, message_id: int) -> None:
        changes = self._changes[message_id]
        changes.pop(0)
        if not changes:
            del self._changes[message_id]
        if self.deletions.get(message_id) is entry:
            del self.deletions[message_id]

    def _make_stub(self, entry: Entry) -> None:
        envelope = decode(entry.value)
        make_stub(envelope.event.message)
        self._replace(entry, envelope.SerializeToString())

    def _replace(self, entry: Entry, value: bytes) -> None:
        self._bytes += len(value) - len(entry.value)
        entry.value = value


def _newest_while(entries: Sequence[Entry] | deque[Entry], belongs: Callable[[Entry], bool]) -> list[Entry]:
    newest = [entry for entry in takewhile(belongs, reversed(entries)) if entry.value]
    newest.reverse()
    return newest
