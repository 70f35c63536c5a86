"""The model: every accepted event, and by brute force the state that each chat must have. It shares no code with the
product but the list of kinds."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from rookery.v1.session_pb2 import Change, Event, Message, Text
from shared.contract.changes import KINDS, TOGGLED

PRIVATE = [kind.name for kind in KINDS.values() if kind.is_private]

KEYS: dict[str, Any] = {
    "reacted": lambda change: (change.actor_id, change.reacted.emoji),
    "edited": lambda change: (),
    "deleted": lambda change: (),
    **{kind: (lambda change: (change.actor_id,)) if kind in PRIVATE else (lambda change: ()) for kind in TOGGLED},
}
"""By kind, the fields of its key beside the kind and the target."""

Shown = dict[Any, tuple[int, bytes]]
"""A state: by kind and key, the event id and the body."""


def body_of(change: Change) -> bytes:
    name = change.WhichOneof("body") or ""
    body: bytes = getattr(change, name).SerializeToString(deterministic=True)
    return body


def shown(changes: Iterable[Event]) -> Shown:
    """A state as a client or the server has it, in the model's form. Marks are compared by their own."""
    states: Shown = {}
    for event in changes:
        name = event.change.WhichOneof("body") or ""
        if name != "marked":
            key = (name, *(KEYS[name](event.change) if name in KEYS else ()))
            assert key not in states, f"two changes of one key: {key}"
            states[key] = event.event_id, body_of(event.change)
    return states


def outlives(event: Event) -> bool:
    """Whether a deletion does not remove the change: the member has hidden the message before it, or after it."""
    return event.change.HasField("hidden")


@dataclass
class ChatModel:
    """The accepted events of a chat, by event id and by target."""

    members: Sequence[int]
    messages: dict[int, Message] = field(default_factory=dict)
    changes: defaultdict[int, list[Event]] = field(default_factory=lambda: defaultdict(list))
    marks: dict[int, tuple[int, int]] = field(default_factory=dict)
    """By member, how far messages are delivered and read."""

    def add(self, event: Event) -> None:
        if event.HasField("message"):
            assert self.messages.setdefault(event.event_id, event.message) == event.message
        elif event.change.HasField("marked"):
            marked, (delivered, read) = event.change.marked, self.marks.get(event.change.actor_id, (0, 0))
            up_to = max(delivered, marked.delivered_up_to, marked.read_up_to), max(read, marked.read_up_to)
            self.marks[event.change.actor_id] = up_to
        else:
            self.changes[event.change.target_id].append(event)

    def is_deleted(self, message_id: int) -> bool:
        return any(event.change.HasField("deleted") for event in self.changes.get(message_id, ()))

    def state(self, target_id: int, viewer: int) -> Shown:
        """The state of a message, or of the chat itself (0), as this member sees it."""
        changes = self.changes.get(target_id, ())
        if deletions := [event for event in changes if event.change.HasField("deleted")]:
            changes = [min(deletions, key=lambda event: event.event_id), *filter(outlives, changes)]
        state: Shown = {}
        for event in sorted(changes, key=lambda event: event.event_id):
            name = event.change.WhichOneof("body") or ""
            if name not in PRIVATE or event.change.actor_id == viewer:
                state[name, *KEYS[name](event.change)] = event.event_id, body_of(event.change)
        return state

    def content(self, message_id: int) -> tuple[bytes, int, bool]:
        """The message as it was sent, without the fields that a deletion removes."""
        if self.is_deleted(message_id):
            return b"", 0, False
        return content_of(self.messages[message_id])

    def unread(self, viewer: int) -> int:
        _, read = self.marks.get(viewer, (0, 0))
        above = [message for message_id, message in sorted(self.messages.items()) if message_id > read]
        kept = [message for message in above if not self.is_deleted(message.message_id)][-2_000:]
        counted = (message for message in kept if not message.HasField("control") or adds(message, viewer))
        return min(sum(message.sender_id != viewer for message in counted), 100)

    def mentions(self, viewer: int) -> int:
        """The unread messages of others whose newest text mentions this member, or everyone."""
        _, read = self.marks.get(viewer, (0, 0))
        above = (message for message_id, message in self.messages.items() if message_id > read)
        texts = [self.newest_text(each.message_id) for each in above if each.sender_id != viewer]
        mentioned = (text.mentions_everyone or viewer in [each.user_id for each in text.mentions] for text in texts)
        return min(sum(mentioned), 100)

    def newest_text(self, message_id: int) -> Text:
        """The text of a message after its newest edit; empty if the message is deleted."""
        if self.is_deleted(message_id):
            return Text()
        edits = [event for event in self.changes.get(message_id, ()) if event.change.HasField("edited")]
        newest = max(edits, key=lambda event: event.event_id, default=None)
        return newest.change.edited.text if newest else self.messages[message_id].text

    def visible_marks(self, viewer: int) -> dict[int, tuple[int, int]]:
        """The marks that reach this member: in a group, only their own."""
        is_direct = len(self.members) == 2
        return {user_id: mark for user_id, mark in self.marks.items() if is_direct or user_id == viewer}

    def having(self, kind: str, viewer: int) -> Iterator[int]:
        """The messages with a change of this kind that is set, newest first."""
        key = (kind, *((viewer,) if kind in PRIVATE else ()))
        for message_id in sorted(self.messages, reverse=True):
            if self.state(message_id, viewer).get(key, (0, b""))[1]:
                yield message_id

    def feed(self, viewer: int) -> Iterable[Event]:
        """The events that the feed must have: not marks, and not the changes that a deletion has removed."""
        for message_id, message in self.messages.items():
            yield Event(event_id=message_id, message=message)
        for changes in self.changes.values():
            deletions = [event.event_id for event in changes if event.change.HasField("deleted")]
            for event in changes:
                is_private = event.change.WhichOneof("body") in PRIVATE and event.change.actor_id != viewer
                if not is_private and (not deletions or event.event_id == min(deletions) or outlives(event)):
                    yield event


def adds(message: Message, user_id: int) -> bool:
    """Whether the user becomes a member by this control change."""
    own = (member for member in message.control.members if member.user_id == user_id)
    return any(span.first == message.message_id for member in own for span in member.spans)


def content_of(message: Message) -> tuple[bytes, int, bool]:
    return message.text.SerializeToString(deterministic=True), message.reply_to, message.forwarded
