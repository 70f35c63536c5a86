"""The channels of the gRPC client, to one server or several of one kind. Calls over them are in `calls.py`."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from shared.background import open_background
from shared.rpc.client.connecting import Endpoint
from shared.rpc.client.connection import AnyClientStream, ClientConnection
from shared.rpc.client.resolving import endpoint_of
from shared.rpc.client.retries import RetryThrottle
from shared.rpc.client.statistics import ChannelCounters, ChannelStatistics, channel_readings
from shared.rpc.client.subchannel import ClientOptions, Prepare, Subchannel
from shared.rpc.connection import keep_alive
from shared.rpc.http2 import ALPN
from shared.rpc.limits import DEFAULT_LIMITS, Limits
from shared.rpc.protocol import OutgoingCall
from shared.rpc.status import RpcError, Status
from shared.telemetry.metrics import register_readings


@asynccontextmanager
async def open_channel(
    host: str,
    port: int,
    *,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
    prepare: Sequence[Prepare] = (),
    limits: Limits = DEFAULT_LIMITS,
    is_measured: bool = False,
) -> AsyncIterator["Channel"]:
    """Open a channel to one server, for stubs. It connects on the first call: an unreachable server fails the calls,
    not the opening. The end of the block ends open calls.

    With `tls`, whose ALPN is set to `h2`, the server's certificate must be for the host, or for `server_name`. Each
    call passes the functions of `prepare`, in order. `is_measured`: the metrics of calls to archives include its calls.
    """
    options = ClientOptions(limits, for_http2(tls), prepare)
    async with open_background() as nursery:
        channel = Channel(nursery, options)
        channel.set_endpoints([endpoint_of(host, port, server_name)])
        with register_readings(channel_readings(channel.statistics) if is_measured else {}):
            yield channel


class Channel:
    """Calls to one server, or to several in rotation. Made by `open_channel` and `open_balancer`."""

    def __init__(self, nursery: trio.Nursery, options: ClientOptions) -> None:
        self.connections: set[ClientConnection] = set()
        """Open connections, including connections that only finish their calls."""
        self.throttle = RetryThrottle()
        self.counters = ChannelCounters()
        self._nursery = nursery
        self._options = options
        self._subchannels: dict[Endpoint, Subchannel] = {}
        self._rotation: list[Subchannel] = []
        self._next = 0
        self._slots = trio.lowlevel.ParkingLot()
        nursery.start_soon(keep_alive, self.connections, options.limits)

    def statistics(self) -> ChannelStatistics:
        """Return the channel's statistics."""
        return ChannelStatistics(
            servers=len(self._rotation),
            servers_ready=self.servers_ready,
            connections=len(self.connections),
            calls_waiting=self.counters.waiting,
            calls_begun=self.counters.begun,
            calls_ended=dict(self.counters.ended),
            retries=self.counters.retries,
        )

    @property
    def servers_ready(self) -> int:
        """The number of servers that accept calls now."""
        return sum(subchannel.is_ready for subchannel in self._rotation)

    async def start_call(self, call: OutgoingCall, *, wait_for_ready: bool = False) -> AnyClientStream:
        """Begin a call with the next ready server in rotation, once one has a free slot.

        Raises RpcError with UNAVAILABLE if no server can be reached, unless `wait_for_ready` is set.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while (subchannel := self._pick()) is None:
            if not wait_for_ready and (reason := self._unavailable_reason()) is not None:
                raise RpcError(Status.UNAVAILABLE, reason, unprocessed=True)
            await self._wait()
        return subchannel.start_call(call)

    def set_endpoints(self, endpoints: Sequence[Endpoint]) -> None:
        """Send further calls to these servers only. Open calls to others may finish."""
        for gone in self._subchannels.keys() - set(endpoints):
            self._subchannels.pop(gone).stop()
        for endpoint in endpoints:
            if endpoint not in self._subchannels:
                subchannel = Subchannel(endpoint, self._options, self._slots, self.connections, self._lost)
                self._subchannels[endpoint] = subchannel
                self._nursery.start_soon(subchannel.run)
        self._rotation = list(self._subchannels.values())
        self._slots.unpark_all()

    def _lost(self) -> None:
        """React to a server that has stopped accepting calls."""

    def _pick(self) -> Subchannel | None:
        """Return the next server in rotation with a free slot; None if there is none."""
        count = len(self._rotation)
        for turn in range(self._next, self._next + count):
            subchannel = self._rotation[turn % count]
            if subchannel.has_slot:
                self._next = (turn + 1) % count
                return subchannel
        return None

    def _unavailable_reason(self) -> str | None:
        """Return why no server accepts calls; None if one may soon."""
        failures = [subchannel.failure for subchannel in self._rotation]
        if not failures or None in failures:
            return None
        if len(failures) == 1:
            return f"{self._rotation[0].endpoint.authority} is not available: {failures[0]}"
        return f"none of {len(failures)} servers is available; of the last: {failures[-1]}"

    async def _wait(self) -> None:
        """Wait until a server may have a free slot."""
        for subchannel in self._rotation:
            subchannel.request_connection()
        self.counters.waiting += 1
        try:
            await self._slots.park()
        finally:
            self.counters.waiting -= 1


def for_http2(tls: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """Set the ALPN protocol of the context to HTTP/2, and return it."""
    if tls is not None:
        tls.set_alpn_protocols([ALPN])
    return tls
