"""Calls to several servers of one kind: each call goes to the next ready server in rotation."""

import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

import structlog
import trio

from shared.background import open_background
from shared.rpc.client.backoff import Backoff
from shared.rpc.client.channel import Channel, for_http2
from shared.rpc.client.connecting import Endpoint, failure_text
from shared.rpc.client.resolving import endpoint_of, resolve
from shared.rpc.client.statistics import channel_readings
from shared.rpc.client.subchannel import ClientOptions, Prepare
from shared.rpc.limits import DEFAULT_LIMITS, Limits
from shared.telemetry.metrics import register_readings

REFRESH_INTERVAL = 5.0
"""Seconds after which a name is resolved again: a new server must be found before the server that it replaces ends."""

MIN_REFRESH_PAUSE = 1.0
"""The fewest seconds between two resolutions, even when servers are lost one after the other."""

FIRST_PAUSE = 0.1
"""Seconds: the bound of the random pause after a failed resolution; it doubles up to `MIN_REFRESH_PAUSE`."""

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
    """Open a channel to all servers of the addresses (`host:port`; at least one), for stubs.

    A host may be a name of several servers; it is resolved again every `REFRESH_INTERVAL`, and when a server is lost.
    The channel stays connected to all of them, and calls rotate among the ready ones. A server with the standard
    health service is ready while that reports `health_service` (the whole server, if empty) as serving; None disables
    the check. Otherwise as `open_channel`. A certificate must be for the name, not for the address it resolves to.
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
        self._servers_of: dict[Endpoint, list[Endpoint] | None] = dict.fromkeys(names)  # None until first resolved
        self._refresh_requested: dict[Endpoint, trio.Event] = {}
        self._resolve_error = ""  # of the last name that could not be resolved
        for name in self._servers_of:
            nursery.start_soon(self._follow, name)

    async def _follow(self, name: Endpoint) -> None:
        """Keep the servers of a name up to date, for ever. If it can't be resolved, its last servers stay."""
        backoff = Backoff(FIRST_PAUSE, MIN_REFRESH_PAUSE)
        while True:
            refresh_requested = self._refresh_requested[name] = trio.Event()
            try:
                self._servers_of[name] = await resolve(name)
            except (OSError, ValueError) as error:
                self._not_found(name, error)
                await trio.sleep(backoff.next())
                continue
            backoff.reset()
            self.set_endpoints([server for servers in self._servers_of.values() for server in servers or ()])
            await trio.sleep(MIN_REFRESH_PAUSE)
            with trio.move_on_after(REFRESH_INTERVAL - MIN_REFRESH_PAUSE):
                await refresh_requested.wait()

    def _not_found(self, name: Endpoint, error: Exception) -> None:
        self._servers_of[name] = self._servers_of[name] or []
        self._resolve_error = f"{name.host} is not found: {failure_text(error)}"
        log.info("rpc_name_not_found", name=name.host, reason=str(error))
        self._slots.unpark_all()

    def _lost(self) -> None:
        for refresh_requested in self._refresh_requested.values():
            refresh_requested.set()

    def _unavailable_reason(self) -> str | None:
        if None in self._servers_of.values():
            return None
        return super()._unavailable_reason() if self._rotation else self._resolve_error


def _endpoint_at(address: str, server_name: str | None) -> Endpoint:
    host, _, port = address.rpartition(":")
    return endpoint_of(host.strip("[]"), int(port), server_name)
