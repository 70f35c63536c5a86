"""Opens a gateway: its listeners, log consumer and transports; and drains it when it stops."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from messaging.gateway.gateway import Gateway
from messaging.gateway.groups.service import GroupService
from messaging.gateway.history import History
from messaging.gateway.measures import gateway_readings
from messaging.gateway.previews import Previewer
from messaging.gateway.transports.connection import Flusher
from messaging.gateway.transports.grpc_transport import SessionService
from messaging.gateway.transports.handshake import PATH
from messaging.gateway.transports.websocket import WebSocketServer
from shared.accounts.departures import DepartureTokens
from shared.accounts.tokens import SigningKeys, TokenVerifier
from shared.background import open_background
from shared.contract.addresses import SECURE, connectable_host
from shared.coordination.ownership import GatewayAddress
from shared.net.accepting import serve_listeners
from shared.net.health_server import serve_health
from shared.net.listening import listen, port_of
from shared.net.tls import add_certificate_check
from shared.platform import Platform
from shared.rpc import Limits, Servicer, serve_rpc
from shared.rpc.server.interceptors import MAX_REFLECTIONS, MAX_STRANGERS, bound_strangers, count_calls, log_calls
from shared.rpc.server.methods import Interceptor
from shared.rpc.server.standard_services import REFLECTION, standard_services
from shared.settings import GatewaySettings
from shared.telemetry.health import Health
from shared.telemetry.logs import with_role
from shared.telemetry.metrics import register_readings, serve_role

DRAIN_SECONDS = 3.0
"""How long a gateway that stops waits for messages in flight and for clients to read their last frames."""

GRPC_LIMITS = Limits(max_message_bytes=1024 * 1024, drain_timeout=0.5, close_timeout=0.5)
"""No configuration allows longer frames. The sessions of a gateway that stops have ended before gRPC drains."""

BACKLOG = 1024
"""Connections that may wait to be accepted."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """A gateway that serves, its addresses, and the ports that it listens on."""

    gateway: Gateway
    address: GatewayAddress
    websocket_port: int
    grpc_port: int
    health_port: int


@with_role("gateway")
@asynccontextmanager
async def open_gateway(
    settings: GatewaySettings,
    platform: Platform,
    *,
    history: History,
    health: Health,
    previewer: Previewer | None = None,
) -> AsyncIterator[RunningGateway]:
    """Serve sessions while the block is open. It is entered once this gateway owns its first assignment of partitions,
    except those that the log can't look up or fence yet, which leave it unready. Without a previewer, links in messages
    get no previews.

    Leaving it answers the messages in flight, sends every client Reconnect, and closes, within DRAIN_SECONDS and the
    time that gRPC takes to close.
    """
    tls = platform.tls
    websocket_listeners = await listen(settings.host, settings.websocket_port, backlog=BACKLOG, tls=tls)
    grpc_listeners = await listen(settings.host, settings.grpc_port, backlog=BACKLOG, tls=tls, alpn="h2")
    websocket_port, grpc_port = port_of(websocket_listeners), port_of(grpc_listeners)
    scheme = SECURE if tls else ""
    address = GatewayAddress(
        websocket=settings.public_websocket or f"{'wss' if tls else 'ws'}://:{websocket_port}{PATH}",
        grpc=settings.public_grpc or f"{scheme}:{grpc_port}",
        internal=settings.internal_grpc or f"{scheme}{connectable_host(settings.host)}:{grpc_port}",
    )
    verifier = TokenVerifier(platform.accounts)
    gateway = Gateway(
        address=address,
        backplane=platform.backplane,
        accounts=platform.accounts,
        verifier=verifier,
        history=history,
        directory=platform.directory,
        live=platform.live,
        ids=platform.ids,
        signals=platform.signals,
        previewer=previewer,
    )
    flusher = Flusher()
    health.add("partitions", "the users of this gateway's partitions are served", gateway.log_consumer.check)
    add_certificate_check(health, tls)
    departures = DepartureTokens(platform.accounts, SigningKeys(platform.accounts))
    groups = GroupService(gateway.sequencer, verifier, departures, platform.live)
    own_services: list[Servicer] = [SessionService(gateway, flusher), groups]
    services: list[Servicer] = [*own_services, *standard_services(own_services, health)]
    websocket_admission, grpc_admission = (
        platform.connections.add_listener(trusted_proxies=settings.trusted_proxies) for _ in range(2)
    )
    websocket = WebSocketServer(gateway, flusher, settings.allowed_origins, websocket_admission)
    async with open_background() as nursery:
        nursery.start_soon(gateway.tick_forever)
        nursery.start_soon(flusher.run)
        nursery.start_soon(websocket.ping_forever)
        nursery.start_soon(gateway.sequencer.run)
        nursery.start_soon(gateway.follows.run)
        if gateway.previews is not None:
            nursery.start_soon(gateway.previews.run)
        await nursery.start(serve_listeners, websocket.serve_connection, websocket_listeners)
        rpc = await nursery.start(
            partial(
                serve_rpc,
                services,
                grpc_listeners,
                interceptors=grpc_interceptors(groups),
                limits=GRPC_LIMITS,
                admission=grpc_admission,
            )
        )
        with serve_role("gateway", health.ready), register_readings(gateway_readings(gateway, websocket, rpc)):
            health_port = await nursery.start(
                partial(
                    serve_health,
                    health,
                    settings.host,
                    settings.health_port,
                    tls=tls,
                    turns=platform.connections.turns,
                )
            )
            await nursery.start(gateway.signals.run)  # before partitions are assigned: their owner is asked at once
            # After the listeners serve: while tails are read, a client gets an answer, and not silence until it gives
            # up, and probes learn that the process is live, which counts as started if it had to wait for an engine.
            await nursery.start(gateway.log_consumer.run)
            yield RunningGateway(gateway, address, websocket_port, grpc_port, health_port)
            await _drain(gateway)


def grpc_interceptors(groups: GroupService) -> list[Interceptor]:
    """Return the interceptors of a gateway's gRPC server, the outermost first.

    Without `trace_calls`: the frames of sessions are traced, each on its own; GroupService samples its calls. Calls of
    `groups` have a bound while their tokens are verified, on connections on which nobody has signed in; the sessions
    have their own.
    """
    return [
        count_calls,
        log_calls,
        bound_strangers(MAX_STRANGERS),
        bound_strangers(MAX_REFLECTIONS, REFLECTION),
        bound_strangers(MAX_STRANGERS, (groups.service.name,)),
    ]


async def _drain(gateway: Gateway) -> None:
    sessions = len(gateway.registry)
    with trio.move_on_after(DRAIN_SECONDS) as scope:
        await gateway.drain()
    _log.info("gateway_drained", sessions=sessions, left=len(gateway.registry), in_time=not scope.cancelled_caught)
