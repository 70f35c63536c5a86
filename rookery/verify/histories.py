"""Reads chats from the archive page by page, and retries while it is behind or unreachable."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

import trio

from rookery.client import Client, Refused, RookeryError
from rookery.client.backoff import Backoff
from rookery.load.sessions import for_each
from rookery.verify.records import Copy

PAGE = 100
"""Messages of a page: the server's maximum."""

RETRY_PAUSE = 0.25
"""Seconds before an answer is read again that is not complete yet."""

AT_ONCE = 8
"""Chats read concurrently."""

Value = TypeVar("Value")


class Reading(NamedTuple):
    """A chat and the member who reads it."""

    client: Client
    chat_id: str


async def read_histories(
    readings: Sequence[Reading],
    is_complete: Callable[[int, str, Sequence[Copy]], bool],
    since_ms: int,
    deadline: float,
) -> dict[tuple[int, str], list[Copy]]:
    """Return by user and chat the messages since a moment, read again until they are complete for the user.

    At the deadline (on Trio's clock) the last result counts, which is empty without an answer.
    """

    async def read(reading: Reading) -> tuple[tuple[int, str], list[Copy]]:
        copies: list[Copy] = []
        with trio.CancelScope(deadline=deadline):
            while True:
                copies = await read_chat(reading.client, reading.chat_id, since_ms)
                if is_complete(reading.client.me.user_id, reading.chat_id, copies):
                    break
                await trio.sleep(RETRY_PAUSE)
        return (reading.client.me.user_id, reading.chat_id), copies

    return dict(await for_each(read, readings, at_once=AT_ONCE))


async def read_chat(client: Client, chat_id: str, since_ms: int) -> list[Copy]:
    """Return the chat's messages since a moment, oldest first; none of an unknown chat. Retries without an answer."""
    copies: list[Copy] = []
    anchor = {"after_ms": since_ms}
    while True:
        page = await retry(client.api.history, chat_id, limit=PAGE, **anchor)
        if page is None:
            return copies
        copies += map(Copy.of_history, page.messages)
        if not page.has_newer or not copies:
            return copies
        anchor = {"after_id": copies[-1].message_id}


async def retry(request: Callable[..., Awaitable[Value]], *arguments: object, **options: object) -> Value | None:
    """Repeat the request until there is a response; None for `not_found`. Raises Refused if it is not retryable."""
    backoff = Backoff(trio.current_time())
    while True:
        try:
            return await request(*arguments, **options)
        except RookeryError as failure:
            if isinstance(failure, Refused) and failure.code == "not_found":
                return None
            if isinstance(failure, Refused) and not failure.retryable:
                raise
            await wait_after(failure, backoff)


async def wait_after(failure: RookeryError, backoff: Backoff) -> None:
    """Wait before the next attempt, as long as the server asks for at least."""
    retry_after = failure.retry_after_ms / 1000 if isinstance(failure, Refused) else 0.0
    await trio.sleep(backoff.pause(trio.current_time(), retry_after))
