"""Kafka's thread: one per backplane, which runs kafka-python's event loop, and the clients in it.

Producer and consumers are callbacks and coroutines of that loop, so that no record crosses a thread inside the library;
records cross to and from Trio in batches. Exceptions of the library become Unavailable here, and nowhere else.
"""

import logging
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

import trio

from shared.backplane.kafka.kafka_python import (
    Client,
    KafkaConnectionManager,
    KafkaError,
    KafkaNetClient,
    KafkaNetSocket,
    NetworkSelector,
)
from shared.contract.errors import Unavailable
from shared.net.pem import load_authorities, load_pair
from shared.settings import KafkaSettings

Result = TypeVar("Result")

CONNECT_TIMEOUT = 10.0
"""Seconds for a broker to respond when the backplane opens: it takes 4 s to restart after a crash, more when busy."""

CLOSE_TIMEOUT = 0.8
"""Seconds for the last requests when the backplane closes."""

RECONNECT_BACKOFF_MS = 50
RECONNECT_BACKOFF_MAX_MS = 500
"""With the library's own limit, a client might reconnect only 30 s after a broker's return."""

REQUEST_TIMEOUT_MS = 4_000
"""A request without a response in this time closes its connection. Below the 5 s of a publisher's timeout, so that
another connection can still be tried."""

_QUIET_LOGGERS = {
    "kafka": logging.WARNING,
    "kafka.cluster": logging.CRITICAL,
    "kafka.consumer": logging.CRITICAL,
    "kafka.coordinator": logging.CRITICAL,
    "kafka.net": logging.CRITICAL,
    "kafka.net.selector": logging.ERROR,  # its errors come from coroutines and callbacks, ours too
}
"""The library logs each attempt to connect as an error, several a second. We log failures ourselves."""

MAX_RESPONSE_BYTES = 64 * 1024 * 1024
"""The library closes a connection on which a larger response begins."""


def connection_options(settings: KafkaSettings) -> dict[str, Any]:
    """Return the options that all of kafka-python's clients share: brokers, timeouts, TLS and credentials."""
    options: dict[str, Any] = {
        "bootstrap_servers": list(settings.servers),
        "client_id": "rookery",
        "reconnect_backoff_ms": RECONNECT_BACKOFF_MS,
        "reconnect_backoff_max_ms": RECONNECT_BACKOFF_MAX_MS,
        "request_timeout_ms": REQUEST_TIMEOUT_MS,
        "security_protocol": settings.security,
    }
    if settings.security.endswith("SSL"):
        for name, path in (
            ("ssl_cafile", settings.ca_file),
            ("ssl_certfile", settings.certificate_file),
            ("ssl_keyfile", settings.key_file),
        ):
            options[name] = None if path is None else str(path)
    if settings.security.startswith("SASL"):
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.username
        options["sasl_plain_password"] = settings.password.get_secret_value()
    return options


def _check_files(settings: KafkaSettings) -> None:
    """Raise UnusableCertificate for a file of TLS that can't be loaded: the library would report the broker as away,
    or ask for a key's password on the terminal."""
    if settings.security.endswith("SSL"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if settings.ca_file is not None:
            load_authorities(context, settings.ca_file)
        if settings.certificate_file is not None:
            load_pair(context, settings.certificate_file, settings.key_file)


@contextmanager
def unavailable(failure: str) -> Iterator[None]:
    """Raise Unavailable for an error of kafka-python or of the network: `failure`, then the description."""
    try:
        yield
    except (KafkaError, OSError) as error:
        raise Unavailable(f"{failure}: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """Describe an error by class and text: the library's texts may be empty."""
    text = str(error)
    return text if type(error).__name__ in text else f"{type(error).__name__} {text}".strip()


class _Socket(KafkaNetSocket):  # type: ignore[misc]
    """The library's direct connection, but closed if connecting fails: the library leaks the socket."""

    SCHEMES = ("direct",)

    async def sock_connect(self, net: Any, sock: socket.socket, *arguments: Any, **options: Any) -> socket.socket:
        try:
            connected: socket.socket = await super().sock_connect(net, sock, *arguments, **options)
        except BaseException:  # only to close the socket: raised again
            sock.close()
            raise
        return connected


class _Manager(KafkaConnectionManager):  # type: ignore[misc]
    """The library's manager, with two faults mended: it checks for idle connections even after it was closed, and never
    retries a broker that once rejected its password."""

    closed = False

    def close_idle_connections(self) -> None:
        if not self.closed:
            super().close_idle_connections()

    def maybe_raise_auth_failure(self, node_id: Any) -> None:
        if self.connection_delay(node_id) > 0:
            super().maybe_raise_auth_failure(node_id)


class KafkaLoop:
    """kafka-python's event loop in its thread. Made by `open_kafka_loop`. Methods are for Trio's thread unless noted
    otherwise."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.net = NetworkSelector(client_id="rookery")
        self._token = trio.lowlevel.current_trio_token()
        self._trio_thread = threading.get_ident()
        self._kafka_thread: int | None = None  # before the thread runs

    def assert_in_kafka_thread(self) -> None:
        """Raise AssertionError in any other thread than the loop's own."""
        if threading.get_ident() != self._kafka_thread:
            raise AssertionError(f"only Kafka's thread may do this, not {threading.current_thread().name}")

    def assert_in_trio_thread(self) -> None:
        """Raise AssertionError in any other thread than the one that opened the loop."""
        if threading.get_ident() != self._trio_thread:
            raise AssertionError(f"only Trio's thread may do this, not {threading.current_thread().name}")

    def group_id(self, group: str) -> str:
        """Return a group's name at the brokers: platforms that share brokers have topics of their own."""
        return f"{self.settings.topic}.{group}"

    def client(self) -> Client:
        """Make a client with connections of its own: a broker handles a connection's requests one by one.

        For both threads.
        """
        options = connection_options(self.settings)
        options |= {
            "socket_connection_setup_timeout_ms": REQUEST_TIMEOUT_MS,
            "socket_connection_setup_timeout_max_ms": REQUEST_TIMEOUT_MS,
            "proxy_url": "direct://",
            "receive_message_max_bytes": MAX_RESPONSE_BYTES,
        }
        client = KafkaNetClient(net=self.net, manager=_Manager(self.net, **options))
        client.cluster.config["allow_auto_create_topics"] = False  # the library has no option for it
        return client

    @asynccontextmanager
    async def open_client(self) -> AsyncIterator[Client]:
        """Make a client and close it at the end of the block."""
        client = self.client()
        try:
            yield client
        finally:

            async def close() -> None:
                client._manager.close()

            with trio.CancelScope(shield=True), suppress(Unavailable):  # the end of the loop closes it, then
                await self.call("closing", CLOSE_TIMEOUT, close)

    def call_soon(self, function: Callable[[], object]) -> None:
        """Schedule a function or coroutine function in Kafka's thread, in the order of the calls. For both threads.

        Does nothing if the loop is closed.
        """
        with suppress(RuntimeError):  # as of a closed loop
            self.net.call_soon_threadsafe(function)

    def call_trio_soon(self, function: Callable[..., object], *arguments: object) -> None:
        """Schedule a function in Trio's thread, in the order of the calls. For Kafka's thread."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, *arguments)

    async def call(self, failure: str, seconds: float, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run a coroutine in Kafka's thread and return its result. Raises Unavailable for a KafkaError, and after this
        many seconds.

        A wait that ends early, by timeout or cancellation, does not stop the coroutine: it must have a bound itself.
        """
        ended = trio.Event()
        with unavailable(failure):
            try:
                future = self.net.call_soon_with_future(work)
            except RuntimeError as error:
                raise Unavailable(f"{failure}: the connection to Kafka is closed") from error
            future.add_both(lambda _: self.call_trio_soon(ended.set))
            with trio.move_on_after(seconds):
                await ended.wait()
            if not future.is_done:
                raise Unavailable(f"{failure}: Kafka did not answer within {seconds:g} s")
            if future.exception is not None:
                raise future.exception
            result: Result = future.value
            return result

    async def connect(self, client: Client, topics: list[str]) -> None:
        """Load the metadata of the brokers and of these topics. Raises Unavailable."""

        async def load_metadata() -> None:
            manager = client._manager
            client.cluster.set_topics(topics)
            if not manager.bootstrapped:
                await manager.bootstrap_async(int(CONNECT_TIMEOUT * 1000))
            await client.cluster.refresh_metadata()

        await self.call(f"Kafka at {', '.join(self.settings.servers)}", CONNECT_TIMEOUT, load_metadata)


@asynccontextmanager
async def open_kafka_loop(settings: KafkaSettings) -> AsyncIterator[KafkaLoop]:
    """Run kafka-python's event loop in a thread of its own until the block ends, and join it, within CLOSE_TIMEOUT.

    Raises UnusableCertificate.
    """
    _check_files(settings)
    for name, level in _QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(level)
    loop = KafkaLoop(settings)

    def run() -> None:
        loop._kafka_thread = threading.get_ident()
        loop.net.run_forever()
        loop.net.close()

    thread = threading.Thread(target=run, name="kafka", daemon=True)
    loop.net._io_thread = thread  # as its `start` does, except for the name
    thread.start()
    try:
        yield loop
    finally:

        def end() -> None:
            loop.net.stop(CLOSE_TIMEOUT * 1000)
            if not thread.is_alive():  # otherwise a callback blocks it, and it ends and closes after that
                loop.net.close()  # a loop that crashed has not closed itself

        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(end)
