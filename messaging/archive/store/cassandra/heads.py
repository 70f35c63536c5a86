"""Reads the heads of groups together for all lists that ask for them at the same time."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

import trio

from shared.contract.errors import Unavailable
from shared.drivers.cassandra.session import Row


class _Load:
    """A read of heads that is under way."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.rows: Mapping[str, Row | None] = {}
        """The row of each group, None if it has none; empty if the read has failed, or was cancelled."""
        self.failure: str | None = None
        """Why it has failed; None if it has not."""


class Heads:
    """Reads certain columns of the heads of groups. At most one read of each head is under way.

    A read begins after the calls that get its rows: a call waits for the reads that are under way, and then shares
    those that others have begun meanwhile. So a row has everything that was recorded before the call, and is never
    older than the watermark or the membership that the caller has read before. Hence no row is kept for later calls.
    """

    def __init__(self, read: Callable[[Sequence[str]], Awaitable[Iterable[Row]]]) -> None:
        """`read` returns the rows of groups, which begin with the id of the group. It may raise Unavailable."""
        self._read = read
        self._loads: dict[str, _Load] = {}

    async def rows(self, chat_ids: Collection[str]) -> list[Row]:
        """Return the rows of these groups, in no order; a group without a row is left out. Raises Unavailable."""
        for load in self._under_way(chat_ids):  # they may have read before an event that was recorded before this call
            await load.ended.wait()
        found: dict[str, Row | None] = {}
        while missing := [chat_id for chat_id in chat_ids if chat_id not in found]:
            loads = self._under_way(missing)
            if alone := [chat_id for chat_id in missing if chat_id not in self._loads]:
                loads.add(await self._load(alone))
            for load in loads:
                await load.ended.wait()
                if load.failure is not None:  # a read of its own would follow those of all who have waited longer
                    raise Unavailable(load.failure)
                found |= {chat_id: load.rows[chat_id] for chat_id in missing if chat_id in load.rows}
        return [row for row in found.values() if row is not None]

    def _under_way(self, chat_ids: Iterable[str]) -> set[_Load]:
        return {self._loads[chat_id] for chat_id in chat_ids if chat_id in self._loads}

    async def _load(self, chat_ids: Sequence[str]) -> _Load:
        load = _Load()
        self._loads |= dict.fromkeys(chat_ids, load)
        try:
            load.rows = dict.fromkeys(chat_ids) | {row[0]: row for row in await self._read(chat_ids)}
            return load
        except Unavailable as error:
            load.failure = str(error)
            raise
        finally:
            for chat_id in chat_ids:
                del self._loads[chat_id]
            load.ended.set()
