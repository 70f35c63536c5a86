"""A thread with its own connection, which receives the messages that Redis publishes, and reconnects when necessary."""

import threading
from abc import ABC, abstractmethod
from contextlib import suppress

import trio

from shared.contract.errors import Unavailable
from shared.drivers.redis.link import Link, Reply

RETRY_SECONDS = 0.5
"""Pause between two attempts to connect: by this much a notification may be late after an outage."""

PING_SECONDS = 5.0
"""Silence after which a ping is sent."""

CLOSE_SECONDS = 0.3
"""Deadline of closing for the thread. It may be resolving a host, which nothing can interrupt."""


class ListeningThread(ABC):
    """Base of the threads that listen. `run` is for the Trio thread; the abstract methods are called in the thread."""

    def __init__(self, name: str, link: Link, timeout_seconds: float) -> None:
        self._name = name
        self._link = link
        self._timeout_seconds = timeout_seconds
        self._token = trio.lowlevel.current_trio_token()
        self._closing = threading.Event()
        self._ended = trio.Event()
        self._failure: Exception | None = None

    @abstractmethod
    def _subscribe(self) -> None:
        """Subscribe on a new connection. Raises Unavailable."""

    @abstractmethod
    def _handle(self, reply: Reply) -> None:
        """Handle a reply that Redis has sent. Raises Unavailable."""

    async def run(self) -> None:
        """Receive until cancelled."""
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        thread.start()
        try:
            await self._ended.wait()
        finally:
            self._closing.set()
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                while not self._ended.is_set():
                    self._link.cut()
                    with trio.move_on_after(0.01):
                        await self._ended.wait()
                thread.join()  # setting `_ended` was its last act
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        """The body of the thread."""
        with suppress(trio.RunFinishedError):
            try:
                while not self._closing.is_set():
                    with suppress(Unavailable):
                        self._listen()
                    self._closing.wait(RETRY_SECONDS)
            except Exception as error:  # supervision of the thread: raised again on the Trio side
                self._failure = error
            finally:
                self._link.close()
                self._token.run_sync_soon(self._ended.set)

    def _listen(self) -> None:
        """Receive until closed. Raises Unavailable when the connection ends or a ping is unanswered."""
        try:
            self._subscribe()
            while not self._closing.is_set():
                reply = self._link.read(PING_SECONDS)
                if reply is None:
                    self._link.send_on(b"PING")
                    reply = self._link.read(self._timeout_seconds)
                if reply is None:
                    raise Unavailable("Redis does not answer")
                self._handle(reply)
        finally:
            self._link.close()
