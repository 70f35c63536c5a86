"""`rookery bff`, `rookery gateway`, `rookery archive`: one role in a process of its own, of which there are many."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from bff.app import open_bff
from bff.archive import RpcArchive
from messaging.archive import open_archive
from messaging.gateway.history import ArchiveHistory
from messaging.gateway.role import open_gateway
from rookery.serve.engines import (
    open_accounts,
    open_backplane,
    open_chats,
    open_configuration,
    open_coordination,
    open_processes,
)
from rookery.serve.process import keep_levels, native, started, url
from rookery.serve.reports import archive_figures, gateway_figures, instance_of
from shared.accounts.tokens import TokenVerifier
from shared.configuration.live import open_live
from shared.coordination.processes import open_reports
from shared.net.addresses import GrpcAddress
from shared.net.tls import Tls, open_tls
from shared.rpc import Balancer, Prepare, open_balancer
from shared.rpc.client.prepare import propagate_trace, send_token
from shared.settings import Settings
from shared.telemetry.health import Health


@asynccontextmanager
async def open_bff_alone(settings: Settings) -> AsyncIterator[Sequence[str]]:
    """The HTTP API and the page. Gives what to tell a person. Raises Unavailable, UnusableCertificate or OSError."""
    health = Health()
    async with (
        open_tls(settings.tls) as tls,
        open_backplane(settings) as backplane,
        open_accounts(settings) as accounts,
        open_coordination(settings) as coordination,
        open_live(coordination.configuration, on_change=keep_levels(settings)) as live,
        open_reports(coordination.processes, instance_of(settings)) as reports,
        open_archives(settings, tls) as archives,
        open_bff(
            settings.bff,
            accounts=accounts,
            archive=RpcArchive(archives),
            directory=coordination.directory,
            live=live,
            configuration=coordination.configuration,
            processes=coordination.processes,
            publisher=backplane,
            health=health,
            ids=coordination.ids,
            tls=tls.server,
            trust_traces=settings.traces.trust_callers,
        ) as bff,
        started(health),
    ):
        reports.add("bff", health)
        page = f"{url('http', settings.bff.host, bff.port, secure=tls.server is not None)}/"
        yield [f"Rookery's bff is ready: open {page}", f"  health     {page}readyz"]


@asynccontextmanager
async def open_gateway_alone(settings: Settings) -> AsyncIterator[Sequence[str]]:
    """Sessions of the users whose partitions fall to this gateway. Raises as the BFF does."""
    health = Health()
    async with (
        open_tls(settings.tls) as tls,
        open_backplane(settings) as backplane,
        open_accounts(settings) as accounts,
        open_coordination(settings) as coordination,
        open_live(coordination.configuration, on_change=keep_levels(settings)) as live,
        open_reports(coordination.processes, instance_of(settings)) as reports,
        open_archives(settings, tls) as archives,
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
            tls=tls.server,
        ) as gateway,
        started(health),
    ):
        reports.add("gateway", health, gateway_figures(gateway.gateway))
        host, secure = settings.gateway.host, tls.server is not None
        yield [
            "Rookery's gateway is ready",
            f"  browsers   {url('ws', host, gateway.websocket_port, secure=secure)}/session",
            f"  native     {native(host, gateway.grpc_port, secure=secure)} (gRPC)",
            f"  health     {url('http', host, gateway.health_port, secure=secure)}/readyz",
        ]


@asynccontextmanager
async def open_archive_alone(settings: Settings) -> AsyncIterator[Sequence[str]]:
    """The recorder and the queries of history. Raises as the BFF does."""
    health = Health()
    async with (
        open_tls(settings.tls) as tls,
        open_backplane(settings) as backplane,
        open_chats(settings) as chats,
        open_configuration(settings) as configuration,
        open_live(configuration, on_change=keep_levels(settings)),
        open_processes(settings) as processes,
        open_reports(processes, instance_of(settings)) as reports,
        open_archive(
            settings.archive,
            backplane=backplane,
            chats=chats,
            health=health,
            tokens=settings.archive_tokens,
            tls=tls.server,
        ) as archive,
        started(health),
    ):
        reports.add("archive", health, archive_figures(archive.recorder))
        host, secure = settings.archive.host, tls.server is not None
        yield [
            "Rookery's archive is ready",
            f"  archive    {native(host, archive.port, secure=secure)} (gRPC)",
            f"  health     {url('http', host, archive.health_port, secure=secure)}/readyz",
        ]


def prepare_queries(settings: Settings) -> list[Prepare]:
    """What goes with each call to an archive: the trace, and the token that archives ask for."""
    return [propagate_trace, *map(send_token, settings.archive_tokens[:1])]


def open_archives(settings: Settings, tls: Tls) -> AbstractAsyncContextManager[Balancer]:
    """The archives of the settings, all of them with TLS or none."""
    addresses = [GrpcAddress.parse(address) for address in settings.archives]
    context = tls.to_archives() if addresses[0].is_secure else None
    return open_balancer([address.target for address in addresses], tls=context, prepare=prepare_queries(settings))
