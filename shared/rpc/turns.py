"""One share of the process for all connections of one address.

A pass of Trio's scheduler runs every task that is ready. Without a common bound, ten connections of one client process
ten slices in each pass, and a task of another client, which needs several passes, waits for all of them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter
from weakref import WeakValueDictionary

import trio

from shared.net.client_address import UNKNOWN, address_key

TURN_SECONDS = 0.002
"""Seconds for which an address's connections together process received bytes in one pass. With the calls that they
begin, a pass takes some 4 ms, and a probe, which needs some ten passes, 40 ms."""

WOKEN_AT_ONCE = 8
"""Connections that continue in a new turn. Most slices are short, so that many of them fit; each that does not costs
20 microseconds."""


class Turn:
    """The bound of the connections of one address."""

    def __init__(self) -> None:
        self._spent = 0.0
        self._ending = False  # a task waits for the next pass, in which it begins the next turn
        self._waiting = trio.lowlevel.ParkingLot()

    async def wait(self) -> None:
        """Return at once during the turn; after it, in the next turn. Use `spending` right after it, without an await:
        a waiting connection that takes its turn wakes the next."""
        while self._spent >= TURN_SECONDS:
            if self._ending:
                await self._waiting.park()
            else:
                await self._begin_next()

    @contextmanager
    def spending(self) -> Iterator[None]:
        """Count the time of the block, which must not await."""
        began = perf_counter()
        try:
            yield
        finally:
            self._spent += perf_counter() - began
            self._waiting.unpark()

    async def _begin_next(self) -> None:
        self._ending = True
        try:
            await trio.lowlevel.checkpoint()
        finally:  # also if this connection is cancelled: others wait
            self._ending = False
            self._spent = 0.0
            self._waiting.unpark(count=WOKEN_AT_ONCE)


class Turns:
    """The turns of a server, by address. A turn is kept as long as a connection refers to it."""

    def __init__(self) -> None:
        self._by_client: WeakValueDictionary[str, Turn] = WeakValueDictionary()

    def of(self, peer: str) -> Turn:
        """Return the turn of the peer's address; one of its own if that is unknown."""
        client = address_key(peer)
        if client == UNKNOWN:
            return Turn()
        turn = self._by_client.get(client)
        if turn is None:
            turn = self._by_client[client] = Turn()
        return turn
