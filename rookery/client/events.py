"""The bounded queue of events between the session and the reader. It never blocks the session."""

from collections import deque
from collections.abc import Callable

import trio

from rookery.client.core import ClientEvent
from rookery.v1.session_pb2 import Gap

MAX_EVENTS = 10_000
"""Bound of the queue: twice the events that a server replays to one session by default."""


class EventQueue:
    """A full queue drops new events, and counts them in one Gap at its end, as a server does with a slow client."""

    def __init__(self, clock_ms: Callable[[], int], max_events: int = MAX_EVENTS) -> None:
        """`clock_ms` returns the server's time in milliseconds since 1970."""
        self._max_events = max_events
        self._clock_ms = clock_ms
        self._events: deque[ClientEvent] = deque()
        self._overflow: Gap | None = None
        self._changed = trio.Event()
        self._taken = trio.Event()
        self._failure: Exception | None = None

    def put(self, event: ClientEvent, at_ms: int) -> bool:
        """Append the event; return whether there was room. `at_ms` is its time in milliseconds since 1970, from which a
        Gap counts."""
        has_room = len(self._events) < self._max_events
        if has_room:
            self._events.append(event)
        else:
            since_ms, until_ms = (event.since_ms, event.at_ms) if isinstance(event, Gap) else (at_ms, at_ms)
            if self._overflow is None or self._events[-1] is not self._overflow:
                self._overflow = Gap(since_ms=since_ms)
                self._events.append(self._overflow)
            self._overflow.dropped += 1
            self._overflow.since_ms = min(self._overflow.since_ms, since_ms)
            self._overflow.at_ms = max(self._overflow.at_ms, until_ms, self._clock_ms())
        self._changed.set()
        return has_room

    async def wait_for_room(self) -> None:
        """Wait until at least half of the queue is free."""
        while len(self._events) > self._max_events // 2:
            await self._taken.wait()

    def fail(self, failure: Exception) -> None:
        """End the queue: the reader receives the remaining events, then this exception."""
        self._failure = failure
        self._changed.set()

    def __aiter__(self) -> "EventQueue":
        return self

    async def __anext__(self) -> ClientEvent:
        """Wait for the next event."""
        await trio.lowlevel.checkpoint()
        while not self._events:
            if self._failure is not None:
                raise self._failure
            self._changed = trio.Event()
            await self._changed.wait()
        event = self._events.popleft()
        if len(self._events) <= self._max_events // 2:
            self._taken.set()
            self._taken = trio.Event()
        return event
