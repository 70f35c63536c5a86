"""`rookery up`: the whole platform in one process, on the embedded engines or on those that the settings name."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from bff.app import open_bff
from bff.archive import RpcArchive
from messaging.archive import open_archive
from messaging.gateway.history import ArchiveHistory
from messaging.gateway.role import open_gateway
from rookery.serve.engines import open_accounts, open_backplane, open_chats, open_coordination
from rookery.serve.migrate import migrate_engines
from rookery.serve.process import keep_levels, native, shown, started, url
from rookery.serve.reports import archive_figures, gateway_figures, instance_of
from rookery.serve.roles import prepare_queries
from shared.accounts.tokens import TokenVerifier
from shared.configuration.live import open_live
from shared.coordination.processes import open_reports
from shared.net.tls import open_tls
from shared.rpc import open_channel
from shared.settings import Settings
from shared.telemetry.health import Health


@asynccontextmanager
async def open_platform(settings: Settings) -> AsyncIterator[Sequence[str]]:
    """Engines, then archive, gateway and BFF; closed in the other order, so that nothing loses what it stands on.

    Gives what to tell a person. Raises LogInUse, Unavailable, UnusableCertificate or OSError, which say what is wrong.
    """
    bff_health, gateway_health, archive_health = Health(), Health(), Health()
    await migrate_engines(settings)
    async with (
        open_tls(settings.tls) as tls,
        open_backplane(settings) as backplane,
        open_accounts(settings) as accounts,
        open_chats(settings) as chats,
        open_coordination(settings) as coordination,
        open_live(coordination.configuration, on_change=keep_levels(settings)) as live,
        open_reports(coordination.processes, instance_of(settings)) as reports,
        open_archive(
            settings.archive,
            backplane=backplane,
            chats=chats,
            health=archive_health,
            tokens=settings.archive_tokens,
            tls=tls.server,
        ) as archive,
        open_channel(
            shown(settings.archive.host).strip("[]"),
            archive.port,
            tls=tls.to_itself() if tls.server else None,
            prepare=prepare_queries(settings),
        ) as channel,
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
            tls=tls.server,
        ) as gateway,
        open_bff(
            settings.bff,
            accounts=accounts,
            archive=RpcArchive(channel),
            directory=coordination.directory,
            live=live,
            configuration=coordination.configuration,
            processes=coordination.processes,
            publisher=backplane,
            health=bff_health,
            ids=coordination.ids,
            tls=tls.server,
            trust_traces=settings.traces.trust_callers,
        ) as bff,
        started(bff_health, gateway_health, archive_health),
    ):
        reports.add("archive", archive_health, archive_figures(archive.recorder))
        reports.add("gateway", gateway_health, gateway_figures(gateway.gateway))
        reports.add("bff", bff_health)
        secure, gateway_host, archive_host = tls.server is not None, settings.gateway.host, settings.archive.host
        page = f"{url('http', settings.bff.host, bff.port, secure=secure)}/"
        yield [
            f"Rookery is ready: open {page}",
            f"  browsers   {url('ws', gateway_host, gateway.websocket_port, secure=secure)}/session",
            f"  native     {native(gateway_host, gateway.grpc_port, secure=secure)} (gRPC)",
            f"  archive    {native(archive_host, archive.port, secure=secure)} (gRPC)",
            f"  health     {page}readyz, {url('http', gateway_host, gateway.health_port, secure=secure)}/readyz, "
            f"{url('http', archive_host, archive.health_port, secure=secure)}/readyz",
        ]
