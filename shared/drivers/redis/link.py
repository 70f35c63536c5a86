"""One connection to Redis. Only this module uses the library, whose errors become Unavailable here."""

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol, cast
from urllib.parse import quote, unquote, urlsplit

from redis import ConnectionPool
from redis.exceptions import RedisError, ResponseError

from shared.contract.errors import Unavailable, UnusableSetting
from shared.settings import RedisSettings

Argument = str | bytes | int
"""One word of a command."""

Reply = Any
"""A reply of Redis: a text, a whole number, None, or a list of replies."""


class Connection(Protocol):
    """The part of the library's connections that is used here; their own types are loose."""

    @property
    def is_connected(self) -> bool: ...
    def connect(self) -> None: ...
    def disconnect(self) -> None: ...
    def can_read(self, timeout: float) -> bool: ...
    def read_response(self) -> Reply: ...
    def pack_commands(self, commands: Sequence[Sequence[bytes]]) -> Sequence[bytes]: ...
    def send_packed_command(self, command: Sequence[bytes], check_health: bool) -> None: ...


class Unreachable(Unavailable):
    """Redis can't be reached, or does not answer. The command may have been executed; retry if it is idempotent."""


class Refused(Unavailable):
    """Redis rejected a command: out of memory, a replica, no permission. Mend the server or its configuration."""


def connector(settings: RedisSettings, *, texts: bool = True) -> Callable[[], Connection]:
    """Return a function that makes connections, not yet connected. With `texts`, replies have `str`, else `bytes`.

    Raises UnusableSetting for an unknown or invalid option in the URL, without the URL, which may have a password.
    """
    try:
        pool = ConnectionPool.from_url(
            settings.url.get_secret_value(),
            socket_timeout=settings.timeout_seconds,
            socket_connect_timeout=settings.timeout_seconds,
            decode_responses=texts,
            encoding_errors="replace",
            protocol=2,
        )
        pool.connection_class(**pool.connection_kwargs)
    except (ValueError, TypeError, RedisError):
        raise UnusableSetting("`redis.url` has an unknown or invalid option after its `?`") from None
    return lambda: cast(Connection, pool.connection_class(**pool.connection_kwargs))


class Link:
    """A connection for one thread, which connects at the first command. Other threads may call `cut` alone."""

    def __init__(self, settings: RedisSettings, connect: Callable[[], Connection]) -> None:
        self._connection = connect()
        self._secrets = _secrets(settings.url.get_secret_value())
        self._is_cut = threading.Event()

    def exchange(self, commands: Sequence[Sequence[bytes]]) -> list[Reply | Refused]:
        """Send the commands as one pipeline and read all replies. After Unreachable, each may have been executed."""
        replies: list[Reply | Refused] = []
        with self._errors_mapped():
            self._connect()
            self._connection.send_packed_command(self._connection.pack_commands(commands), check_health=False)
            for _ in commands:
                try:
                    replies.append(self._connection.read_response())
                except ResponseError as error:
                    replies.append(Refused(f"Redis refused a command: {self._masked(error)}"))
        return replies

    def send(self, *command: bytes) -> None:
        """Send a command without waiting for its reply; no reply may be due. Raises Unreachable."""
        with self._errors_mapped():
            self._connect()
            self._connection.send_packed_command(self._connection.pack_commands([command]), check_health=False)

    def send_on(self, *command: bytes) -> None:
        """As `send`, on the open connection, on which replies may be due: it never connects anew."""
        with self._errors_mapped():
            if not self._connection.is_connected:
                raise Unreachable("the connection to Redis has ended")
            self._connection.send_packed_command(self._connection.pack_commands([command]), check_health=False)

    def read(self, timeout: float) -> Reply:
        """Read the next reply; None after `timeout` seconds. Raises Unreachable, also for an error reply."""
        with self._errors_mapped():
            return self._connection.read_response() if self._connection.can_read(timeout) else None

    def close(self) -> None:
        """Disconnect, in the thread that uses it. The next command connects again, unless it was cut."""
        self._connection.disconnect()

    def cut(self) -> None:
        """Shut the socket down from another thread: the owning thread gets Unreachable for every command from now on.

        The thread may be between two steps of connecting, so the caller repeats this until the thread has ended.
        """
        self._is_cut.set()
        connected: socket.socket | None = getattr(self._connection, "_sock", None)
        if connected is not None:
            with suppress(OSError):
                socket.socket.shutdown(connected, socket.SHUT_RDWR)  # TCP's shutdown for a TLS socket too

    def _connect(self) -> None:
        """Connect, unless connected. An idle connection that has ended, such as by a restart, is replaced."""
        try:
            if self._connection.is_connected and self._connection.can_read(0):
                self._connection.disconnect()  # no reply is due, so readable means closed
        except RedisError:
            self._connection.disconnect()
        if self._is_cut.is_set():
            raise Unreachable("the connection to Redis is closed")
        self._connection.connect()

    @contextmanager
    def _errors_mapped(self) -> Iterator[None]:
        try:
            yield
        except (RedisError, OSError) as error:
            self._connection.disconnect()
            raise Unreachable(
                f"Redis does not answer: {self._masked(error)}"
            ) from None  # the cause's text is not masked

    def _masked(self, error: Exception) -> str:
        """The text of the error, without the password."""
        text = str(error) or type(error).__name__
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _secrets(url: str) -> list[str]:
    """Return the password in all its encodings: a server's error may quote a command with its arguments."""
    password = urlsplit(url).password
    return [] if not password else sorted({password, unquote(password), quote(unquote(password))}, key=len)[::-1]
