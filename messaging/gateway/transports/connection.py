"""Runs a session on either transport: reads its frames one after the other, and writes its queue in one batch.

Writing is the hot path. Most sockets accept a batch at once, so one task, the flusher, writes for all sessions whose
queue is not empty, without a task switch for each. A session's own writer only sends the bytes that its socket did not
accept at once.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from messaging.gateway import tracing
from messaging.gateway.dispatch import Dispatcher
from messaging.gateway.session import Session, State
from rookery.v1.session_pb2 import ClientFrame
from shared.contract.errors import Refusal
from shared.contract.ids import wall_clock_ms
from shared.telemetry.logs import bind_session

SEND_DEADLINE = 30.0
"""Seconds that a client may leave its frames unread, before its connection is taken for dead."""

GOODBYE_DEADLINE = 2.0
"""Seconds that a client has to read the last frames of a session that has ended."""

SendUnsent = Callable[[], Awaitable[None]]
"""Sends the bytes that could not be sent at once. Raises ConnectionLost."""


class ConnectionLost(Exception):
    """The client's connection is gone: nothing can be sent or received."""


class Transport(Protocol):
    """One client's connection. Both raise ConnectionLost."""

    async def receive(self) -> ClientFrame | Refusal | None:
        """The client's next frame, or the refusal of bytes that are none; None when the client has ended."""
        ...

    def send(self, frames: list[bytes]) -> SendUnsent | None:
        """Send the frames, in order, without waiting. Returns the function that sends the unsent bytes, if there are
        any; it must have returned before `send` is called again."""
        ...


class Flusher:
    """Writes for all connections that have frames to send: one batch for each connection and turn of the loop."""

    def __init__(self) -> None:
        self._due: list[Connection] = []
        self._parked = trio.lowlevel.ParkingLot()

    def mark(self, connection: "Connection") -> None:
        """Have the connection flushed."""
        if not self._due:
            self._parked.unpark()
        self._due.append(connection)

    async def run(self) -> None:
        """Flush until cancelled. The flush itself never waits."""
        while True:
            while self._due:  # including the marks of these flushes, since this task is not parked then
                due, self._due = self._due, []
                for connection in due:
                    connection.flush()
            await self._parked.park()


class Connection:
    """A session on its transport."""

    def __init__(self, dispatcher: Dispatcher, session: Session, transport: Transport, flusher: Flusher) -> None:
        self._dispatcher = dispatcher
        self._session = session
        self._transport = transport
        self._flusher = flusher
        self._is_due = False
        self._send_unsent: SendUnsent | None = None
        self._sending = trio.CancelScope()
        self._is_cut_off = False
        self._writer = trio.lowlevel.ParkingLot()
        self._reader = trio.lowlevel.ParkingLot()
        session.on_change = self._mark
        self._mark()  # for the frames that are queued already

    async def run(self) -> bool:
        """Serve the session until it ends or its connection is lost; False if the client did not read all its frames.

        Opens and closes nothing. For a task of its own: its log lines carry the session's id from now on.
        """
        bind_session(self._session)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._read)
                await self._write()
                nursery.cancel_scope.cancel()
        finally:
            self._session.on_change = lambda: None  # a cycle would keep both until the next collection of garbage
        return not self._is_cut_off

    def flush(self) -> None:
        """Send the session's queue, as far as it can be sent at once."""
        self._is_due = False
        if self._send_unsent is not None:  # the writer is sending, and flushes again when it is done
            if self._session.state is State.ENDED:
                self._sending.deadline = min(self._sending.deadline, trio.current_time() + GOODBYE_DEADLINE)
            return
        try:
            if frames := self._session.take(wall_clock_ms()):
                self._send_unsent = self._transport.send(frames)
                if self._session.deliveries:
                    tracing.end_deliveries(self._session)
        except ConnectionLost:
            self._session.abandon()
        if self._send_unsent is not None or self._session.state is State.ENDED:
            self._writer.unpark()
        if self._reader:
            self._reader.unpark()

    def _mark(self) -> None:
        if not self._is_due:
            self._is_due = True
            self._flusher.mark(self)

    async def _read(self) -> None:
        session = self._session
        try:
            while (frame := await self._transport.receive()) is not None:
                await self._dispatcher.receive(session, frame)
                while not session.may_receive:
                    await self._reader.park()
                if session.state is State.ENDED:
                    return
        except ConnectionLost:
            pass
        session.abandon()

    async def _write(self) -> None:
        """Send the bytes that the socket did not accept at once, with a deadline; return when the session is over."""
        while True:
            if self._send_unsent is not None:
                await self._finish_sending(self._send_unsent)
                self._send_unsent = None
                self.flush()
            elif self._session.state is State.ENDED and not self._session.has_frames:
                return
            else:
                await self._writer.park()

    async def _finish_sending(self, send_unsent: SendUnsent) -> None:
        ended = self._session.state is State.ENDED
        with trio.move_on_after(GOODBYE_DEADLINE if ended else SEND_DEADLINE) as self._sending:
            try:
                await send_unsent()
                return
            except ConnectionLost:
                pass
        self._is_cut_off = True
        self._session.abandon()
