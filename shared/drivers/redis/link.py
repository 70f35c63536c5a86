"""One connection to Redis, and the only place that knows the library: what it raises becomes Unavailable here."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol, cast
from urllib.parse import quote, unquote, urlsplit

from redis import ConnectionPool
from redis.exceptions import RedisError, ResponseError

from shared.contract.errors import Unavailable
from shared.settings import RedisSettings

Word = str | bytes | int
"""A part of a command."""

Reply = Any
"""What Redis answers: a text, a whole number, None, or a list of those."""


class Connection(Protocol):
    """What is used of the library's connections, whose own types are loose."""

    @property
    def is_connected(self) -> bool: ...
    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def can_read(self, timeout: float) -> bool: ...
    def read_response(self) -> Reply: ...
    def pack_commands(self, commands: Sequence[Sequence[bytes]]) -> Sequence[bytes]: ...
    def send_packed_command(self, command: Sequence[bytes], check_health: bool) -> None: ...


class Away(Unavailable):
    """Redis can't be reached, or does not answer."""


class Refused(Unavailable):
    """Redis answers, and does not do what it was asked: out of memory, a replica, no permission."""


def connector(settings: RedisSettings) -> Callable[[], Connection]:
    """What makes connections, unconnected. Raises ValueError for a URL that can't be used, without showing it: it may
    hold a password, and a password that is not quoted is what makes a URL unusable."""
    try:
        pool = ConnectionPool.from_url(
            settings.url.get_secret_value(),
            socket_timeout=settings.timeout_seconds,
            socket_connect_timeout=settings.timeout_seconds,
            decode_responses=True,
            encoding_errors="replace",
            protocol=2,
        )
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, RedisError):
        raise ValueError(
            "redis.url is not of the form redis://user:password@host:port/0 (rediss:// for TLS);"
            " what is special in a user or password must be percent-encoded"
        ) from None
    return lambda: cast(Connection, pool.connection_class(**pool.connection_kwargs))


class Link:
    """A connection for one thread, which connects when it is needed. `cut` is for any other thread."""

    def __init__(self, settings: RedisSettings, connect: Callable[[], Connection]) -> None:
        self._connection = connect()
        self._secrets = _secrets(settings.url.get_secret_value())
        self._is_cut = threading.Event()

    def exchange(self, commands: Sequence[Sequence[bytes]]) -> list[Reply | Refused]:
        """Send the commands as one and read all their answers. Raises Away: then each may have been done, or not."""
        replies: list[Reply | Refused] = []
        with self._errors_mapped():
            self._connect()
            self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
            for _ in commands:
                try:
                    replies.append(self._connection.read_response())
                except ResponseError as error:
                    replies.append(Refused(f"Redis refused a command: {self._shown(error)}"))
        return replies

    def send(self, *command: bytes) -> None:
        """Send a command without waiting for its answer. Raises Away."""
        with self._errors_mapped():
            self._connect()
            self._connection.send_packed_command(self._connection.pack_commands([command]), check_health=False)

    def read(self, timeout: float) -> Reply:
        """What Redis says next; None if that is nothing for so many seconds. Raises Away, also if it is an error."""
        with self._errors_mapped():
            return self._connection.read_response() if self._connection.can_read(timeout) else None

    def close(self) -> None:
        """By the thread that uses it. It may be used again, unless it was cut."""
        self._connection.disconnect()

    def cut(self) -> None:
        """End the connection whatever its thread does, which gets Away, now and ever after.

        The thread may be between two steps of connecting: whoever waits for it cuts again until it has ended.
        """
        self._is_cut.set()
        connected: socket.socket | None = getattr(self._connection, "_sock", None)
        if connected is not None:
            with suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # of a TLS socket too: no goodbyes

    def _connect(self) -> None:
        """Connect, unless connected. A connection that ended while it was idle, as by a restart, is made anew."""
        try:
            if self._connection.is_connected and self._connection.can_read(0):
                self._connection.disconnect()  # nobody asked for anything
        except RedisError:
            self._connection.disconnect()
        if self._is_cut.is_set():
            raise Away("the connection to Redis is closed")
        self._connection.connect()

    @contextmanager
    def _errors_mapped(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            self._connection.disconnect()
            raise Away(f"Redis does not answer: {self._shown(error)}") from None  # the cause has its text unmasked

    def _shown(self, error: Exception) -> str:
        text = str(error) or type(error).__name__
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _secrets(url: str) -> list[str]:
    """The password, in all its spellings: a server may repeat a command that it does not know, with its arguments."""
    password = urlsplit(url).password
    return [] if not password else sorted({password, unquote(password), quote(unquote(password))}, key=len)[::-1]
