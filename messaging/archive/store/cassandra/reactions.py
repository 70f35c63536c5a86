"""Reactions in Cassandra. A run is the time for which a reaction stays set; its id is that of its first event.

A reaction that is set again keeps its run. So the current runs are read first; then the events of a batch are applied
in their order, and a run that has changed is written with the timestamp of the last event. An event from before a
stored run is a replay and changes nothing.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

from messaging.archive.store.cassandra.schema import BUCKET_BITS
from rookery.v1.session_pb2 import Change as Reaction

KEYS_PER_READ = 100
"""Reactions in one read."""


class ReactionKey(NamedTuple):
    """One user's reaction to one message with one emoji."""

    chat_id: str
    bucket: int
    message_id: int
    emoji: str
    user_id: int


class Runs:
    """The runs of the reactions in a batch. Sans-I/O: the caller executes `reads`, and passes each row to `begin`."""

    READ = """
        SELECT message_id, emoji, user_id, first_id FROM reactions_by_chat
        WHERE chat_id = ? AND bucket = ? AND (message_id, emoji, user_id) IN ?
    """
    SET = """
        INSERT INTO reactions_by_chat (chat_id, bucket, message_id, emoji, user_id, first_id) VALUES (?, ?, ?, ?, ?, ?)
        USING TIMESTAMP ?
    """
    UNSET = """
        DELETE FROM reactions_by_chat USING TIMESTAMP ?
        WHERE chat_id = ? AND bucket = ? AND message_id = ? AND emoji = ? AND user_id = ?
    """

    def __init__(self) -> None:
        self._events: dict[ReactionKey, list[tuple[int, bool]]] = {}
        self._begun: dict[ReactionKey, int] = {}

    def add(self, event_id: int, reaction: Reaction) -> None:
        """Add the next event of the batch."""
        message_id = reaction.message_id
        key = ReactionKey(reaction.chat_id, message_id >> BUCKET_BITS, message_id, reaction.emoji, reaction.user_id)
        self._events.setdefault(key, []).append((event_id, reaction.set))

    def reads(self) -> list[tuple[str, int, list[tuple[int, str, int]]]]:
        """The reads for the stored runs: chat, bucket, and keys of reactions in it."""
        reads: list[tuple[str, int, list[tuple[int, str, int]]]] = []
        for chat_id, bucket, message_id, emoji, user_id in sorted(self._events):
            if not reads or reads[-1][:2] != (chat_id, bucket) or len(reads[-1][2]) == KEYS_PER_READ:
                reads.append((chat_id, bucket, []))
            reads[-1][2].append((message_id, emoji, user_id))
        return reads

    def begin(self, key: ReactionKey, first_id: int) -> None:
        """Note that the store has the reaction as set since this event."""
        self._begun[key] = first_id

    def changes(self) -> Iterator[tuple[str, ReactionKey, tuple[Any, ...]]]:
        """The writes: statement, key and values."""
        for key, events in self._events.items():
            stored = first_id = self._begun.get(key)
            last_unset = 0
            for event_id, is_set in events:
                if not is_set:
                    last_unset = max(last_unset, event_id)
                    if first_id is not None and event_id > first_id:
                        first_id = None
                elif first_id is None:
                    first_id = event_id
            if first_id is None and last_unset:
                yield self.UNSET, key, (last_unset, *key)
            elif first_id is not None and first_id != stored:
                yield self.SET, key, (*key, first_id, first_id)
