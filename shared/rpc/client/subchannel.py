"""One server of a channel: connects when that is wanted, keeps trying while it is away, and knows whether it serves."""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import structlog
import trio

from shared.rpc.client.backoff import Backoff
from shared.rpc.client.connecting import Endpoint, connect, why_not_connected
from shared.rpc.client.connection import AnyClientStream, ClientConnection
from shared.rpc.client.health_watch import HealthWatch
from shared.rpc.limits import DEFAULT_LIMITS, Limits
from shared.rpc.protocol import OutgoingCall

FIRST_PAUSE = 0.05
"""Seconds: after a failed attempt to connect the next comes at random within this time, then within twice the time."""

LONGEST_PAUSE = 1.0
"""Seconds that it grows to: a server that is back is found within this time."""

Prepare = Callable[[OutgoingCall], OutgoingCall]
"""Changes a call before it is sent, most often with `call.with_metadata`: for tokens, trace context and the like. It
must not wait. What it raises, the call raises."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ClientOptions:
    """How a channel speaks to its servers."""

    limits: Limits = DEFAULT_LIMITS
    tls: ssl.SSLContext | None = None
    prepare: Sequence[Prepare] = ()
    stays_connected: bool = False
    """Whether to be connected without a call that wants it."""
    health_service: str | None = None
    """Of which service the server says whether it serves; empty for all of it, None not to ask."""

    def prepared(self, call: OutgoingCall) -> OutgoingCall:
        """The call as it is sent."""
        for prepare in self.prepare:
            call = prepare(call)
        return call


class Subchannel:
    """A server, and the connection to it.

    It takes calls when it is connected, serves, and did not fail to answer. `failure` says why it does not; while
    neither is known, as when it is being connected to, calls wait.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        options: ClientOptions,
        slots: trio.lowlevel.ParkingLot,
        connections: set[ClientConnection],
        lost: Callable[[], None],
    ) -> None:
        """In `slots` calls wait for it, to `connections` it adds its own; `lost` is called when it takes no calls."""
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
        self._wanted = trio.Event()
        if options.stays_connected:
            self._wanted.set()

    @property
    def is_ready(self) -> bool:
        """Whether it takes calls, though perhaps not one more now."""
        connection = self._connection
        return self._serves and connection is not None and connection.usable and not connection.doubted

    @property
    def has_slot(self) -> bool:
        """Whether it takes a call now."""
        return self.is_ready and self._connection is not None and self._connection.has_slot

    def start_call(self, call: OutgoingCall) -> AnyClientStream:
        """Send a call's headers. Only if it has a slot."""
        assert self._connection is not None  # noqa: S101 - for the type checker: there is a slot
        return self._connection.start_call(self._prepared(call))

    def want(self) -> None:
        """A call waits: be connected."""
        if self._connection is None or not self._connection.usable:
            self._wanted.set()

    def stop(self) -> None:
        """Take no more calls, and end `run` when those under way have ended."""
        self._until_stopped.cancel()

    async def run(self) -> None:
        """Be connected whenever that is wanted."""
        async with trio.open_nursery() as nursery:
            with self._until_stopped:
                while True:
                    await self._wanted.wait()
                    await self._serve_until_lost(nursery)
            if self._connection is not None:
                self._connection.retire()

    async def _serve_until_lost(self, nursery: trio.Nursery) -> None:
        """Connect once, and follow how the server is. Returns when it is time for the next connection."""
        try:
            connection = await self._connect(nursery)
        except (OSError, ValueError, trio.TooSlowError) as error:
            late = isinstance(error, trio.TooSlowError)
            self._fail(f"it took over {self._limits.connect_timeout} s" if late else why_not_connected(error))
            await trio.sleep(self._backoff.next())
            self._rest()
            return
        began = trio.current_time()
        self._connection = connection
        if not self._options.stays_connected:
            self._wanted = trio.Event()
        with connection.until_retired:
            await self._follow(connection)
        self._connection, self._serves = None, False
        if connection.pinged_too_often:
            self._limits = replace(self._limits, keepalive_interval=2 * self._limits.keepalive_interval)
        self._lost()
        if trio.current_time() - began >= LONGEST_PAUSE:
            self._backoff.reset()
        else:  # it took the connection only to end it
            await trio.sleep(self._backoff.next())

    async def _connect(self, nursery: trio.Nursery) -> ClientConnection:
        """Connect and wait for the server's settings. Raises OSError, TooSlowError, or ValueError for a bad name."""
        with trio.fail_after(self._limits.connect_timeout):
            transport = await connect(self.endpoint, self._options.tls)
            connection = ClientConnection(transport, self._limits, self._slots)
            nursery.start_soon(self._run_connection, connection)
            try:
                await connection.settled.wait()
            except trio.Cancelled:
                connection.cancel()
                raise
        if not connection.usable and not connection.said_goodbye:
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
            self._heard(None)
        else:
            await HealthWatch(connection, service, self._prepared, self._heard).run()
        await trio.sleep_forever()

    def _heard(self, why_not: str | None) -> None:
        """The server serves, or says why not."""
        self._serves = why_not is None
        if why_not is not None:
            self._fail(why_not)
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
        """For what no call may tell: where calls make the connection, they fail with it."""
        if self._options.stays_connected:
            log.info(event, server=self.endpoint.authority, host=self.endpoint.host, **facts)

    def _rest(self) -> None:
        """After a failure, leave it to the next call to try again, unless one waits already."""
        if not self._options.stays_connected and not self._slots:
            self.failure = None
            self._wanted = trio.Event()

    def _prepared(self, call: OutgoingCall) -> OutgoingCall:
        return self._options.prepared(replace(call, authority=self.endpoint.authority))
