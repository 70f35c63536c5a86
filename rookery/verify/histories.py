"""Reads what the archive has, page by page, and is patient with one that is behind or away."""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import NamedTuple, TypeVar

import trio

from rookery.client import Client, Refused, RookeryError
from rookery.load.sessions import for_each
from rookery.verify.records import Copy, Key

PAGE = 100
"""Chats or messages asked for at once: the most that are given."""

RETRY_PAUSE = 0.25
"""Seconds before asking again, if the server does not say more."""

AT_ONCE = 8
"""Chats that are read side by side."""

Value = TypeVar("Value")


class Reading(NamedTuple):
    """A chat, and one of its members who reads it."""

    client: Client
    chat_id: str


async def read_histories(
    readings: Sequence[Reading], due: Mapping[str, Collection[Key]], since_ms: int, deadline: float
) -> dict[tuple[int, str], list[Copy]]:
    """By user and chat, what each reads from that moment on, once everything that is due there is.

    After the deadline (on Trio's clock), it is what there was then, and nothing if there was no answer.
    """

    async def read(reading: Reading) -> tuple[tuple[int, str], list[Copy]]:
        copies: list[Copy] = []
        with trio.CancelScope(deadline=deadline):
            while True:
                copies = await read_chat(reading.client, reading.chat_id, since_ms)
                if {copy.key for copy in copies}.issuperset(due.get(reading.chat_id, ())):
                    break
                await trio.sleep(RETRY_PAUSE)
        return (reading.client.me.user_id, reading.chat_id), copies

    return dict(await for_each(read, readings, at_once=AT_ONCE))


async def read_chat(client: Client, chat_id: str, since_ms: int) -> list[Copy]:
    """The chat from that moment on, oldest first; nothing of one that is not there (yet). Asks until it is answered."""
    copies: list[Copy] = []
    anchor = {"after_ms": since_ms}
    while True:
        page = await _patiently(client.api.history, chat_id, limit=PAGE, **anchor)
        if page is None:
            return copies
        copies += [Copy.of(item.message) for item in page.messages]
        if not page.has_newer or not copies:
            return copies
        anchor = {"after_id": copies[-1].message_id}


async def chats_changed_since(client: Client, since_ms: int) -> list[str]:
    """Their ids. Asks until it is answered."""
    chat_ids: list[str] = []
    cursor = ""
    while True:
        page = await _patiently(client.api.chats, changed_since_ms=since_ms, limit=PAGE, cursor=cursor)
        if page is None:
            return chat_ids
        chat_ids += [chat.chat_id for chat in page.chats]
        cursor = page.next_cursor
        if not cursor:
            return chat_ids


async def _patiently(ask: Callable[..., Awaitable[Value]], *arguments: object, **options: object) -> Value | None:
    """Ask until there is an answer; None if there is no such thing. Raises Refused for what is refused for good."""
    while True:
        pause = RETRY_PAUSE
        try:
            return await ask(*arguments, **options)
        except Refused as refused:
            if refused.code == "not_found":
                return None
            if not refused.retryable:
                raise
            pause = max(refused.retry_after_ms / 1000, pause)
        except RookeryError:
            pass
        await trio.sleep(pause)
