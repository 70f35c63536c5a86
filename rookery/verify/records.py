"""What a verification writes down: each message sent, each answer, each delivery and each page of history."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rookery.v1.session_pb2 import Message

Key = tuple[int, str]
"""A sender and a client_message_id: what a message is the same by."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A message, as someone found it."""

    key: Key
    message_id: int
    chat_id: str
    text: str

    @classmethod
    def of(cls, message: Message) -> "Copy":
        key = (message.sender_id, message.client_message_id)
        return cls(key, message.message_id, message.chat_id, message.text.body)


@dataclass(slots=True)
class Sent:
    """A message that was sent, and what became of it. Times are in seconds on one clock."""

    key: Key
    chat_id: str
    recipient_id: int
    text: str
    number: int
    """Of the sender's messages, in the order in which they were first sent."""
    at: float
    """When it was first sent."""
    accepted_at: float = math.inf
    message_id: int = 0
    """What it was accepted as; 0 if it was not."""
    retried: bool = False
    """Whether it was refused or given up, and sent again: after others, it may be."""

    @property
    def is_accepted(self) -> bool:
        return self.message_id != 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that reached a client, once what it must drop was dropped."""

    copy: Copy
    at: float
    gaps: int = 0
    """How many Gaps the client had been told of before."""
    is_live: bool = True
    """Whether it came in the session; else the client read it from history after a Gap."""


@dataclass(slots=True)
class Records:
    """Everything, when it is over."""

    sent: Mapping[Key, Sent]
    deliveries: Mapping[int, Sequence[Delivery]] = field(default_factory=dict)
    """By the id of the user to whose client they came, in that order. Each was to hear all that was sent to them."""
    histories: Mapping[tuple[int, str], Sequence[Copy]] = field(default_factory=dict)
    """By reader and chat: the pages, one after the other. Each was read once all should have been there."""


def by_key(sent: Iterable[Sent]) -> dict[Key, Sent]:
    return {each.key: each for each in sent}
