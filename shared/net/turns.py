"""One share of the process for all connections of one address, on all listeners, and one for the contents of files.

A pass of Trio's scheduler runs every task that is ready. Without a common bound, ten connections of one client process
ten slices in each pass, and a task of another client, which needs several passes, waits for all of them. The contents
of files give way to all other tasks.

Work that does not await is measured, in CPU time: on a busy machine a process may have a tenth of a core, and a turn of
the clock's time would be over after a tenth of its work. Other work is charged with an estimate before it begins.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import thread_time
from types import TracebackType
from weakref import WeakValueDictionary

import trio

from shared.net.client_address import UNKNOWN, address_key

TURN_SECONDS = 0.002
"""Seconds of CPU time for which an address's connections together process received bytes in one pass. With the work
that follows from them, a pass takes some 4 ms, and a probe, which needs some ten passes, 40 ms."""

MAX_DEBT_SECONDS = 0.05
"""Most seconds of work that count. The largest piece of work takes some 0.02 s, more on a slower machine. Connections
that share an address, such as those of a proxy, wait together for these 25 passes: for 0.1 s if other addresses fill
each pass, else for none."""

WOKEN_AT_ONCE = 8
"""Connections that continue in a new turn. Most slices are short, so that many of them fit; each that does not costs
20 microseconds."""

CONNECTION_SECONDS = 0.0003
"""Estimate of the beginning and the end of a connection."""

TLS_SECONDS = 0.001
"""Estimate of a handshake of TLS."""

MESSAGE_SECONDS = 0.0001
"""Estimate of a message: to parse it, to serve it, and to send the answer."""

REQUEST_SECONDS = 0.001
"""Estimate of a request of HTTP."""

PIECE_SECONDS = 0.0005
"""Estimate of a piece of a file: 64 KiB that are received and stored, or 256 KiB that are read and sent or hashed.
With four times as much, uploads were a quarter slower, and messages hardly faster (docs/performance.md)."""

FILES_WAIT_SECONDS = 0.01
"""Most seconds for which the contents of files wait for a process whose other tasks never all wait, or whose log
is always being written. Four pieces of 64 KiB in each such wait are 26 MB/s."""

QUIET_SECONDS = 0.001
"""How long all other tasks wait until files look again whether a thread is busy for which messages wait."""


class Turn:
    """The bound of the connections of one address. `with turn:` counts the CPU time of the block, which must not await.

    Work that takes longer than a turn is followed by passes without any, until there was one for each TURN_SECONDS.
    """

    def __init__(self) -> None:
        self._spent = 0.0
        self._began = 0.0
        self._ending = False  # a task waits for the next pass, in which it begins the next turn
        self._waiting = trio.lowlevel.ParkingLot()
        self._is_awaited = False  # connections may be parked there

    async def wait(self) -> None:
        """Return at once during the turn; after it, in the next turn. Count or charge the work right after it, without
        an await: a waiting connection that takes its turn wakes the next."""
        while self._spent >= TURN_SECONDS:
            if self._ending:
                self._is_awaited = True
                await self._waiting.park()
            else:
                await self._begin_next()

    def charge(self, seconds: float) -> None:
        """Count so many seconds."""
        self._spent += seconds
        if self._is_awaited:
            self._waiting.unpark()
            self._is_awaited = bool(self._waiting)

    def __enter__(self) -> None:
        self._began = thread_time()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._spent += thread_time() - self._began
        if self._is_awaited:
            self.charge(0.0)

    async def _begin_next(self) -> None:
        self._ending = True
        try:
            while self._spent >= TURN_SECONDS:
                await self._wait_for_next()
                self._spent = max(min(self._spent, MAX_DEBT_SECONDS) - TURN_SECONDS, 0.0)
        finally:  # also if this connection is cancelled: others wait
            self._ending = False
            self._waiting.unpark(count=WOKEN_AT_ONCE)

    async def _wait_for_next(self) -> None:
        await trio.lowlevel.checkpoint()


class FilesTurn(Turn):
    """The bound of the contents of all files, for all addresses together. A turn begins when all other tasks wait, and
    no thread is busy for which messages wait. So a message waits for one turn, and not for one in each of the passes
    that it needs."""

    def __init__(self) -> None:
        super().__init__()
        self._busy: list[Callable[[], bool]] = []

    @contextmanager
    def giving_way_to(self, is_busy: Callable[[], bool]) -> Iterator[None]:
        """Begin no turn while a thread is busy for which messages wait: it needs the interpreter's lock, too."""
        self._busy.append(is_busy)
        try:
            yield
        finally:
            self._busy.remove(is_busy)

    async def take_piece(self) -> None:
        """Wait for the turn, and charge it with a piece of a file."""
        await self.wait()
        self.charge(PIECE_SECONDS)

    async def _wait_for_next(self) -> None:
        # A part of Trio's scheduler. Its package imports pytest, if that is installed: not at each start.
        from trio.testing import wait_all_tasks_blocked

        with trio.move_on_after(FILES_WAIT_SECONDS):
            await wait_all_tasks_blocked()
            while any(is_busy() for is_busy in self._busy):
                await wait_all_tasks_blocked(QUIET_SECONDS)


class Turns:
    """The turns of a process, by address. A turn is kept as long as a connection refers to it."""

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


async def await_client(stream: trio.abc.Stream, turn: Turn) -> None:
    """Wait until the client of a new connection has sent bytes or has ended, then for its turn; charge the connection.

    Raises OSError and trio.ClosedResourceError on a lost connection.
    """
    has_tls = isinstance(stream, trio.SSLStream)
    transport = stream.transport_stream if isinstance(stream, trio.SSLStream) else stream
    if isinstance(transport, trio.SocketStream):
        await trio.lowlevel.wait_readable(transport.socket)
    await turn.wait()
    turn.charge(TLS_SECONDS if has_tls else CONNECTION_SECONDS)


FILES = FilesTurn()
"""The turn of this process."""
