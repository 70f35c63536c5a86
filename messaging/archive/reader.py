"""Reads one chat for one user: as the methods of a ChatStore, but only the events that the user may read.

A page takes one read of the store if the user may read everything, and otherwise about one for each of their spans: the
messages between the spans are not read.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import NamedTuple

from messaging.archive.store.laws import is_listed, listed_key
from messaging.archive.store.protocol import MAX_CHANGES, MAX_PAGE_CHANGES, ChatStore, Page
from messaging.archive.visibility import EVERYTHING, View
from rookery.v1.archive_pb2 import FileClass, HistoryMessage
from rookery.v1.session_pb2 import Event
from shared.contract.changes import Kind, State, apply, kind_of
from shared.contract.chats import direct_members, no_such_chat
from shared.contract.errors import Refusal
from shared.contract.ids import MAX_ID

MAX_READS = 50
"""Reads of the store for one page at most. More would be needed only if more than 50 pages of messages have a change of
the kind that is listed which is outside the spans of the reader: such a page ends, and no older one follows."""

ReadPage = Callable[[int, int], Awaitable[Page]]
"""Reads a page from a bound on: so many messages at most."""


class _Direction(NamedTuple):
    """A direction of reading."""

    bound: Callable[[int], int | None]
    nearest_first: Callable[[Page], Sequence[HistoryMessage]]
    goes_on: Callable[[Page], bool]


class Reader:
    """Reads one chat for one user."""

    def __init__(self, chats: ChatStore, chat_id: str, view: View, *, is_channel: bool = False) -> None:
        self._chats = chats
        self._chat_id = chat_id
        self._view = view
        self._viewer_id = view.user_id if is_channel else None
        self._down = _Direction(view.below, lambda page: page.messages[::-1], lambda page: page.has_older)
        self._up = _Direction(view.above, lambda page: page.messages, lambda page: page.has_newer)

    async def messages_before(self, before_id: int, limit: int) -> Page:
        """As `ChatStore.messages_before`; fewer messages if these have MAX_PAGE_CHANGES changes."""
        if self._view.spans == EVERYTHING:
            return self._cut(await _with_states(partial(self._read_before, before_id), limit))
        newest_first, has_older = await self._gather(self._down, self._read_before, before_id, limit)
        _, has_newer = await self._gather(self._up, self._read_after, before_id - 1, 0)
        return Page(newest_first[::-1], has_older, has_newer)

    async def messages_after(self, after_id: int, limit: int) -> Page:
        """As `ChatStore.messages_after`; fewer messages if these have MAX_PAGE_CHANGES changes."""
        if self._view.spans == EVERYTHING:
            return self._cut(await _with_states(partial(self._read_after, after_id), limit))
        messages, has_newer = await self._gather(self._up, self._read_after, after_id, limit)
        _, has_older = await self._gather(self._down, self._read_before, min(after_id + 1, MAX_ID), 0)
        return Page(messages, has_older, has_newer)

    async def messages_having(self, kind: Kind, before_id: int, limit: int) -> Page:
        """As `ChatStore.messages_having`, if the user may read that change; fewer messages if these have
        MAX_PAGE_CHANGES changes."""
        key = listed_key(kind, self._view.user_id)
        having = self._chats.messages_having
        read: ReadPage = partial(having, self._chat_id, kind.number, key, viewer_id=self._viewer_id)
        if self._view.spans == EVERYTHING:
            return self._cut(await _with_states(partial(read, before_id), limit))
        newest_first, has_older = await self._gather(self._down, read, before_id, limit, kind)
        return Page(newest_first[::-1], has_older, has_newer=False)

    async def messages_with_files(self, file_class: FileClass, before_id: int, limit: int) -> Page:
        """As `ChatStore.messages_with_files`; fewer messages if these have MAX_PAGE_CHANGES changes."""
        read: ReadPage = partial(self._chats.messages_with_files, self._chat_id, file_class, viewer_id=self._viewer_id)
        newest_first, has_older = await self._gather(self._down, read, before_id, limit)
        return Page(newest_first[::-1], has_older, has_newer=False)

    def includes(self, message_id: int) -> bool:
        """Whether the user may read a message with this id."""
        return self._view.includes(message_id)

    async def events_after(self, after_id: int) -> Sequence[Event] | None:
        """As `ChatStore.events_after`; None if there are more than MAX_CHANGES, events outside the view of the
        user included."""
        events = await self._chats.events_after(self._chat_id, after_id)
        return None if len(events) > MAX_CHANGES else self._view.visible(events)

    async def versions(self, target_id: int, kind: Kind) -> Sequence[Event]:
        """As `ChatStore.versions`."""
        return self._view.visible(await self._chats.versions(self._chat_id, target_id, kind.number))

    async def get_message(self, message_id: int) -> HistoryMessage | None:
        """As `ChatStore.get_message`."""
        if not self._view.includes(message_id):
            return None
        message = await self._chats.get_message(self._chat_id, message_id, self._viewer_id)
        return None if message is None else await self._shown(message)

    async def _read_before(self, before_id: int, limit: int) -> Page:
        return await self._chats.messages_before(self._chat_id, before_id, limit, self._viewer_id)

    async def _read_after(self, after_id: int, limit: int) -> Page:
        return await self._chats.messages_after(self._chat_id, after_id, limit, self._viewer_id)

    def _cut(self, page: Page) -> Page:
        for message in page.messages:
            self._view.cut(message)
        return page

    async def _shown(self, message: HistoryMessage) -> HistoryMessage:
        """The message with the changes that the user may read. Where the current one of a key was made outside their
        spans, it has the newest that was not, among the newest MAX_VERSIONS changes of its kind."""
        hidden = [event.change for event in message.changes if not self._view.sees(event)]
        self._view.cut(message)
        replaced = [
            (kind, kind.key_of(change)) for change in hidden if (kind := kind_of(change)) and not kind.is_private
        ]
        former: State = {}
        for kind in {kind.number: kind for kind, _ in replaced}.values():
            for event in await self.versions(message.message.message_id, kind):
                apply(former, event)
        changes = [*message.changes, *(former[key] for _, key in replaced if key in former)]
        if len(changes) > len(message.changes):
            del message.changes[:]
            message.changes.extend(sorted(changes, key=lambda event: event.event_id))
        return message

    async def _gather(
        self, direction: _Direction, read: ReadPage, at: int, limit: int, kind: Kind | None = None
    ) -> tuple[list[HistoryMessage], bool]:
        """At most `limit` messages, nearest first, and whether there are more. With `kind`, only messages whose current
        change of it the user may read."""
        found: list[HistoryMessage] = []
        changes = 0
        for _ in range(MAX_READS):
            bound = direction.bound(at)
            if bound is None:
                break
            page = await _with_states(partial(read, bound), limit + 1 - len(found))
            for message in direction.nearest_first(page):
                at = message.message.message_id
                count = len(message.changes)
                if self._view.includes(at) and (kind is None or _has(self._view.visible(message.changes), kind)):
                    found.append(await self._shown(message))
                    changes += count
            if len(found) > limit or (changes >= MAX_PAGE_CHANGES and len(found) > 1):
                return found[:-1], True
            if not direction.goes_on(page):
                break
        return found, False


async def open_reader(chats: ChatStore, user_id: int, chat_id: str) -> Reader | Refusal:
    """The reader of the chat for the user. After the watermark is read: joins up to the watermark count then."""
    if direct_members(chat_id) is not None:
        return Reader(chats, chat_id, View(user_id))
    membership = await chats.get_member(chat_id, user_id)
    if membership is None:
        return no_such_chat()
    view = View.of_member(membership.member, shows_history=membership.settings.shows_history)
    return Reader(chats, chat_id, view, is_channel=membership.settings.is_channel)


def _has(changes: Iterable[Event], kind: Kind) -> bool:
    return any(kind_of(each.change) is kind and is_listed(kind, each.change) for each in changes)


async def _with_states(read: Callable[[int], Awaitable[Page]], limit: int) -> Page:
    """The page that `read` returns for `limit`, or for less if the store leaves changes of its messages out."""
    page = await read(limit)
    while limit > 1 and sum(len(each.changes) for each in page.messages) >= MAX_PAGE_CHANGES:
        limit //= 2
        page = await read(limit)
    return page
