"""What the archive keeps: history, reactions, receipts and each user's chats."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rookery.v1.archive_pb2 import Chat, HistoryMessage, ReactionTally
from rookery.v1.session_pb2 import Event, Message


@dataclass(frozen=True, slots=True)
class Page:
    """Consecutive messages of one chat, oldest first."""

    messages: Sequence[HistoryMessage]
    has_older: bool
    has_newer: bool


@dataclass(frozen=True, slots=True)
class ChatCursor:
    """After which chat of a list (by changed_at_ms, then chat_id, both descending) its next page begins."""

    changed_at_ms: int
    chat_id: str


class ChatStore(Protocol):
    """Every method raises Unavailable if the engine does not answer.

    Recording is idempotent: the same events again, from any earlier one on, leave the same state. Of two messages with
    the same chat, sender and client_message_id the first recorded stays and the other is passed over, if the one is not
    older than the engine looks back: see its twin.
    """

    async def record(self, events: Sequence[Event], offsets: Mapping[int, int]) -> None:
        """Write the events, in order, and that the log is recorded up to the offsets (by partition, the next to read).

        Messages, reactions and receipts; other kinds are ignored. A reaction may come before its message, which is in
        another partition: it is kept, and shown once the message is there. A receipt moves its marks forward only.
        All or nothing where the engine has transactions. Raises ValueError, having written nothing, if there is an
        event among them that can't be taken.
        """
        ...

    async def recorded_offsets(self) -> Mapping[int, int]:
        """By partition, the next offset to record, where the engine keeps it with what it wrote; else empty."""
        ...

    async def list_chats(
        self, user_id: int, *, changed_since_ms: int, limit: int, after: ChatCursor | None
    ) -> Sequence[Chat]:
        """The user's chats changed at or after the moment, most recently changed first, at most `limit`.

        A chat is in its members' lists from its first message on.
        """
        ...

    async def get_chat(self, user_id: int, chat_id: str) -> Chat | None:
        """The chat as the user sees it; None if nothing was ever recorded in it."""
        ...

    async def messages_before(self, chat_id: str, before_id: int, limit: int) -> Page:
        """The newest messages below the id, at most `limit` of them."""
        ...

    async def messages_after(self, chat_id: str, after_id: int, limit: int) -> Page:
        """The oldest messages above the id, at most `limit` of them."""
        ...

    async def get_message(self, chat_id: str, message_id: int) -> HistoryMessage | None:
        """One message; None if it is not there."""
        ...


def with_reactions(messages: Sequence[Message], reactions: Iterable[tuple[int, str, int]]) -> list[HistoryMessage]:
    """The messages with their reactions (message_id, emoji, user_id), in the order in which those are given."""
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
