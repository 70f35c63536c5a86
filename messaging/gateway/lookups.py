"""Looks up the users and messages that a request names, deleted accounts, and the first message of a late retry."""

from messaging.gateway.history import History
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.requests import SendRequest
from messaging.gateway.session import RETRY_AFTER_MS
from messaging.gateway.tail import Sent, content_hash
from shared.accounts.store import AccountStore
from shared.archive import ARCHIVE_GROUP
from shared.backplane import Backplane
from shared.contract.errors import Code, Refusal

MAX_CACHED_USERS = 100_000
"""Users remembered to exist: about 10 MB."""


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
        self._recorded: dict[int, int] = {}
        """By partition, the offset up to which history was complete when it was asked for last."""
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

    async def check_message(self, user_id: int, chat_id: str, message_id: int) -> Refusal | None:
        """The refusal of the user's reply or reaction to a message that is not in the chat; None if it is, by the tail
        or by the archive."""
        tail = self._partitions.tail_of(user_id)
        if tail is not None and tail.has_message(user_id, message_id, chat_id):
            return None
        found = await self._history.has_message(user_id, chat_id, message_id)
        if isinstance(found, Refusal):
            return found
        return None if found else Refusal(Code.NOT_FOUND, "There is no such message in the chat.")

    async def find_sent(self, user_id: int, request: SendRequest) -> Sent | Refusal | None:
        """The message that the user's send made before the tail begins; None if there is none. A Refusal if the archive
        does not answer, or has not recorded everything from before the tail. Raises Unavailable."""
        partition = self._partitions.partition_of(user_id)
        if self._is_history_behind(partition):
            self._recorded[partition] = await self._backplane.committed_offset(ARCHIVE_GROUP, partition)
        found = await self._history.find_message(user_id, request.chat_id, request.client_message_id)
        if isinstance(found, Refusal):
            return found
        if found is not None:
            return Sent(found.message_id, found.chat_id, content_hash(found.text, found.reply_to))
        if self._is_history_behind(partition):
            return Refusal(Code.UNAVAILABLE, "History is minutes behind.", retry_after_ms=RETRY_AFTER_MS)
        return None

    def _is_history_behind(self, partition: int) -> bool:
        """Whether events may be missing both in the tail and, as far as is known, in history."""
        tail = self._partitions.tails.get(partition)
        return tail is not None and self._recorded.get(partition, 0) < tail.complete_from
