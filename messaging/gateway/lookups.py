"""Looks up the users and messages that a request names, deleted accounts, and the first event of a late retry."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from messaging.gateway.history import History, RecordedOffsets
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.requests import KeptRequest
from messaging.gateway.sent import Sent, sent_of
from messaging.gateway.session import RETRY_AFTER_MS
from messaging.kinds.kind import Target
from shared.accounts.store import AccountStore
from shared.archive import ARCHIVE_GROUP
from shared.backplane import Backplane
from shared.contract.changes import wins
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import time_of, wall_clock_ms

MAX_CACHED_USERS = 100_000
"""Users remembered to exist: about 10 MB."""

LEEWAY_MS = 10_000
"""A message that is so much newer than the beginning of a tail is in that tail, if it exists: clocks differ by less."""

LOG_SECONDS = 3.0
"""How long the log is asked for an offset: meanwhile the next frames of the session wait."""

_HISTORY_IS_BEHIND = Refusal(Code.UNAVAILABLE, "History is minutes behind.", retry_after_ms=RETRY_AFTER_MS)


class Lookups:
    """One for each gateway."""

    def __init__(
        self, accounts: AccountStore, history: History, backplane: Backplane, partitions: OwnedPartitions
    ) -> None:
        self._accounts = accounts
        self._history = history
        self._backplane = backplane
        self._partitions = partitions
        self._cached_users: dict[int, None] = {}
        self._recorded = RecordedOffsets(backplane)
        self._recorded_ms: dict[int, int] = {}
        """By partition, a moment (since 1970) up to which history was complete."""
        self._forgotten = 0

    def is_cached(self, user_id: int) -> bool:
        """Whether the user was found before."""
        return user_id in self._cached_users

    async def check_user(self, user_id: int, field: str) -> Refusal | None:
        """The refusal of a request whose `field` names a user that does not exist or was deleted; None if the user
        exists. Raises Unavailable."""
        forgotten = self._forgotten
        users = await self._accounts.users([user_id])
        if not users:
            return Refusal(Code.NOT_FOUND, "There is no such user.", field)
        if users[0].is_deleted:
            return Refusal(Code.RECIPIENT_DELETED, "This account was deleted: it receives no messages.", field)
        if self._forgotten != forgotten:
            return None  # the account may have been deleted after it was read
        if len(self._cached_users) >= MAX_CACHED_USERS:
            del self._cached_users[next(iter(self._cached_users))]
        self._cached_users[user_id] = None
        return None

    def forget_user(self, user_id: int) -> None:
        """Look the user up again before the next message to them: the account was deleted."""
        self._forgotten += 1
        self._cached_users.pop(user_id, None)

    async def find_target(self, user_id: int, chat_id: str, message_id: int, field: str) -> Target | Refusal:
        """The message that `field` of the user's request names, by the tail or by the archive; a Refusal if the chat
        has none with this id, or if the archive does not answer."""
        tail = self._partitions.tail_of(user_id)
        if tail is not None and (target := tail.target(user_id, chat_id, message_id)):
            return target
        answer = await self._history.find_message(user_id, chat_id, message_id)
        if isinstance(answer, Refusal):
            return answer
        if not answer.HasField("message"):
            if message_id > answer.complete_up_to and time_of(message_id) < self._tail_begins_ms(user_id) + LEEWAY_MS:
                return _HISTORY_IS_BEHIND
            return Refusal(Code.NOT_FOUND, "There is no such message in the chat.", field)
        found = answer.message
        is_deleted = tail is not None and message_id in tail.deletions
        is_deleted = is_deleted or any(wins(event.change) for event in found.changes)
        is_control = found.message.HasField("control")
        return Target(found.message.sender_id, is_deleted, len(found.changes), is_control)

    async def find_sent(self, user_id: int, request: KeptRequest) -> Sent | Refusal | None:
        """The event that the user's request made before the tail begins; None if it made none. A Refusal if the archive
        does not answer, or has not recorded everything from before the tail. Raises Unavailable."""
        partition = self._partitions.partition_of(user_id)
        if (tail := self._partitions.tails.get(partition)) is not None:
            with _log_deadline():
                await self._recorded.update(partition, tail)
        found = await self._history.find_sent(user_id, request.chat_id, request.client_id)
        if isinstance(found, Refusal):
            return found
        if found is not None:
            return sent_of(found)
        tail = self._partitions.tails.get(partition)  # perhaps another one by now
        return None if tail is None or self._recorded.reach(partition, tail) else _HISTORY_IS_BEHIND

    async def is_history_complete(self, partition: int) -> bool:
        """Whether history has all of a partition's events, of any gateway's, that may be from before this gateway's
        tails. Asks the log about twice in the time of a tail. Raises Unavailable."""
        now_ms = wall_clock_ms()
        begins_ms = max((tail.complete_from_ms for tail in self._partitions.tails.values()), default=now_ms)
        tail_ms = now_ms - begins_ms
        if self._recorded_ms.get(partition, 0) < begins_ms + tail_ms // 4:  # clocks differ by less
            with _log_deadline():
                recorded = await self._backplane.committed_offset(ARCHIVE_GROUP, partition)
                needed = await self._backplane.offset_at(partition, begins_ms + tail_ms // 2)
            if recorded < needed:
                return False
            self._recorded_ms[partition] = begins_ms + tail_ms // 2
        return True

    def _tail_begins_ms(self, user_id: int) -> int:
        """The moment from which on the tail of the user has every event, in milliseconds since 1970."""
        tail = self._partitions.tails.get(self._partitions.partition_of(user_id))
        return wall_clock_ms() if tail is None else tail.complete_from_ms


@contextmanager
def _log_deadline() -> Iterator[None]:
    """Raises Unavailable after LOG_SECONDS."""
    with trio.move_on_after(LOG_SECONDS) as scope:
        yield
    if scope.cancelled_caught:
        raise Unavailable(f"the log has not answered for {LOG_SECONDS:g} s")
