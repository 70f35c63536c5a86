"""`rookery up`: the whole platform in one process, on the embedded engines or on those that the settings name."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from bff.app import open_bff
from bff.archive import RpcArchive
from messaging.archive import open_archive
from messaging.gateway.history import ArchiveHistory
from messaging.gateway.role import open_gateway
from rookery.engines import open_accounts, open_backplane, open_chats, open_coordination
from rookery.migrate import migrate_engines
from rookery.process import shown, started
from shared.auth import TokenVerifier
from shared.configuration.live import open_live
from shared.rpc import open_channel
from shared.settings import Settings
from shared.telemetry.health import Health


@asynccontextmanager
async def open_platform(settings: Settings) -> AsyncIterator[Sequence[str]]:
    """Engines, then archive, gateway and BFF; closed in the other order, so that nothing loses what it stands on.

    Gives what to tell a person. Raises LogInUse, Unavailable or OSError, each saying what is wrong.
    """
    bff_health, gateway_health, archive_health = Health(), Health(), Health()
    await migrate_engines(settings)
    async with (
        open_backplane(settings) as backplane,
        open_accounts(settings) as accounts,
        open_chats(settings) as chats,
        open_coordination(settings) as coordination,
        open_live(coordination.configuration) as live,
        open_archive(settings.archive, backplane=backplane, chats=chats, health=archive_health) as archive,
        open_channel("127.0.0.1", archive.port) as channel,
        open_gateway(
            settings.gateway,
            backplane=backplane,
            accounts=accounts,
            verifier=TokenVerifier(accounts),
            history=ArchiveHistory(channel),
            directory=coordination.directory,
            live=live,
            ids=coordination.ids,
            health=gateway_health,
        ) as gateway,
        open_bff(
            settings.bff,
            accounts=accounts,
            archive=RpcArchive(channel),
            directory=coordination.directory,
            live=live,
            publisher=backplane,
            health=bff_health,
            ids=coordination.ids,
        ) as bff,
        started(bff_health, gateway_health, archive_health),
    ):
        page = f"http://{shown(settings.bff.host)}:{bff.port}/"
        gateway_host, archive_host = shown(settings.gateway.host), shown(settings.archive.host)
        yield [
            f"Rookery is ready: open {page}",
            f"  browsers   ws://{gateway_host}:{gateway.websocket_port}/session",
            f"  native     {gateway_host}:{gateway.grpc_port} (gRPC)",
            f"  archive    {archive_host}:{archive.port} (gRPC)",
            f"  health     {page}readyz, http://{gateway_host}:{gateway.health_port}/readyz, "
            f"http://{archive_host}:{archive.health_port}/readyz",
        ]
