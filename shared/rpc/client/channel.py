"""The gRPC client's channels: a server, or several of one kind, to make stubs of. Calls over them are in `calls.py`."""

import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio

from shared.background import open_background
from shared.rpc.client.connecting import Endpoint
from shared.rpc.client.connection import AnyClientStream, ClientConnection
from shared.rpc.client.resolving import endpoint_of
from shared.rpc.client.retries import RetryThrottle
from shared.rpc.client.statistics import ChannelStatistics, Tally, channel_readings
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
) -> AsyncIterator["Channel"]:
    """A channel to one server, to make stubs of. It connects when it is first used: a server that is away does not
    fail the opening but the calls. Leaving the block ends the calls that are still under way.

    With `tls`, whose ALPN becomes `h2`, the server's certificate must have its host's name, or the `server_name`. Each
    call goes through the functions of `prepare`, in their order.
    """
    options = ClientOptions(limits, for_http2(tls), prepare)
    async with open_background() as nursery:
        channel = Channel(nursery, options)
        channel.use([endpoint_of(host, port, server_name)])
        with register_readings(channel_readings(channel.statistics)):
            yield channel


class Channel:
    """Calls to a server, or to several of which each takes its turn. Made by `open_channel` and `open_balancer`."""

    def __init__(self, nursery: trio.Nursery, options: ClientOptions) -> None:
        self.connections: set[ClientConnection] = set()
        """Those that take calls, and those that only finish what they have."""
        self.throttle = RetryThrottle()
        self.tally = Tally()
        self._nursery = nursery
        self._options = options
        self._subchannels: dict[Endpoint, Subchannel] = {}
        self._in_turn: list[Subchannel] = []
        self._next = 0
        self._slots = trio.lowlevel.ParkingLot()
        nursery.start_soon(keep_alive, self.connections, options.limits)

    def statistics(self) -> ChannelStatistics:
        """How it is now."""
        return ChannelStatistics(
            servers=len(self._in_turn),
            servers_ready=sum(subchannel.is_ready for subchannel in self._in_turn),
            connections=len(self.connections),
            calls_waiting=self.tally.waiting,
            calls_begun=self.tally.begun,
            calls_ended=dict(self.tally.ended),
            retries=self.tally.retries,
        )

    async def start_call(self, call: OutgoingCall, *, wait_for_ready: bool = False) -> AnyClientStream:
        """Begin a call with the server whose turn it is, of those that take calls, as soon as one takes one more.

        Raises RpcError with UNAVAILABLE if none can be reached, unless it waits for ready.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while (subchannel := self._pick()) is None:
            if not wait_for_ready and (reason := self._why_unavailable()) is not None:
                raise RpcError(Status.UNAVAILABLE, reason, unprocessed=True)
            await self._wait()
        return subchannel.start_call(call)

    def use(self, endpoints: Sequence[Endpoint]) -> None:
        """Call these servers from now on. Of others, calls under way may end."""
        for gone in self._subchannels.keys() - set(endpoints):
            self._subchannels.pop(gone).stop()
        for endpoint in endpoints:
            if endpoint not in self._subchannels:
                subchannel = Subchannel(endpoint, self._options, self._slots, self.connections, self._lost)
                self._subchannels[endpoint] = subchannel
                self._nursery.start_soon(subchannel.run)
        self._in_turn = list(self._subchannels.values())
        self._slots.unpark_all()

    def _lost(self) -> None:
        """There is a server that takes no calls."""

    def _pick(self) -> Subchannel | None:
        """The next server in turn that takes one more call now."""
        count = len(self._in_turn)
        for turn in range(self._next, self._next + count):
            subchannel = self._in_turn[turn % count]
            if subchannel.has_slot:
                self._next = (turn + 1) % count
                return subchannel
        return None

    def _why_unavailable(self) -> str | None:
        """Why no server takes calls; None if one may soon."""
        failures = [subchannel.failure for subchannel in self._in_turn]
        if not failures or None in failures:
            return None
        if len(failures) == 1:
            return f"{self._in_turn[0].endpoint.authority} is not available: {failures[0]}"
        return f"none of {len(failures)} servers is available; of the last: {failures[-1]}"

    async def _wait(self) -> None:
        """Wait until a server may take one more call."""
        for subchannel in self._in_turn:
            subchannel.want()
        self.tally.waiting += 1
        try:
            await self._slots.park()
        finally:
            self.tally.waiting -= 1


def for_http2(tls: ssl.SSLContext | None) -> ssl.SSLContext | None:
    """The context, such that it asks for HTTP/2."""
    if tls is not None:
        tls.set_alpn_protocols([ALPN])
    return tls
