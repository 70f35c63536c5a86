"""One server of a channel: connects on request, retries while the server is unreachable, and follows its health."""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog
import trio

from shared.rpc.client.backoff import Backoff
from shared.rpc.client.connecting import Endpoint, connect, failure_text
from shared.rpc.client.connection import AnyClientStream, ClientConnection
from shared.rpc.client.health_watch import HealthWatch
from shared.rpc.limits import DEFAULT_LIMITS, Limits
from shared.rpc.protocol import OutgoingCall

FIRST_PAUSE = 0.05
"""Seconds: the bound of the random pause after a failed attempt to connect; it doubles with each further one."""

LONGEST_PAUSE = 1.0
"""Seconds: the largest such bound, within which a recovered server is found."""

Prepare = Callable[[OutgoingCall], OutgoingCall]
"""Changes a call before it is sent, usually with `call.with_metadata`, for tokens, trace context and the like. It must
not wait. Its exceptions are raised by the call."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """The options of a channel."""

    limits: Limits = DEFAULT_LIMITS
    tls: ssl.SSLContext | None = None
    prepare: Sequence[Prepare] = ()
    stays_connected: bool = False
    """Whether to stay connected without a call."""
    health_service: str | None = None
    """The service whose health is watched; empty for the server as a whole, None for no health check."""

    def prepared(self, call: OutgoingCall) -> OutgoingCall:
        """Return the call as it is sent."""
        for prepare in self.prepare:
            call = prepare(call)
        return call


class Subchannel:
    """A server, and the connection to it.

    It accepts calls while it is connected, healthy and responsive. `failure` is the reason if it does not; while
    neither is known, for instance while it connects, calls wait.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        options: ClientOptions,
        slots: trio.lowlevel.ParkingLot,
        connections: set[ClientConnection],
        lost: Callable[[], None],
    ) -> None:
        """Calls wait in `slots`; its connections are added to `connections`; `lost` is called when it stops accepting
        calls."""
        self.endpoint = endpoint
        self.failure: str | None = None
        self._options = options
        self._limits = options.limits
        self._slots = slots
        self._connections = connections
        self._lost = lost
        self._connection: ClientConnection | None = None
        self._serves = False
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._until_stopped = trio.CancelScope()
        self._requested = trio.Event()
        if options.stays_connected:
            self._requested.set()

    @property
    def is_ready(self) -> bool:
        """Whether it accepts calls, though perhaps without a free slot now."""
        connection = self._connection
        return self._serves and connection is not None and connection.usable and not connection.is_unresponsive

    @property
    def has_slot(self) -> bool:
        """Whether it accepts a call now."""
        return self.is_ready and self._connection is not None and self._connection.has_slot

    def start_call(self, call: OutgoingCall) -> AnyClientStream:
        """Send a call's headers. Requires `has_slot`."""
        assert self._connection is not None  # noqa: S101 - for the type checker: there is a slot
        return self._connection.start_call(self._prepared(call))

    def request_connection(self) -> None:
        """Connect, since a call waits."""
        if self._connection is None or not self._connection.usable:
            self._requested.set()

    def stop(self) -> None:
        """Refuse new calls, and end `run` once the open ones have ended."""
        self._until_stopped.cancel()

    async def run(self) -> None:
        """Connect whenever it is requested, until stopped."""
        async with trio.open_nursery() as nursery:
            with self._until_stopped:
                while True:
                    await self._requested.wait()
                    await self._serve_until_lost(nursery)
            if self._connection is not None:
                self._connection.retire()

    async def _serve_until_lost(self, nursery: trio.Nursery) -> None:
        """Connect once, and follow the server's health. Returns when it may connect again."""
        try:
            connection = await self._connect(nursery)
        except (OSError, ValueError, trio.TooSlowError) as error:
            late = isinstance(error, trio.TooSlowError)
            self._fail(f"it took over {self._limits.connect_timeout} s" if late else failure_text(error))
            await trio.sleep(self._backoff.next())
            self._wait_for_call()
            return
        began = trio.current_time()
        self._connection = connection
        if not self._options.stays_connected:
            self._requested = trio.Event()
        with connection.until_retired:
            await self._follow(connection)
        self._connection, self._serves = None, False
        if connection.pinged_too_often:
            self._limits = replace(self._limits, keepalive_interval=2 * self._limits.keepalive_interval)
        self._lost()
        if trio.current_time() - began >= LONGEST_PAUSE:
            self._backoff.reset()
        else:  # the server ended the connection at once
            await trio.sleep(self._backoff.next())

    async def _connect(self, nursery: trio.Nursery) -> ClientConnection:
        """Connect, and wait for the server's settings. Raises OSError, TooSlowError, or ValueError for a bad name."""
        with trio.fail_after(self._limits.connect_timeout):
            transport = await connect(self.endpoint, self._options.tls)
            connection = ClientConnection(transport, self._limits, self._slots)
            nursery.start_soon(self._run_connection, connection)
            try:
                await connection.settled.wait()
            except trio.Cancelled:
                connection.cancel()
                raise
        if not connection.usable and not connection.closed_gracefully:
            raise ConnectionError("the server ended the connection at once")
        return connection

    async def _run_connection(self, connection: ClientConnection) -> None:
        self._connections.add(connection)
        try:
            await connection.run()
        except* Exception as group:  # supervision: a fault of one connection must not end its channel
            log.error("rpc_connection_failed", exc_info=group)
        finally:
            self._connections.discard(connection)

    async def _follow(self, connection: ClientConnection) -> None:
        service = self._options.health_service
        if service is None:
            self._set_health(None)
        else:
            await HealthWatch(connection, service, self._prepared, self._set_health).run()
        await trio.sleep_forever()

    def _set_health(self, failure: str | None) -> None:
        """Store whether the server serves; `failure` is the reason if it does not."""
        self._serves = failure is None
        if failure is not None:
            self._fail(failure)
            return
        if self.failure is not None:
            self._log("rpc_server_back")
        self.failure = None
        self._slots.unpark_all()

    def _fail(self, reason: str) -> None:
        if self.failure is None:
            self._log("rpc_server_away", reason=reason)
        self.failure = reason
        self._lost()
        self._slots.unpark_all()

    def _log(self, event: str, **facts: str) -> None:
        """Log a failure that no call reports: a call that waits for the connection fails with its error instead."""
        if self._options.stays_connected:
            log.info(event, server=self.endpoint.authority, host=self.endpoint.host, **facts)

    def _wait_for_call(self) -> None:
        """Leave the next attempt after a failure to the next call, unless one waits already."""
        if not self._options.stays_connected and not self._slots:
            self.failure = None
            self._requested = trio.Event()

    def _prepared(self, call: OutgoingCall) -> OutgoingCall:
        return self._options.prepared(replace(call, authority=self.endpoint.authority))
