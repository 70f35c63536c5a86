"""Reads the events that a client has missed, as docs/client-guide.md describes it."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

import trio

from rookery.client.core import TooOld
from rookery.client.errors import Refused, Unreachable
from rookery.client.http import Api
from rookery.v1 import session_pb2 as pb
from rookery.v1.archive_pb2 import Chat, ListChatsResponse
from shared.contract.ids import time_of, wall_clock_ms

PAUSE = 5.0
"""Seconds between two readings, and before the first repetition of a failed request."""

LONGEST_PAUSE = 30.0
"""Seconds: each repetition of a failed request doubles the pause, up to this."""

PAGE = 100
"""Chats of a page: the server's maximum."""

MAX_LISTS = 20
"""Lists that are read after one with several pages, until one has a single page: that one misses no chat. Only a user
with 100 chats that change within seconds needs several."""

Value = TypeVar("Value")


MissedEvent = pb.Message | pb.Event | pb.ChannelHead | TooOld
"""An event of `CatchUp.events`: a `pb.Event` is always a change, as in `Client.events`."""


class CatchUp:
    """How far a client has received all events of the user's chats, and the reading of the missing ones.

    To continue after a restart with kept messages, keep `listed_up_to`, and `after` of the chats with messages.
    """

    def __init__(
        self,
        api: Api,
        is_new: Callable[[pb.Event], bool],
        clock_ms: Callable[[], int] = wall_clock_ms,
        note_chat: Callable[[Chat], None] = lambda _: None,
        is_open: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """`is_new` is called once with each event, and returns false if the client has it already. `clock_ms` returns
        the server's time in milliseconds since 1970. `note_chat` is called with each chat that changed, `is_open` with
        channels: it returns whether the channel's events come by another way."""
        self.listed_up_to = 0
        """All events up to this id were received; 0 if that is not known."""
        self.after: dict[str, int] = {}
        """By chat: all events of the chat up to this id were received. Only of chats with a higher id than
        `listed_up_to`."""
        self._api = api
        self._is_new = is_new
        self._clock_ms = clock_ms
        self._note_chat = note_chat
        self._is_open = is_open
        self._until_ms = 0
        self._is_reading = False

    async def begin(self) -> None:
        """Count all events until now as received. If the server does not answer, all chats will be `TooOld`."""
        with suppress(Unreachable, Refused):
            self.listed_up_to = (await self._api.chats(limit=1)).complete_up_to

    def holds(self, chat_id: str, complete_up_to: int) -> None:
        """Note that the client holds messages of a chat with all changes up to an id: the `complete_up_to` of the
        newest page of history, if it holds no older messages. Optional: less of the chat is read after a Gap then."""
        self.after[chat_id] = max(self._after(chat_id), complete_up_to)

    async def events(self, gap: pb.Gap | None = None) -> AsyncGenerator[MissedEvent, None]:
        """Iterate over the events that a Gap reports as missing, until nothing is missing: for 10 to 25 seconds, or for
        as long as history is behind. Without a Gap, over all events until now.

        Yields messages as they were sent, and changes, in order within a chat: each once, and none that the client has
        received in its session. (After more than 10,000 since `begin` or the last iteration, some may come again.)
        Of a channel, only a ChannelHead if it is not open: `Client.events` has the events of open ones. Marks of chats
        are in `Api.chats`, whose pages `list_chats` reads. While one iteration runs, a second one ends at once, and the
        first one yields its events too. Repeats a request without an answer. Raises SignedOut, and Refused if a retry
        makes no sense.

        In a long session, iterate once an hour without a Gap. Otherwise a chat with many events since the last
        iteration is `TooOld` after the next Gap, however short.
        """
        self._until_ms = max(self._until_ms, gap.at_ms if gap else self._clock_ms())
        if self._is_reading:
            return
        self._is_reading = True
        heads: dict[str, int] = {}
        try:
            while True:
                chats, complete_up_to = await list_chats(partial(repeat, self._api.chats), self.listed_up_to)
                for chat_id, chat in chats.items():
                    self._note_chat(chat)
                    if chat.settings.is_channel:
                        newest_id = chat.newest.message.message_id
                        if heads.get(chat_id) != newest_id and not self._is_open(chat_id):
                            heads[chat_id] = newest_id
                            yield pb.ChannelHead(chat_id=chat_id, newest_id=newest_id)
                        continue
                    answer = await repeat(self._api.changes, chat_id, after=self._after(chat_id))
                    if answer.too_old:
                        yield TooOld(chat_id)
                    for event in answer.events:
                        if self._is_new(event):
                            yield event.message if event.HasField("message") else event
                    self.holds(chat_id, answer.complete_up_to)
                self._finish_reading(complete_up_to)
                if time_of(self.listed_up_to) >= self._until_ms:
                    return
                await trio.sleep(PAUSE)
        finally:
            self._is_reading = False

    def _after(self, chat_id: str) -> int:
        return max(self.after.get(chat_id, 0), self.listed_up_to)

    def _finish_reading(self, complete_up_to: int) -> None:
        """Note that the events of all chats up to an id were received; 0 if the server does not know the id now."""
        self.listed_up_to = max(self.listed_up_to, complete_up_to)
        self.after = {chat_id: after for chat_id, after in self.after.items() if after > self.listed_up_to}


async def list_chats(
    read: Callable[..., Awaitable[ListChatsResponse]], after_id: int = 0
) -> tuple[Mapping[str, Chat], int]:
    """Return all chats with events after an id, and the id up to which they are all of them. `read`
    is `Api.chats`, and may raise as it does."""
    pages = await _list_chats_since(read, after_id)
    complete_up_to, listed = pages[0].complete_up_to, _chats_on(pages)
    for _ in range(MAX_LISTS):
        if len(pages) == 1 or not pages[0].complete_up_to:  # 0: the server does not know it now
            break
        # A chat that changed meanwhile may have moved from a later page to one that was read already: perhaps again
        # while the next list is read, if that has several pages too.
        pages = await _list_chats_since(read, pages[0].complete_up_to)
        listed |= _chats_on(pages)
    return listed, complete_up_to


async def _list_chats_since(
    read: Callable[..., Awaitable[ListChatsResponse]], event_id: int
) -> Sequence[ListChatsResponse]:
    """Return the pages, at least one, of the chats that have changed since the time of an event."""
    since_ms = time_of(event_id)
    pages = [await read(changed_since_ms=since_ms, limit=PAGE)]
    while cursor := pages[-1].next_cursor:
        pages.append(await read(changed_since_ms=since_ms, limit=PAGE, cursor=cursor))
    return pages


def _chats_on(pages: Iterable[ListChatsResponse]) -> dict[str, Chat]:
    """Return the chats on the pages, in order."""
    return {chat.chat_id: chat for page in pages for chat in page.chats}


async def repeat(request: Callable[..., Awaitable[Value]], *arguments: Any, **query: Any) -> Value:
    """Make the request until there is an answer. Raises Refused if a retry makes no sense."""
    pause = PAUSE
    while True:
        retry_after = 0.0
        try:
            return await request(*arguments, **query)
        except Unreachable:
            pass
        except Refused as refused:
            if not refused.retryable:
                raise
            retry_after = refused.retry_after_ms / 1000
        await trio.sleep(max(pause, retry_after))
        pause = min(2 * pause, LONGEST_PAUSE)
