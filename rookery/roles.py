"""`rookery bff`, `rookery gateway`, `rookery archive`: one role in a process of its own, of which there are many."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from bff.app import open_bff
from bff.archive import RpcArchive
from messaging.archive import open_archive
from messaging.gateway.history import ArchiveHistory
from messaging.gateway.role import open_gateway
from rookery.engines import open_accounts, open_backplane, open_chats, open_coordination
from rookery.process import shown, started
from shared.auth import TokenVerifier
from shared.configuration.live import open_live
from shared.rpc import open_balancer
from shared.settings import Settings
from shared.telemetry.health import Health


@asynccontextmanager
async def open_bff_alone(settings: Settings) -> AsyncIterator[Sequence[str]]:
    """The HTTP API and the page. Gives what to tell a person. Raises Unavailable or OSError."""
    health = Health()
    async with (
        open_backplane(settings) as backplane,
        open_accounts(settings) as accounts,
        open_coordination(settings) as coordination,
        open_live(coordination.configuration) as live,
        open_balancer(settings.archives) as archives,
        open_bff(
            settings.bff,
            accounts=accounts,
            archive=RpcArchive(archives),
            directory=coordination.directory,
            live=live,
            publisher=backplane,
            health=health,
            ids=coordination.ids,
        ) as bff,
        started(health),
    ):
        page = f"http://{shown(settings.bff.host)}:{bff.port}/"
        yield [f"Rookery's bff is ready: open {page}", f"  health     {page}readyz"]


@asynccontextmanager
async def open_gateway_alone(settings: Settings) -> AsyncIterator[Sequence[str]]:
    """Sessions of the users whose partitions fall to this gateway. Raises Unavailable or OSError."""
    health = Health()
    async with (
        open_backplane(settings) as backplane,
        open_accounts(settings) as accounts,
        open_coordination(settings) as coordination,
        open_live(coordination.configuration) as live,
        open_balancer(settings.archives) as archives,
        open_gateway(
            settings.gateway,
            backplane=backplane,
            accounts=accounts,
            verifier=TokenVerifier(accounts),
            history=ArchiveHistory(archives),
            directory=coordination.directory,
            live=live,
            ids=coordination.ids,
            health=health,
        ) as gateway,
        started(health),
    ):
        host = shown(settings.gateway.host)
        yield [
            "Rookery's gateway is ready",
            f"  browsers   ws://{host}:{gateway.websocket_port}/session",
            f"  native     {host}:{gateway.grpc_port} (gRPC)",
            f"  health     http://{host}:{gateway.health_port}/readyz",
        ]


@asynccontextmanager
async def open_archive_alone(settings: Settings) -> AsyncIterator[Sequence[str]]:
    """The recorder and the queries of history. Raises Unavailable or OSError."""
    health = Health()
    async with (
        open_backplane(settings) as backplane,
        open_chats(settings) as chats,
        open_archive(settings.archive, backplane=backplane, chats=chats, health=health) as archive,
        started(health),
    ):
        host = shown(settings.archive.host)
        yield [
            "Rookery's archive is ready",
            f"  archive    {host}:{archive.port} (gRPC)",
            f"  health     http://{host}:{archive.health_port}/readyz",
        ]
