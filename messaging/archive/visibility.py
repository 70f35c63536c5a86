"""The part of a chat that a user may read: everything in a direct chat, in a group the events in their spans."""

from collections.abc import Iterable, MutableSequence, Sequence

import msgspec

from messaging.archive.store.laws import DELETION
from rookery.v1.archive_pb2 import Chat, HistoryMessage
from rookery.v1.groups_pb2 import Member
from rookery.v1.session_pb2 import Event
from shared.contract.changes import kind_of
from shared.contract.groups import OPEN
from shared.contract.ids import MAX_ID

EVERYTHING = ((0, MAX_ID),)
"""One span with all ids."""


class View(msgspec.Struct, frozen=True):
    """The part of a chat that one user may read."""

    user_id: int
    spans: Sequence[tuple[int, int]] = EVERYTHING
    """The first and the last event id of each span, oldest first; they do not overlap."""

    @classmethod
    def of_member(cls, member: Member, *, shows_history: bool) -> "View":
        """The view of a present or former member of a group. `shows_history` is the group's present setting."""
        if member.role and shows_history:
            return cls(member.user_id)
        spans = ((span.first, MAX_ID if span.last == OPEN else span.last) for span in member.spans)
        return cls(member.user_id, tuple(spans))

    def includes(self, event_id: int) -> bool:
        """Whether an event with this id is in a span."""
        return self.spans is EVERYTHING or any(first <= event_id <= last for first, last in self.spans)

    def sees(self, event: Event) -> bool:
        """Whether the user may read the event: one in a span; a private change if and only if it is their own, and so
        one of a kind that only a newer release knows, since it may be private; and a deletion with its message, of
        which it removed the content, wherever its own id is."""
        change = event.change
        kind = kind_of(change)
        if event.HasField("change") if kind is None else kind.is_private:
            return change.actor_id == self.user_id
        return self.includes(event.event_id) or (kind is DELETION and self.includes(change.target_id))

    def visible(self, events: Iterable[Event]) -> list[Event]:
        """The events that the user may read."""
        return [event for event in events if self.sees(event)]

    def cut(self, message: HistoryMessage) -> HistoryMessage:
        """The message, without the changes that the user may not read, which are removed from it."""
        self._remove_invisible(message.changes)
        return message

    def cut_chat(self, chat: Chat) -> None:
        """Remove the changes that the user may not read, and a newest message of before they joined: it is here only
        while the join is being recorded."""
        self._remove_invisible(chat.changes)
        if chat.HasField("newest") and not self.includes(chat.newest.message.message_id):
            chat.ClearField("newest")
        elif chat.HasField("newest"):
            self.cut(chat.newest)

    def _remove_invisible(self, changes: MutableSequence[Event]) -> None:
        visible = self.visible(changes)
        if len(visible) < len(changes):
            del changes[:]
            changes.extend(visible)

    def below(self, before_id: int) -> int | None:
        """The bound from which to read downwards: the highest one, up to this, just below which a span reaches; None if
        all spans are above."""
        return next((min(before_id, last + 1) for first, last in reversed(self.spans) if first < before_id), None)

    def above(self, after_id: int) -> int | None:
        """The bound from which to read upwards: the lowest one, from this on, just above which a span reaches; None if
        all spans are below."""
        return next((max(after_id, first - 1) for first, last in self.spans if last > after_id), None)
