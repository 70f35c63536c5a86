"""The connection to Kafka: one thread in which kafka-python runs, with everything that a process does there.

kafka-python has an event loop of its own. We run one for each backplane, in one thread: producer and consumers are
written as callbacks and coroutines of that loop, so that a record never hops between threads of the library. What
crosses to Trio crosses in bunches, by token. Exceptions of the library become Unavailable here, and nowhere else.
"""

import logging
import socket
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

import trio

from shared.backplane.kafka.library import (
    Client,
    KafkaConnectionManager,
    KafkaError,
    KafkaNetClient,
    KafkaNetSocket,
    NetworkSelector,
)
from shared.contract.errors import Unavailable
from shared.settings import KafkaSettings

Result = TypeVar("Result")

CONNECT_PATIENCE = 10.0
"""Seconds that opening waits for a broker: it takes 4 s to come back after a crash, more on a busy machine."""

CLOSE_PATIENCE = 0.8
"""Seconds that closing gives to what wants to say goodbye to the broker."""

RECONNECT_BACKOFF_MS = 50
RECONNECT_BACKOFF_MAX_MS = 500
"""The library's own limit is 30 s: that long after a broker's return we might still be away."""

REQUEST_TIMEOUT_MS = 4_000
"""A request that is not answered in that time closes its connection: below the 5 s in which a sender gets an answer, so
that another connection can still be tried."""

_QUIET_LOGGERS = {
    "kafka": logging.WARNING,
    "kafka.cluster": logging.CRITICAL,
    "kafka.consumer": logging.CRITICAL,
    "kafka.coordinator": logging.CRITICAL,
    "kafka.net": logging.CRITICAL,
    "kafka.net.selector": logging.ERROR,  # its errors are those of coroutines and callbacks, ours too
}
"""The library logs each attempt to connect as an error, some a second: what matters we say ourselves."""

MAX_RESPONSE_BYTES = 64 * 1024 * 1024


def connection_options(settings: KafkaSettings) -> dict[str, Any]:
    """What every kind of kafka-python's clients is told: where the brokers are, TLS, who we are."""
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


@contextmanager
def unavailable(what: str) -> Iterator[None]:
    """Turns what kafka-python, or the network below it, raises into Unavailable."""
    try:
        yield
    except (KafkaError, OSError) as error:
        raise Unavailable(f"{what}: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """The error in a few words: the library's classes tell more than their texts, which may be empty."""
    text = str(error)
    return text if type(error).__name__ in text else f"{type(error).__name__} {text}".strip()


class _Socket(KafkaNetSocket):  # type: ignore[misc]
    """A direct connection, as the library makes it, but one that is refused is closed."""

    SCHEMES = ("direct",)

    async def sock_connect(self, net: Any, sock: socket.socket, *arguments: Any, **options: Any) -> socket.socket:
        try:
            connected: socket.socket = await super().sock_connect(net, sock, *arguments, **options)
        except BaseException:  # only to close the socket: raised again
            sock.close()
            raise
        return connected


class _Manager(KafkaConnectionManager):  # type: ignore[misc]
    """The library's looks for idle connections for ever after it was closed, and never again tries a broker that once
    refused its password. Ours does neither."""

    closed = False

    def close_idle_connections(self) -> None:
        if not self.closed:
            super().close_idle_connections()

    def maybe_raise_auth_failure(self, node_id: Any) -> None:
        if self.connection_delay(node_id) > 0:
            super().maybe_raise_auth_failure(node_id)


class KafkaLoop:
    """kafka-python's event loop in its thread. Made by `open_kafka_loop`; its methods are for the Trio thread."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self.net = NetworkSelector(client_id="rookery")
        self._token = trio.lowlevel.current_trio_token()

    def client(self) -> Client:
        """A set of connections of its own: a broker answers the requests of one connection one after the other."""
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
        """A client that is closed at the end of the block."""
        client = self.client()
        try:
            yield client
        finally:

            async def close() -> None:
                client._manager.close()

            with trio.CancelScope(shield=True), suppress(Unavailable):  # the loop ends it, then
                await self.call("closing", CLOSE_PATIENCE, close)

    def soon(self, function: Callable[[], None]) -> None:
        """Have the loop call it. What is called in this way keeps its order."""
        with suppress(RuntimeError):  # the loop is closed already
            self.net.call_soon_threadsafe(function)

    def to_trio(self, function: Callable[..., object], *arguments: object) -> None:
        """Have the Trio thread call it: for the loop's thread."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, *arguments)

    async def call(self, what: str, patience: float, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run a coroutine of the library's loop and wait for its result. Raises Unavailable, after `patience` seconds
        at the latest. A wait that ends early does not stop the coroutine, which must bound itself."""
        ended = trio.Event()
        with unavailable(what):
            try:
                future = self.net.call_soon_with_future(work)
            except RuntimeError as error:
                raise Unavailable(f"{what}: the connection to Kafka is closed") from error
            future.add_both(lambda _: self.to_trio(ended.set))
            with trio.move_on_after(patience):
                await ended.wait()
            if not future.is_done:
                raise Unavailable(f"{what}: Kafka did not answer within {patience:g} s")
            if future.exception is not None:
                raise future.exception
            result: Result = future.value
            return result

    async def connect(self, client: Client, topics: list[str]) -> None:
        """Wait until the client knows the brokers and these topics. Raises Unavailable."""

        async def meet() -> None:
            manager = client._manager
            client.cluster.set_topics(topics)
            if not manager.bootstrapped:
                await manager.bootstrap_async(int(CONNECT_PATIENCE * 1000))
            await client.cluster.refresh_metadata()

        await self.call(f"Kafka at {', '.join(self.settings.servers)}", CONNECT_PATIENCE, meet)


@asynccontextmanager
async def open_kafka_loop(settings: KafkaSettings) -> AsyncIterator[KafkaLoop]:
    """Run kafka-python's event loop in a thread of its own for as long as the block is open."""
    for name, level in _QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(level)
    loop = KafkaLoop(settings)

    def run() -> None:
        loop.net.run_forever()
        loop.net.close()

    thread = threading.Thread(target=run, name="kafka", daemon=True)
    loop.net._io_thread = thread  # as its own `start` would, but for the name
    thread.start()
    try:
        yield loop
    finally:

        def end() -> None:
            loop.net.stop(CLOSE_PATIENCE * 1000)
            if not thread.is_alive():  # else it is amid something that blocks, and ends and closes after that
                loop.net.close()  # if it failed, it has not

        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(end)
