"""The violations that the checkers find."""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of violations, one for each promise."""

    NOT_ACCEPTED = "not accepted"
    """Neither at first nor on a retry; or a change that was refused for good."""
    LOST = "lost"
    """Accepted, and not in history."""
    NOT_DELIVERED = "not delivered"
    """Accepted, and neither delivered to the recipient's session nor, if it was sent before a Gap, read after that."""
    TWICE_IN_HISTORY = "twice in history"
    DELIVERED_TWICE = "delivered twice"
    """To one client, after it has dropped repetitions by id and by author and client id."""
    OUT_OF_ORDER = "out of order"
    OTHER_ID = "other id"
    """Delivered or stored under another id than it was accepted with."""
    ID_TWICE = "id assigned twice"
    """To two messages, even of different chats: clients would drop one of them."""
    NEVER_SENT = "never sent"
    """At all, or in message chat, or to message user."""
    CHANGED = "changed"
    OTHER_ANSWER = "other answer"
    """To a retry of an accepted message, long after its acceptance."""
    NOT_MARKED = "not marked"
    """A chat list with another mark than the user has set."""
    MISCOUNTED = "unread miscounted"
    """In a chat list, against history."""
    WRONG_STATE = "wrong state"
    """A message or a chat that has become something else, in history, in a chat list or at a client, than its accepted
    changes make of it."""
    INCOMPLETE = "incomplete"
    """A list of the changes of a chat without an event up to its `complete_up_to`."""
    WENT_BACK = "went back"
    """A `complete_up_to` below one that was answered long before."""
    NOT_REMOVED = "not removed"
    """The text of a deleted message in history."""
    NOT_UPLOADED = "not uploaded"
    """A file that was refused for good."""
    NOT_READABLE = "not readable"
    """A file of an accepted message, for a member of the chat."""
    OTHER_BYTES = "other bytes"
    """In a file, than were uploaded."""
    READABLE = "readable"
    """A file of a message that is deleted, or that the user never could read."""
    OUTSIDE = "outside of the membership"
    """A user has a message or a change of a group from outside their membership, or another user's private change."""
    NOT_SHOWN = "not shown by a head"
    """The newest event of a channel at a client that follows it, and has not received the event itself."""
    NOT_OPEN = "not open"
    """An event of a channel at a client that has not opened the channel, of a user whom the event does not concern."""
    TOO_OFTEN = "heads too often"
    """More than two heads of one channel in 5 s at a client, where one is promised."""
    FORKED = "forked"
    """Control changes of a group whose versions are not 1, 2, 3, and so on, each once."""
    OTHER_MEMBERS = "other members"
    """A group with other members, roles or spans for one user than its control changes make."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A broken promise."""

    kind: Kind
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"
