"""What both transports do with a session: read its frames one after the other, and write whatever waits in one go.

Writing is the hot path: most sockets take what they are given at once, so one task, the flusher, writes for all
sessions that something came for, without a task switch for each. A session's own writer is there only for what its
socket does not take at once.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from messaging.gateway import tracing
from messaging.gateway.gateway import Gateway
from messaging.gateway.session import Session, State
from rookery.v1.session_pb2 import ClientFrame
from shared.contract.errors import Refusal
from shared.contract.ids import wall_clock_ms
from shared.telemetry.logs import speak_for

SEND_DEADLINE = 30.0
"""Seconds that a client may leave what it was sent unread, before it is taken for dead."""

GOODBYE_DEADLINE = 2.0
"""Seconds that a client has to read the last frames of a session that has ended."""

Rest = Callable[[], Awaitable[None]]
"""Sends what could not be sent at once."""


class ConnectionLost(Exception):
    """The client's connection is gone: nothing can be sent, and nothing will come."""


class Transport(Protocol):
    """One client's connection. Both raise ConnectionLost."""

    async def receive(self) -> ClientFrame | Refusal | None:
        """The client's next frame, or why its bytes were none; None when it is done."""
        ...

    def send(self, frames: list[str | bytes]) -> Rest | None:
        """Send the frames, in order, without waiting; what sends the rest, if not all could go. Not again before."""
        ...


class Flusher:
    """Writes for all connections that something came for, once for what came at the same time."""

    def __init__(self) -> None:
        self._due: list[Connection] = []
        self._parked = trio.lowlevel.ParkingLot()

    def mark(self, connection: "Connection") -> None:
        """The connection has something to write."""
        self._due.append(connection)
        self._parked.unpark()

    async def run(self) -> None:
        """Write until cancelled. The flush itself never waits."""
        while True:
            while self._due:  # what is marked meanwhile too: nobody is parked then to be woken
                due, self._due = self._due, []
                for connection in due:
                    connection.flush()
            await self._parked.park()


class Connection:
    """A session on its transport."""

    def __init__(self, gateway: Gateway, session: Session, transport: Transport, flusher: Flusher) -> None:
        self._gateway = gateway
        self._session = session
        self._transport = transport
        self._flusher = flusher
        self._is_due = False
        self._rest: Rest | None = None
        self._sending = trio.CancelScope()
        self._is_torn = False
        self._writer = trio.lowlevel.ParkingLot()
        self._reader = trio.lowlevel.ParkingLot()
        session.on_change = self._mark
        self._mark()  # what was queued before

    async def run(self) -> bool:
        """Serve the session until it ends or its connection is lost; False if the client did not take all it was sent.

        Opens and closes nothing. For a task of its own, whose lines in the log are from now on those of the session.
        """
        speak_for(self._session)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._read)
            await self._write()
            nursery.cancel_scope.cancel()
        return not self._is_torn

    def flush(self) -> None:
        """Send what waits, as far as it can be sent at once."""
        self._is_due = False
        if self._rest is not None:  # the writer is at it, and flushes again when it is done
            if self._session.state is State.ENDED:
                self._sending.deadline = min(self._sending.deadline, trio.current_time() + GOODBYE_DEADLINE)
            return
        try:
            if frames := self._session.take(wall_clock_ms()):
                self._rest = self._transport.send(frames)
                if self._session.deliveries:
                    tracing.sent(self._session)
        except ConnectionLost:
            self._session.abandon()
        if self._rest is not None or self._session.state is State.ENDED:
            self._writer.unpark()
        self._reader.unpark()

    def _mark(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._flusher.mark(self)

    async def _read(self) -> None:
        session = self._session
        try:
            while (frame := await self._transport.receive()) is not None:
                request = session.receive(frame, trio.current_time())
                if request is not None:
                    await self._gateway.handle(session, request)
                while not session.may_receive:
                    await self._reader.park()
                if session.state is State.ENDED:
                    return
        except ConnectionLost:
            pass
        session.abandon()

    async def _write(self) -> None:
        """Send what the socket did not take at once, with a deadline; return when the session is over."""
        while True:
            if self._rest is not None:
                await self._send_rest(self._rest)
                self._rest = None
                self.flush()
            elif self._session.state is State.ENDED and not self._session.has_frames:
                return
            else:
                await self._writer.park()

    async def _send_rest(self, rest: Rest) -> None:
        ended = self._session.state is State.ENDED
        with trio.move_on_after(GOODBYE_DEADLINE if ended else SEND_DEADLINE) as self._sending:
            try:
                await rest()
                return
            except ConnectionLost:
                pass
        self._is_torn = True
        self._session.abandon()
