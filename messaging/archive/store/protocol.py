"""The protocol of the chat store: history, reactions, receipts and each user's chats."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rookery.v1.archive_pb2 import Chat, HistoryMessage
from rookery.v1.session_pb2 import Change as ReactionTally
from rookery.v1.session_pb2 import Event, Message

UNREAD_LIMIT = 100
"""Unread messages are counted up to this number: see archive.proto."""

UNREAD_SCAN = 2_000
"""Most messages above the read mark that are read, newest first, to count the messages of others: see archive.proto.
Only a member who has sent so many, and read none since, has unread messages that are not counted."""

MAX_PAGE_REACTIONS = 10_000
"""Reactions in a page of messages, about 500 KB. Further ones are left out: members can set more."""


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive messages of one chat, oldest first."""

    messages: Sequence[HistoryMessage]
    has_older: bool
    has_newer: bool


@dataclass(frozen=True, slots=True)
class ChatCursor:
    """The last chat of a page. Lists are sorted by changed_at_ms, then chat_id, both descending."""

    changed_at_ms: int
    chat_id: str


class ChatStore(Protocol):
    """Every method raises Unavailable if the engine does not answer.

    Recording is idempotent: recording events again, from any earlier one on, leaves the same state. Of two messages
    with the same chat, sender and client_message_id the first recorded one stays and the other is ignored, within a
    distance that each engine documents.
    """

    async def record(self, events: Sequence[Event], offsets: Mapping[int, int]) -> None:
        """Write the events, in order, and the offsets up to which the log is recorded (by partition, the next to read).

        Messages, reactions and receipts; other kinds are ignored. A reaction may precede its message, which is in
        another partition: it is stored, and shown once the message is recorded. A receipt only raises its marks.
        Atomic where the engine has transactions. Raises ValueError, and writes nothing, if one of the events is
        invalid.
        """
        ...

    async def recorded_offsets(self) -> Mapping[int, int]:
        """By partition, the next offset to record, if the engine stores it with the events; else empty."""
        ...

    async def list_chats(
        self, user_id: int, *, changed_since_ms: int, limit: int, after: ChatCursor | None
    ) -> Sequence[Chat]:
        """The user's chats changed at or after the moment, most recently changed first, at most `limit`.

        A chat appears in its members' lists with its first message.
        """
        ...

    async def get_chat(self, user_id: int, chat_id: str) -> Chat | None:
        """The chat as the user sees it; None if nothing is recorded in it."""
        ...

    async def messages_before(self, chat_id: str, before_id: int, limit: int) -> Page:
        """The newest messages below the id, at most `limit` of them."""
        ...

    async def messages_after(self, chat_id: str, after_id: int, limit: int) -> Page:
        """The oldest messages above the id, at most `limit` of them."""
        ...

    async def get_message(self, chat_id: str, message_id: int) -> HistoryMessage | None:
        """One message; None if it does not exist."""
        ...

    async def find_message(self, chat_id: str, sender_id: int, client_message_id: str) -> Message | None:
        """The recorded message of a send, or None. Certain to be found if it was accepted in the last 3 days."""
        ...


def with_reactions(messages: Sequence[Message], reactions: Iterable[tuple[int, str, int]]) -> list[HistoryMessage]:
    """The messages with their reactions (message_id, emoji, user_id), in the order of `reactions`."""
    tallies: dict[int, dict[str, list[int]]] = {}
    for message_id, emoji, user_id in reactions:
        tallies.setdefault(message_id, {}).setdefault(emoji, []).append(user_id)
    return [
        HistoryMessage(
            message=message,
            reactions=[
                ReactionTally(emoji=emoji, user_ids=user_ids)
                for emoji, user_ids in tallies.get(message.message_id, {}).items()
            ],
        )
        for message in messages
    ]
