"""`rookery up`: the whole platform in one process, on the embedded engines."""

import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import click
import structlog
import trio

from bff.app import open_bff
from bff.archive import RpcArchive
from messaging.archive import open_archive
from messaging.gateway.history import ArchiveHistory
from messaging.gateway.role import open_gateway
from rookery.folder import DataFolder
from shared.auth import TokenVerifier
from shared.background import open_background
from shared.backplane.embedded import LogInUse, open_embedded_log
from shared.configuration.live import open_live
from shared.configuration.sqlite import open_sqlite_configuration
from shared.garbage import collect_for_ever
from shared.ids import SnowflakeGenerator
from shared.ownership import LocalDirectory
from shared.rpc import open_channel
from shared.settings import Settings
from shared.stores.accounts_sqlite import open_sqlite_accounts
from shared.stores.chats_sqlite import open_sqlite_chats
from shared.telemetry.health import Health
from shared.telemetry.logs import configure_logs

GENERATOR = 0
"""The embedded log is open in one process at a time, so that this generator number is leased with it."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a running platform listens."""

    page: str
    websocket: str
    grpc: str
    archive: str
    gateway_health: str
    archive_health: str


async def run(settings: Settings) -> int:
    """Serve until SIGINT or SIGTERM; the exit code. A second signal, or the deadline, ends what still drains."""
    configure_logs(settings.log_level)
    with trio.CancelScope() as everything:
        async with open_background() as nursery:
            stop = trio.Event()
            await nursery.start(_watch_signals, stop, everything, settings.stop_deadline)
            try:
                async with open_platform(settings) as addresses:
                    nursery.start_soon(collect_for_ever)
                    _announce(addresses)
                    await stop.wait()
            except LogInUse as error:
                raise click.ClickException(f"{error}: stop it first, or set ROOKERY_DATA to another folder") from error
    _log.info("stopped", in_time=not everything.cancelled_caught)
    return 1 if everything.cancelled_caught else 0


@asynccontextmanager
async def open_platform(settings: Settings) -> AsyncIterator[Addresses]:
    """Engines, then archive, gateway and BFF; closed in the other order, so that nothing loses what it stands on.

    Raises LogInUse, Unavailable or OSError, each saying what is wrong.
    """
    folder = DataFolder(settings.data)
    ids = SnowflakeGenerator(GENERATOR)
    directory = LocalDirectory()
    health = {role: Health() for role in ("bff", "gateway", "archive")}
    async with (
        open_embedded_log(
            folder.log, partitions=settings.log.partitions, retention_hours=settings.log.retention_hours
        ) as log,
        open_sqlite_accounts(folder.accounts) as accounts,
        open_sqlite_chats(folder.chats) as chats,
        open_sqlite_configuration(folder.configuration) as configuration,
        open_live(configuration) as live,
        open_archive(settings.archive, backplane=log, chats=chats, health=health["archive"]) as archive,
        open_channel("127.0.0.1", archive.port) as channel,
        open_gateway(
            settings.gateway,
            backplane=log,
            accounts=accounts,
            verifier=TokenVerifier(accounts),
            history=ArchiveHistory(channel),
            directory=directory,
            live=live,
            ids=ids,
            health=health["gateway"],
        ) as gateway,
        open_bff(
            settings.bff,
            accounts=accounts,
            archive=RpcArchive(channel),
            directory=directory,
            live=live,
            publisher=log,
            health=health["bff"],
            ids=ids,
        ) as bff,
    ):
        for each in health.values():
            each.started()
        yield Addresses(
            page=f"http://{_shown(settings.bff.host)}:{bff.port}/",
            websocket=f"ws://{_shown(settings.gateway.host)}:{gateway.websocket_port}/session",
            grpc=f"{_shown(settings.gateway.host)}:{gateway.grpc_port}",
            archive=f"{_shown(settings.archive.host)}:{archive.port}",
            gateway_health=f"http://{_shown(settings.gateway.host)}:{gateway.health_port}/readyz",
            archive_health=f"http://{_shown(settings.archive.host)}:{archive.health_port}/readyz",
        )
        for each in health.values():
            each.draining()


async def _watch_signals(
    stop: trio.Event, everything: trio.CancelScope, deadline: float, *, task_status: trio.TaskStatus[None]
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            if stop.is_set():
                everything.cancel()
                return
            _log.info("stopping", signal=signal.Signals(number).name, deadline_seconds=deadline)
            everything.deadline = trio.current_time() + deadline
            stop.set()


def _announce(addresses: Addresses) -> None:
    """Tell a person where to go: on stdout, while the logs are on stderr."""
    click.echo(f"Rookery is ready: open {addresses.page}")
    click.echo(f"  browsers   {addresses.websocket}")
    click.echo(f"  native     {addresses.grpc} (gRPC)")
    click.echo(f"  archive    {addresses.archive} (gRPC)")
    click.echo(f"  health     {addresses.page}readyz, {addresses.gateway_health}, {addresses.archive_health}")
    sys.stdout.flush()


def _shown(host: str) -> str:
    """A host that a person can open, for one that means all of this machine's addresses."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared, not bound
