"""Calls to several servers of one kind: each goes to the next in turn, of those that are connected and serve."""

import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import structlog
import trio

from shared.background import open_background
from shared.rpc.client.backoff import Backoff
from shared.rpc.client.channel import Channel, for_http2
from shared.rpc.client.connecting import Endpoint, why_not_connected
from shared.rpc.client.resolving import endpoint_of, resolve
from shared.rpc.client.statistics import channel_readings
from shared.rpc.client.subchannel import ClientOptions, Prepare
from shared.rpc.limits import DEFAULT_LIMITS, Limits
from shared.telemetry.metrics import register_readings

LOOK_AGAIN_AFTER = 5.0
"""Seconds after which a name is looked up again, in case it has got a server more: one that is new must be known before
the one that it is to replace has gone."""

LOOK_UP_PAUSE = 1.0
"""Seconds between two look-ups at least, even when servers are lost one after the other."""

FIRST_PAUSE = 0.1
"""Seconds: a name that can't be looked up is tried again at random within this time, then within twice the time, up to
`LOOK_UP_PAUSE`."""

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_balancer(
    addresses: Sequence[str],
    *,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
    prepare: Sequence[Prepare] = (),
    health_service: str | None = "",
    limits: Limits = DEFAULT_LIMITS,
) -> AsyncIterator["Balancer"]:
    """A channel to all servers that the addresses (`host:port`; at least one) stand for, to make stubs of.

    A host may be a name of several servers: it is looked up again now and then, and when one of them is lost. All are
    connected to, now and whenever they are lost; calls go round those that are ready. A server with the standard health
    service is ready while that says that it serves `health_service` (all of it, if empty); with None it is not asked.
    Otherwise as `open_channel`; in certificates the name counts, not the address that it stands for.
    """
    options = ClientOptions(limits, for_http2(tls), prepare, stays_connected=True, health_service=health_service)
    async with open_background() as nursery:
        balancer = Balancer(nursery, options, [_endpoint_at(address, server_name) for address in addresses])
        with register_readings(channel_readings(balancer.statistics)):
            yield balancer


class Balancer(Channel):
    """Calls to several servers. Made by `open_balancer`."""

    def __init__(self, nursery: trio.Nursery, options: ClientOptions, names: Iterable[Endpoint]) -> None:
        super().__init__(nursery, options)
        self._servers_of: dict[Endpoint, list[Endpoint] | None] = dict.fromkeys(
            names
        )  # None until a name was looked up
        self._look_again: dict[Endpoint, trio.Event] = {}
        self._trouble = ""  # why the last name could not be looked up
        for name in self._servers_of:
            nursery.start_soon(self._follow, name)

    async def _follow(self, name: Endpoint) -> None:
        """Call the servers that the name stands for, for ever. One that can't be looked up keeps those that it had."""
        backoff = Backoff(FIRST_PAUSE, LOOK_UP_PAUSE)
        while True:
            look_again = self._look_again[name] = trio.Event()
            try:
                self._servers_of[name] = await resolve(name)
            except (OSError, ValueError) as error:
                self._not_found(name, error)
                await trio.sleep(backoff.next())
                continue
            backoff.reset()
            self.use([server for servers in self._servers_of.values() for server in servers or ()])
            await trio.sleep(LOOK_UP_PAUSE)
            with trio.move_on_after(LOOK_AGAIN_AFTER - LOOK_UP_PAUSE):
                await look_again.wait()

    def _not_found(self, name: Endpoint, error: Exception) -> None:
        self._servers_of[name] = self._servers_of[name] or []
        self._trouble = f"{name.host} is not found: {why_not_connected(error)}"
        log.info("rpc_name_not_found", name=name.host, reason=str(error))
        self._slots.unpark_all()

    def _lost(self) -> None:
        for look_again in self._look_again.values():
            look_again.set()

    def _why_unavailable(self) -> str | None:
        if None in self._servers_of.values():
            return None
        return super()._why_unavailable() if self._in_turn else self._trouble


def _endpoint_at(address: str, server_name: str | None) -> Endpoint:
    host, _, port = address.rpartition(":")
    return endpoint_of(host.strip("[]"), int(port), server_name)
