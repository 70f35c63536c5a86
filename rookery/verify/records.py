"""The records of a verification: each sent message with its answer, each delivery, and the histories."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rookery.client import Change, Event, HistoryMessage, Message, State

Key = tuple[int, str]
"""The sender and client_message_id of a message, equal for all copies of it."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A message as it was delivered or read."""

    key: Key
    message_id: int
    chat_id: str
    text: str
    """Empty if the message is deleted."""
    changes: Sequence[Event] = ()
    """Its state in history."""

    @classmethod
    def of(cls, message: Message) -> "Copy":
        key = (message.sender_id, message.client_message_id)
        return cls(key, message.message_id, message.chat_id, message.text.body)

    @classmethod
    def of_history(cls, item: HistoryMessage) -> "Copy":
        return replace(cls.of(item.message), changes=item.changes)


@dataclass(slots=True)
class Sent:
    """A sent message and its answer. Times are in seconds on one clock."""

    key: Key
    chat_id: str
    recipient_id: int
    text: str
    number: int
    """Its number among the sender's messages, in the order of their first sending."""
    at: float
    """The moment when it was to be sent first."""
    at_ms: int = 0
    """The same by the wall clock, in milliseconds since 1970."""
    accepted_at: float = math.inf
    message_id: int = 0
    """The id of its acceptance; 0 without one."""
    retried: bool = False
    """Whether it, or one before it, was refused or unanswered, and it was sent again."""
    is_overdue: bool = False
    """Whether it was sent again after so long that the server may not have held later messages back any more."""
    late_id: int | None = None
    """The id of the answer to a late retry; 0 without an answer, None without a late retry."""
    may_be_deleted: bool = False
    """Whether its sender has tried to delete it."""

    @property
    def is_accepted(self) -> bool:
        return self.message_id != 0


@dataclass(slots=True)
class Made:
    """A change that a client makes, and its answer."""

    target: Sent
    change: Change
    at_ms: int = 0
    """The moment when it was to be sent first, by the wall clock, in milliseconds since 1970."""
    event: Event | None = None
    """The event with which it was accepted."""
    refused: str = ""
    """The code of a refusal that no retry changes."""
    retried: bool = False

    @property
    def key(self) -> Key:
        return self.change.actor_id, self.change.client_change_id

    @property
    def recipient_id(self) -> int:
        """The other member of the chat."""
        sender_id, _ = self.target.key
        return self.target.recipient_id if self.change.actor_id == sender_id else sender_id


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that reached a client, after the client has dropped repetitions."""

    copy: Copy
    at: float
    gaps: int = 0
    """The number of Gaps that the client received before."""
    is_live: bool = True
    """Whether it arrived in the session, rather than from history after a Gap."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A chat as a member's chat list shows it, after the member has marked it as read."""

    user_id: int
    chat_id: str
    marked: int
    """The id up to which the member has read."""
    read_up_to: int = 0
    unread: int = 0


@dataclass(slots=True)
class Records:
    """All records of a finished run."""

    sent: Mapping[Key, Sent]
    deliveries: Mapping[int, Sequence[Delivery]] = field(default_factory=dict)
    """By user id, in the order of arrival at the user's client, which must receive all messages to the user."""
    histories: Mapping[tuple[int, str], Sequence[Copy]] = field(default_factory=dict)
    """By reader and chat, in the order of the pages, read once every message was due."""
    listed: Sequence[Listed] = ()
    made: Sequence[Made] = ()
    received_changes: Mapping[int, Sequence[tuple[Key, int]]] = field(default_factory=dict)
    """The key and the event id of each change that arrived in a session, by user id."""
    states: Mapping[int, Mapping[int, State]] = field(default_factory=dict)
    """The states of messages by user id and message id, as the user's client has folded them at the end."""


def by_key(sent: Iterable[Sent]) -> dict[Key, Sent]:
    return {each.key: each for each in sent}
