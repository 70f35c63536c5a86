"""Reads from history the messages that a session has missed."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import trio

from rookery.client.errors import Refused, Unreachable
from rookery.client.http import Api
from rookery.v1.archive_pb2 import HistoryMessage

OVERLAP_MS = 300_000
"""Messages are read from so long before the first missed event: a message that is accepted on a retry keeps the id of
its first sending, and gateways' clocks differ."""

LAG_PAUSES = (0.0, 3.0, 10.0, 30.0, 120.0)
"""Seconds before each reading: history lags behind sessions by moments, and by more after an engine was down."""

RETRY_PAUSE = 3.0
"""Seconds before a failed reading is repeated, unless the server asks for more."""

PAGE = 100
"""Chats or messages of a page: the server's maximum."""


async def missed(api: Api, since_ms: int) -> AsyncGenerator[HistoryMessage, None]:
    """Yield the messages of `read_missed` over all readings: once each, and again with new changes. Repeats a failed
    reading.

    Raises SignedOut, and Refused if a retry makes no sense.
    """
    seen: dict[int, int] = {}
    for pause in LAG_PAUSES:
        await trio.sleep(pause)
        while True:
            retry_pause = RETRY_PAUSE
            try:
                async with aclosing(read_missed(api, since_ms)) as items:
                    async for item in items:
                        newest = item.changes[-1].event_id if item.changes else 0
                        if seen.get(item.message.message_id) != newest:
                            seen[item.message.message_id] = newest
                            yield item
                break
            except Unreachable:
                pass
            except Refused as refused:
                if not refused.retryable:
                    raise
                retry_pause = max(refused.retry_after_ms / 1000, RETRY_PAUSE)
            await trio.sleep(retry_pause)


async def read_missed(api: Api, since_ms: int) -> AsyncGenerator[HistoryMessage, None]:
    """Yield the messages of every changed chat from `OVERLAP_MS` before a moment on, in order within a chat.

    Makes one request for 100 chats, and one for each chat and each further 100 messages of it.

    The moment, in milliseconds since 1970, must be that of an event before the missed ones, as a Gap has it. The user's
    own accepted messages do not count: messages may be missing before them. Raises as `api` does.
    """
    since_ms = max(since_ms - OVERLAP_MS, 0)
    for chat_id in await _changed_chats(api, since_ms):
        anchor = {"after_ms": since_ms}
        while True:
            page = await api.history(chat_id, limit=PAGE, **anchor)
            for item in page.messages:
                yield item
            if not page.has_newer or not page.messages:
                break
            anchor = {"after_id": page.messages[-1].message.message_id}


async def _changed_chats(api: Api, since_ms: int) -> list[str]:
    chat_ids: list[str] = []
    cursor = ""
    while True:
        page = await api.chats(changed_since_ms=since_ms, limit=PAGE, cursor=cursor)
        chat_ids += [chat.chat_id for chat in page.chats]
        cursor = page.next_cursor
        if not cursor:
            return chat_ids
