"""Opens and stops an archive: its recorder, its query service, its sweep of files and its health."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from messaging.archive.measures import archive_readings
from messaging.archive.queries import ArchiveQueries
from messaging.archive.recorder import Recorder
from messaging.archive.store.protocol import ChatStore
from messaging.archive.sweep import Sweep, sweep_hourly
from shared.background import open_background
from shared.backplane import Backplane
from shared.net.admission import ConnectionBudget
from shared.net.health_server import serve_health
from shared.net.listening import listen, port_of
from shared.net.tls import ServerTls, add_certificate_check
from shared.rpc import Limits, Servicer, serve_rpc
from shared.rpc.server.interceptors import (
    MAX_REFLECTIONS,
    authenticate,
    bound_strangers,
    count_calls,
    equals,
    except_standard,
    limit_calls,
    log_calls,
    trace_calls,
)
from shared.rpc.server.standard_services import REFLECTION, STANDARD_SERVICES, standard_services
from shared.settings import ArchiveSettings
from shared.telemetry.health import Health
from shared.telemetry.logs import with_role
from shared.telemetry.metrics import register_readings, serve_role

GRPC_LIMITS = Limits(max_message_bytes=64 * 1024, drain_timeout=0.5, close_timeout=0.5)
"""Queries have some 200 bytes; a message that unpacks to more than the limit is refused. A query takes milliseconds, so
a stop need not wait long for running ones."""

MAX_QUERIES = 1_000
"""Concurrent queries: more than a store answers within a caller's deadline."""

ANY_MESSAGE = "d-1-2", 1
"""The message that a health check reads. It need not exist."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A running archive and its ports."""

    recorder: Recorder
    port: int
    health_port: int


@with_role("archive")
@asynccontextmanager
async def open_archive(
    settings: ArchiveSettings,
    *,
    backplane: Backplane,
    chats: ChatStore,
    health: Health,
    sweep: Sweep | None = None,
    tokens: Sequence[str] = (),
    tls: ServerTls | None = None,
    budget: ConnectionBudget | None = None,
) -> AsyncIterator[Archive]:
    """Record the log, answer queries, and run the `sweep` of files, while the block is open.

    Leaving it records and commits the current batch, and waits for running queries, within 2 seconds. The archive opens
    even if the store or the log does not answer: recording waits for it, and queries are refused meanwhile. Only the
    store makes the archive unready, since readiness is for queries. With `tokens`, a query needs one of them. A
    connection counts as authenticated once its token or its certificate is accepted; all do if neither is required.
    """
    health.add("chats", "the store of chats and history answers", partial(chats.get_message, *ANY_MESSAGE))
    add_certificate_check(health, tls)
    recorder = Recorder(backplane, chats)
    queries = ArchiveQueries(chats, backplane.partitions)
    services: list[Servicer] = [queries, *standard_services([queries], health)]
    interceptors = [count_calls, trace_calls, log_calls, except_standard(limit_calls(total=MAX_QUERIES))]
    if tokens:
        interceptors.append(authenticate(equals(*tokens), optional_for=STANDARD_SERVICES))
    interceptors += [bound_strangers(), bound_strangers(MAX_REFLECTIONS, REFLECTION)]
    budget = budget or ConnectionBudget()
    admission = budget.add_listener(trusts_peers=not tokens and not (tls is not None and tls.rejects_strangers))
    listeners = await listen(settings.host, settings.grpc_port, tls=tls, alpn="h2", trusted_clients_only=True)
    async with open_background() as nursery:
        nursery.start_soon(recorder.run)
        nursery.start_soon(queries.run)
        if sweep is not None:
            nursery.start_soon(sweep_hourly, sweep, lambda: recorder.has_first_partition)
        rpc = await nursery.start(
            partial(
                serve_rpc,
                services,
                listeners,
                interceptors=interceptors,
                limits=GRPC_LIMITS,
                admission=admission,
            )
        )
        with serve_role("archive", health.ready), register_readings(archive_readings(recorder, rpc)):
            health_port = await nursery.start(
                partial(serve_health, health, settings.host, settings.health_port, tls=tls, turns=budget.turns)
            )
            yield Archive(recorder, port_of(listeners), health_port)
