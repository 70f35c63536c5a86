"""Looks up the users and messages that a request names, the right of a user to write to another one, the first event of
a late retry, and a user's own settings of a chat."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

import trio

from messaging.gateway.history import History, RecordedOffsets
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.requests import KeptRequest
from messaging.gateway.sent import Sent, sent_of
from messaging.gateway.session import RETRY_AFTER_MS
from messaging.kinds.kind import Target
from rookery.v1.groups_pb2 import Span
from rookery.v1.session_pb2 import Event
from shared.accounts.people import Relationship, WhoMayStart
from shared.accounts.store import AccountStore
from shared.archive import ARCHIVE_GROUP
from shared.backplane import Backplane
from shared.contract.changes import wins
from shared.contract.chats import direct_chat_id
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import time_of, wall_clock_ms

MAX_CACHED_USERS = 100_000
"""Users remembered to exist: about 10 MB."""

MAX_CACHED_CHATS = 100_000
"""Direct chats remembered to be open: about 20 MB."""

OPEN_SECONDS = 300.0
"""How long a direct chat is remembered to be open. The gateway forgets it when it reads of a block; if the BFF could
not publish that, the block takes effect after this time, or once the accounts answer again. While they do not, a chat
stays open for as long as this gateway keeps the partition of one of its users: it reads of all blocks then."""

MARKS_SECONDS = 60.0
"""How long it is remembered whether a user shows read marks, and that neither of two users blocks the other; longer
while the accounts do not answer. The user's gateway drops the entry when the setting changes. Until the entry expires,
other gateways may still send a user who now hides read marks those of others."""

MAX_READS = 3
"""How often settings that change while they are read are read again, the first time included; then they are unknown,
and a mark reaches the devices of its user alone."""

LEEWAY_MS = 10_000
"""A message that is so much newer than the beginning of a tail is in that tail, if it exists: clocks differ by less."""

LOG_SECONDS = 3.0
"""How long the log is asked for an offset: meanwhile the next frames of the session wait."""

_NOT_ACCEPTED = "This user accepts no messages from people they don't know."
"""Also the answer to a user who is blocked, so that they do not learn it."""

_BLOCKED = "You have blocked this user: unblock them first."

_HISTORY_IS_BEHIND = Refusal(Code.UNAVAILABLE, "History is minutes behind.", retry_after_ms=RETRY_AFTER_MS)


Key = TypeVar("Key")
Value = TypeVar("Value")


class Lookups:
    """Looks up users, messages and settings in tails, stores and caches; one for each gateway."""

    def __init__(
        self, accounts: AccountStore, history: History, backplane: Backplane, partitions: OwnedPartitions
    ) -> None:
        self._accounts = accounts
        self._history = history
        self._backplane = backplane
        self._partitions = partitions
        self._cached_users: dict[int, None] = {}
        self._open_until: dict[str, float] = {}
        self._shows_read_marks: dict[int, tuple[bool, float]] = {}  # by user: until when it is valid
        self._unblocked_until: dict[str, float] = {}  # by direct chat
        self._recorded = RecordedOffsets(backplane)
        self._recorded_ms: dict[int, int] = {}
        """By partition, a moment (since 1970) up to which history was complete."""
        self._behind_at: dict[int, float] = {}
        """By partition, when the log was asked last that showed that history was behind, on Trio's clock."""
        self._turns = defaultdict[int, trio.Lock](trio.Lock)  # to ask the log for that, by partition
        self._reads: dict[object, set[int | str]] = {}
        """For each read that is under way, its users and direct chats that were not forgotten since it began."""

    def is_open(self, chat_id: str, recipient_id: int) -> bool:
        """Whether both users of a direct chat were found to exist, and free to write to each other."""
        return recipient_id in self._cached_users and self._open_until.get(chat_id, 0.0) > trio.current_time()

    async def check_recipient(self, user_id: int, recipient_id: int, chat_id: str, field: str) -> Refusal | None:
        """The refusal of the user's message in a direct chat, whose `field` names the recipient: the other user does
        not exist or was deleted, one of them blocks the other, or it is the first message, and the recipient accepts
        none from users who are not their connections. While the accounts do not answer, a chat stays open that was.
        Raises Unavailable."""
        try:
            refusal = await self._check_recipient(user_id, recipient_id, chat_id, field)
        except Unavailable:
            if recipient_id in self._cached_users and self._was_open(chat_id, (user_id, recipient_id)):
                return None
            raise
        if refusal is not None and not refusal.retryable:
            self._close(chat_id)
            if refusal.code is not Code.FORBIDDEN:  # there is no such user any more
                self._cached_users.pop(recipient_id, None)
        return refusal

    async def _check_recipient(self, user_id: int, recipient_id: int, chat_id: str, field: str) -> Refusal | None:
        keys, now = (user_id, recipient_id, chat_id), trio.current_time()
        with self._reading(keys) as fresh:
            users = {user.user_id: user for user in await self._accounts.users([user_id, recipient_id])}
            recipient = users.get(recipient_id)
            if recipient is None:
                return Refusal(Code.NOT_FOUND, "There is no such user.", field)
            if recipient.is_deleted:
                return Refusal(Code.RECIPIENT_DELETED, "This account was deleted: it receives no messages.", field)
            relationship = await self._relationship(user_id, recipient_id)
            if relationship.is_blocked:
                return refuse_unaccepted(relationship, field)
            accept_everyone = all(user.who_may_start is WhoMayStart.EVERYONE for user in users.values())
            if not relationship.is_connected and not accept_everyone:
                has_begun = await self._has_begun(user_id, recipient_id, chat_id)
                if isinstance(has_begun, Refusal):
                    return has_begun
                if not has_begun:
                    is_accepted = recipient.who_may_start is WhoMayStart.EVERYONE
                    return None if is_accepted else refuse_unaccepted(relationship, field)
        if fresh.issuperset(keys):
            remember(self._cached_users, recipient_id, None, MAX_CACHED_USERS)
            remember(self._open_until, chat_id, now + OPEN_SECONDS, MAX_CACHED_CHATS)
        return None

    async def check_block(self, user_id: int, other_id: int, field: str) -> Refusal | None:
        """The refusal of the user's change in a direct chat, which `field` names, if one of the two users blocks the
        other. While the accounts do not answer, neither does in a chat that was open. Raises Unavailable."""
        chat_id = direct_chat_id(user_id, other_id)
        try:
            relationship = await self._relationship(user_id, other_id)
        except Unavailable:
            if self._was_open(chat_id, (user_id, other_id)):
                return None
            raise
        if not relationship.is_blocked:
            return None
        self._close(chat_id)
        return refuse_unaccepted(relationship, field)

    async def find_read_marks(self, user_ids: tuple[int, ...]) -> None:
        """Look up whether the two users of a direct chat show read marks, unless that is remembered. Raises
        Unavailable."""
        await self._find_shown_marks(user_ids)
        await self.find_block(user_ids)

    async def showing_read_marks(self, user_ids: Collection[int]) -> Collection[int]:
        """Return the users that show read marks, of these MAX_IDS users at most. Raises Unavailable."""
        await self._find_shown_marks(user_ids)
        return [each for each in user_ids if self._shows_read_marks.get(each, (False, 0.0))[0]]

    async def _find_shown_marks(self, user_ids: Collection[int]) -> None:
        """Look up which of these users show read marks, unless that is remembered. While the accounts do not answer,
        the last known settings count. Raises Unavailable."""
        for _ in range(MAX_READS):
            now = trio.current_time()
            unknown = [each for each in user_ids if self._shows_read_marks.get(each, (True, 0.0))[1] <= now]
            if not unknown:
                return
            with self._reading(unknown) as fresh:
                try:
                    users = await self._accounts.users(unknown)
                except Unavailable:
                    if all(map(self._has_shown_or_hidden, unknown)):
                        return
                    raise
            for each in unknown:
                if each in fresh:
                    self._shows_read_marks.pop(each, None)
            for user in users:
                if user.user_id in fresh:
                    value = user.shows_read_marks, now + MARKS_SECONDS
                    remember(self._shows_read_marks, user.user_id, value, MAX_CACHED_USERS)
            if fresh.issuperset(unknown):
                return

    async def find_block(self, user_ids: tuple[int, ...]) -> None:
        """Look up whether one of the two users of a direct chat blocks the other, unless it is remembered that neither
        does. While the accounts do not answer, neither does if that was so. Raises Unavailable."""
        chat_id = direct_chat_id(*user_ids)
        for _ in range(MAX_READS):
            now = trio.current_time()
            if max(self._unblocked_until.get(chat_id, 0.0), self._open_until.get(chat_id, 0.0)) > now:
                return
            with self._reading([chat_id]) as fresh:
                is_blocked = await self._is_blocked(*user_ids)
            if is_blocked:
                self._close(chat_id)  # not before: another mark may be published meanwhile
            elif fresh:
                remember(self._unblocked_until, chat_id, now + MARKS_SECONDS, MAX_CACHED_CHATS)
            if fresh:
                return

    def show_read_marks(self, user_ids: tuple[int, ...]) -> bool:
        """Whether the two users of a direct chat, who were looked up, show read marks, and neither blocks the other.
        Not if it has been forgotten since."""
        shown = all(self._shows_read_marks.get(each, (False, 0.0))[0] for each in user_ids)
        return shown and self.are_unblocked(user_ids)

    def are_unblocked(self, user_ids: tuple[int, ...]) -> bool:
        """Whether neither of the two users of a direct chat, who were looked up, blocks the other. Not if it has been
        forgotten since."""
        chat_id = direct_chat_id(*user_ids)
        return chat_id in self._unblocked_until or chat_id in self._open_until

    def forget_user(self, user_id: int) -> None:
        """Look the user up again: the account was deleted or changed."""
        self._forget_reads(user_id)
        self._cached_users.pop(user_id, None)
        self._shows_read_marks.pop(user_id, None)

    def forget_relationship(self, user_id: int, other_id: int) -> None:
        """Look the two users up again before the next message between them: their relationship has changed."""
        chat_id = direct_chat_id(user_id, other_id)
        self._forget_reads(chat_id)
        self._close(chat_id)

    def _close(self, chat_id: str) -> None:
        """Count a direct chat no longer as open, nor its users as free from blocks."""
        self._open_until.pop(chat_id, None)
        self._unblocked_until.pop(chat_id, None)

    def _forget_reads(self, key: int | str) -> None:
        for fresh in self._reads.values():
            fresh.discard(key)

    @contextmanager
    def _reading(self, keys: Iterable[int | str]) -> Iterator[set[int | str]]:
        """Of these users and direct chats, which are read now, the ones that are not forgotten meanwhile: the others
        may have changed after they were read."""
        read, fresh = object(), {*keys}
        self._reads[read] = fresh
        try:
            yield fresh
        finally:
            del self._reads[read]

    async def find_target(
        self, user_id: int, chat_id: str, message_id: int, field: str, spans: Iterable[Span] = ()
    ) -> Target | Refusal:
        """The message that `field` of the user's request names, by the tail or by the archive; a Refusal if the chat
        has none with this id, or if the archive does not answer. `spans` are those of the user in a group."""
        tail = self._partitions.tail_of(user_id)
        if tail is not None and (target := tail.target(user_id, chat_id, message_id, spans)):
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
        message = found.message
        is_control, has_files = message.HasField("control"), bool(message.files)
        return Target(message.sender_id, is_deleted, len(found.changes), is_control, has_files)

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

    async def find_own_change(self, user_id: int, chat_id: str, kind: str) -> Event | Refusal | None:
        """The user's newest change of the chat itself of a private kind, by its name, that the tail or history has. A
        retryable Refusal if the archive does not answer, or has not recorded everything from before the tail. Raises
        Unavailable."""
        tail = self._partitions.tail_of(user_id)
        if tail is not None and (found := tail.own_change(user_id, chat_id, kind)):
            return found
        if not await self._reaches_tail(user_id):
            return _HISTORY_IS_BEHIND
        return await self._history.find_own_change(user_id, chat_id, kind)

    async def find_versions(self, user_id: int, chat_id: str, message_id: int, kind: str) -> Sequence[Event] | Refusal:
        """The changes of this kind, by its name, of the user's message that history has, as ListVersions returns them:
        all of the user's from before the tail. A retryable Refusal if the archive does not answer, or has not recorded
        everything from before the tail. Raises Unavailable."""
        if not await self._reaches_tail(user_id):
            return _HISTORY_IS_BEHIND
        return await self._history.find_versions(user_id, chat_id, message_id, kind)

    def recent_versions(self, user_id: int, message_id: int, kind: str) -> Sequence[Event]:
        """The changes of this kind, by its name, of a message that the user's tail has."""
        tail = self._partitions.tail_of(user_id)
        return () if tail is None else tail.versions(message_id, kind)

    async def is_history_complete(self, partition: int) -> bool:
        """Whether history has every event of the partition, from any gateway, that may precede this gateway's
        tails. Asks the log about twice in the time of a tail, however many tasks want to know. Raises Unavailable."""
        now_ms = wall_clock_ms()
        begins_ms = max((tail.complete_from_ms for tail in self._partitions.tails.values()), default=now_ms)
        tail_ms = now_ms - begins_ms
        needed_ms = begins_ms + tail_ms // 4  # clocks differ by less
        if self._recorded_ms.get(partition, 0) >= needed_ms:
            return True
        began = trio.current_time()
        with _log_deadline():
            async with self._turns[partition]:
                if self._recorded_ms.get(partition, 0) < needed_ms:
                    if self._behind_at.get(partition, -math.inf) >= began:
                        return False  # the answer of a look-up that began after this one
                    asked_at = trio.current_time()
                    recorded = await self._backplane.committed_offset(ARCHIVE_GROUP, partition)
                    if recorded < await self._backplane.offset_at(partition, begins_ms + tail_ms // 2):
                        self._behind_at[partition] = asked_at
                        return False
                    self._recorded_ms[partition] = begins_ms + tail_ms // 2
        return True

    async def _reaches_tail(self, user_id: int) -> bool:
        """Whether history has every event of the user's partition from before its tail. Raises Unavailable."""
        partition, tail = self._partitions.partition_of(user_id), self._partitions.tail_of(user_id)
        if tail is None:
            return False
        with _log_deadline():
            await self._recorded.update(partition, tail)
        return self._recorded.reach(partition, tail)

    async def _relationship(self, user_id: int, other_id: int) -> Relationship:
        return (await self._accounts.relationships(user_id, [other_id]))[other_id]

    async def _is_blocked(self, user_id: int, other_id: int) -> bool:
        """Whether one of the two users blocks the other, as far as is known. Raises Unavailable."""
        try:
            return (await self._relationship(user_id, other_id)).is_blocked
        except Unavailable:
            chat_id, user_ids = direct_chat_id(user_id, other_id), (user_id, other_id)
            found_at = self._unblocked_until.get(chat_id, -math.inf) - MARKS_SECONDS
            if self._was_open(chat_id, user_ids) or self._has_read_since(found_at, user_ids):
                return False
            raise

    def _was_open(self, chat_id: str, user_ids: Iterable[int]) -> bool:
        """Whether the direct chat of these users was found to be open, and no block has been announced since then."""
        return self._has_read_since(self._open_until.get(chat_id, -math.inf) - OPEN_SECONDS, user_ids)

    def _has_read_since(self, at: float, user_ids: Iterable[int]) -> bool:
        """Whether this gateway has read all announcements to one of these users since then, on Trio's clock. A change
        of a relationship is announced to both users."""
        gained_at = self._partitions.gained_at
        return any(gained_at.get(self._partitions.partition_of(each), math.inf) < at for each in user_ids)

    def _has_shown_or_hidden(self, user_id: int) -> bool:
        """Whether it was found if the user shows read marks, and this gateway has not gained their partition since."""
        found_at = self._shows_read_marks.get(user_id, (False, -math.inf))[1] - MARKS_SECONDS
        return found_at > self._partitions.gained_at.get(self._partitions.partition_of(user_id), -math.inf)

    async def _has_begun(self, user_id: int, recipient_id: int, chat_id: str) -> bool | Refusal:
        """Whether the direct chat of the two users has a message, by the tail or by the archive; a retryable Refusal if
        the archive does not answer, or has not recorded everything from before the tail. Raises Unavailable."""
        tail = self._partitions.tail_of(user_id)
        if tail is not None and tail.has_message(user_id, chat_id):
            return True
        has_message = await self._history.has_message(user_id, chat_id)
        if has_message is not False:
            return has_message
        for each in (user_id, recipient_id):
            if not await self.is_history_complete(self._partitions.partition_of(each)):
                return _HISTORY_IS_BEHIND
        return False

    def _tail_begins_ms(self, user_id: int) -> int:
        """The moment from which on the tail of the user has every event, in milliseconds since 1970."""
        tail = self._partitions.tails.get(self._partitions.partition_of(user_id))
        return wall_clock_ms() if tail is None else tail.complete_from_ms


def refuse_unaccepted(relationship: Relationship, field: str) -> Refusal:
    """The refusal of a first message to the other user, whom `field` names, or of their addition to a group. Only a
    user who blocks the other learns of a block."""
    return Refusal(Code.FORBIDDEN, _BLOCKED if relationship.blocks_ms else _NOT_ACCEPTED, field)


def remember(cache: dict[Key, Value], key: Key, value: Value, limit: int) -> None:
    """Put the value into a cache of at most `limit` keys, in place of the oldest one if it is full."""
    cache.pop(key, None)
    if len(cache) >= limit:
        del cache[next(iter(cache))]
    cache[key] = value


@contextmanager
def _log_deadline() -> Iterator[None]:
    """Raises Unavailable after LOG_SECONDS."""
    with trio.move_on_after(LOG_SECONDS) as scope:
        yield
    if scope.cancelled_caught:
        raise Unavailable(f"the log has not answered for {LOG_SECONDS:g} s")
