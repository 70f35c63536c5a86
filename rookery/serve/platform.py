"""The platform of one process: its engines, opened once, and on them the roles that the process runs.

Read this file first: it is the table of contents. `engines.py` chooses each engine, `process.py` runs the result.
"""

import ssl
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Literal

from bff.app import open_bff
from bff.files.scanner import scanner_of
from bff.group_client import open_group_client
from bff.services import ARCHIVE_TIMEOUT
from messaging.archive.role import open_archive
from messaging.archive.sweep import Sweep
from messaging.gateway.history import ArchiveHistory
from messaging.gateway.role import open_gateway
from messaging.previews.previewer import open_previewer
from rookery.serve.engines import (
    Coordination,
    open_accounts,
    open_backplane,
    open_chats,
    open_coordination,
    open_files,
    open_loaded_routing,
    open_own_files,
    platform_of,
)
from rookery.serve.migrate import migrate_engines
from rookery.serve.process import apply_log_levels, grpc_address, started, url
from rookery.serve.reports import archive_stats, gateway_stats
from rookery.serve.waiting import Waiting, open_waiting
from shared.accounts.store import AccountStore
from shared.archive import ArchiveClient
from shared.backplane import Backplane
from shared.configuration.live import Live, open_live
from shared.contract.addresses import SECURE, GrpcAddress, connectable_host
from shared.coordination.processes import Reports, open_reports
from shared.net.admission import ConnectionBudget, ConnectionLimits
from shared.net.tls import Tls, open_tls
from shared.platform import Platform
from shared.rpc import Balancer, Channel, Prepare, open_balancer, open_channel
from shared.rpc.client.prepare import propagate_trace, send_token
from shared.settings import Settings
from shared.telemetry.health import Health

Role = Literal["archive", "gateway", "bff"]

ROLES: tuple[Role, ...] = ("archive", "gateway", "bff")
"""In the order in which they open. They close in reverse, so that no role loses a role that it calls."""


Archives = Channel | Balancer
"""The connection to one archive, or to several."""


@dataclass(frozen=True, slots=True)
class Foundation:
    """The part of a process that every role uses, and the announcement of all roles."""

    settings: Settings
    tls: Tls
    backplane: Backplane
    accounts: AccountStore
    coordination: Coordination
    live: Live
    reports: Reports
    announcement: "Announcement"
    connections: ConnectionBudget
    waiting: Waiting
    health: dict[Role, Health] = field(default_factory=dict)


@asynccontextmanager
async def open_platform(settings: Settings, roles: Collection[Role] = ROLES) -> AsyncIterator[Sequence[str]]:
    """Open the engines and then the roles, and yield the lines that list their addresses.

    Raises LogInUse, Unavailable, UnusableCertificate or OSError, whose texts name the cause.
    """
    async with _open_foundation(settings, roles) as foundation, AsyncExitStack() as stack:
        archive = await stack.enter_async_context(_open_archive(foundation)) if "archive" in roles else None
        if "gateway" in roles or "bff" in roles:
            platform = await stack.enter_async_context(_open_services(foundation))
            archives = await stack.enter_async_context(open_archives(settings, foundation.tls, archive))
            own = ""
            if "gateway" in roles:
                own = await stack.enter_async_context(_open_gateway(foundation, platform, archives))
            if "bff" in roles:
                await stack.enter_async_context(_open_bff(foundation, platform, archives, own_gateway=own))
        async with started(*foundation.health.values()):
            yield foundation.announcement.lines(roles)


@asynccontextmanager
async def _open_foundation(settings: Settings, roles: Collection[Role]) -> AsyncIterator[Foundation]:
    async with (
        open_tls(settings.tls) as tls,
        open_waiting(settings.engines, tls.server, _health_addresses(settings, roles)) as waiting,
        waiting.engine("kafka", partial(open_backplane, settings)) as backplane,
        waiting.engine("cassandra", partial(open_accounts, settings)) as accounts,
        waiting.engine("redis", partial(open_coordination, settings)) as coordination,
        open_live(coordination.configuration, on_change=apply_log_levels(settings)) as live,
        open_reports(coordination.processes, settings.process_name) as reports,
    ):
        yield Foundation(
            settings,
            tls,
            backplane,
            accounts,
            coordination,
            live,
            reports,
            Announcement(settings),
            ConnectionBudget(ConnectionLimits(**settings.connections.model_dump())),
            waiting,
        )


def _health_addresses(settings: Settings, roles: Collection[Role]) -> dict[str, tuple[str, int]]:
    """Where each role answers probes."""
    addresses: dict[Role, tuple[str, int]] = {
        "archive": (settings.archive.host, settings.archive.health_port),
        "gateway": (settings.gateway.host, settings.gateway.health_port),
        "bff": (settings.bff.host, settings.bff.probed_port),
    }
    return {role: addresses[role] for role in roles}


@asynccontextmanager
async def _open_archive(on: Foundation) -> AsyncIterator[int]:
    """Open the archive; yield the port of its gRPC listener."""
    health = on.health["archive"] = Health()
    settings = on.settings
    async with (
        on.waiting.engine("cassandra", partial(open_chats, settings)) as chats,
        open_own_files(settings) as files,
        on.waiting.end("archive"),
        open_archive(
            settings.archive,
            backplane=on.backplane,
            chats=chats,
            sweep=Sweep(chats, on.accounts, files, on.backplane.partitions, platform_of(settings)),
            health=health,
            tokens=settings.archive_tokens,
            tls=on.tls.server,
            budget=on.connections,
        ) as archive,
    ):
        on.reports.add("archive", health, archive_stats(archive.recorder))
        on.announcement.add_archive(archive.port, archive.health_port)
        yield archive.port


@asynccontextmanager
async def _open_services(on: Foundation) -> AsyncIterator[Platform]:
    """Open the services that the gateway and the BFF share."""
    async with on.waiting.engine("redis", partial(open_loaded_routing, on.coordination, on.live)) as routing:
        yield Platform(
            backplane=on.backplane,
            accounts=on.accounts,
            configuration=on.coordination.configuration,
            directory=routing.directory,
            ids=routing.ids,
            live=on.live,
            processes=on.coordination.processes,
            signals=routing.signals,
            tls=on.tls.server,
            connections=on.connections,
        )


@asynccontextmanager
async def _open_gateway(on: Foundation, platform: Platform, archives: Archives) -> AsyncIterator[str]:
    """Open the gateway; yield its address for other processes of the platform."""
    health = on.health["gateway"] = Health()
    async with (
        on.waiting.end("gateway"),
        open_previewer(on.settings.previews) as previewer,
        open_gateway(
            on.settings.gateway, platform, history=ArchiveHistory(archives), health=health, previewer=previewer
        ) as gateway,
    ):
        on.reports.add("gateway", health, gateway_stats(gateway.gateway))
        on.announcement.add_gateway(gateway.websocket_port, gateway.grpc_port, gateway.health_port)
        yield gateway.address.internal


@asynccontextmanager
async def _open_bff(on: Foundation, platform: Platform, archives: Archives, *, own_gateway: str) -> AsyncIterator[None]:
    """Open the BFF. `own_gateway` is the internal address of this process's gateway; empty if it has none."""
    health = on.health["bff"] = Health()
    contexts = GatewayContexts(on.tls, own_gateway)
    async with (
        on.waiting.end("bff"),
        open_files(on.settings) as files,
        open_group_client(platform.directory, platform.backplane.partitions, contexts.context) as groups,
        open_bff(
            on.settings.bff,
            platform,
            archive=ArchiveClient(archives, timeout=ARCHIVE_TIMEOUT),
            groups=groups,
            files=files,
            files_origin=on.settings.files.public_endpoint,
            scanner=scanner_of(on.settings.files),
            health=health,
            trust_traces=on.settings.traces.trust_callers,
        ) as bff,
    ):
        on.reports.add("bff", health)
        on.announcement.add_bff(bff.port, bff.health_port)
        yield


@asynccontextmanager
async def open_up(settings: Settings) -> AsyncIterator[Sequence[str]]:
    """Migrate the engines, then open every role in this process, as `rookery up` does."""
    if settings.engines:
        await _migrate(settings)
    async with open_platform(settings) as lines:
        yield lines


async def _migrate(settings: Settings) -> None:
    """Migrate the engines, once they answer. The health ports of all roles answer meanwhile."""
    engines = " and ".join(sorted(settings.engines))
    async with (
        open_tls(settings.tls) as tls,
        open_waiting(settings.engines, tls.server, _health_addresses(settings, ROLES)) as waiting,
    ):
        await waiting.until(engines, partial(migrate_engines, settings), "the migration has not ended yet")


def open_archives(settings: Settings, tls: Tls, local_port: int | None = None) -> AbstractAsyncContextManager[Archives]:
    """Open a channel to the archive of this process, or else a balancer over the archives of the settings.

    The archives of the settings use TLS all or none. Each call carries the trace and the token that archives ask for.
    """
    prepare: list[Prepare] = [propagate_trace, *map(send_token, settings.archive_tokens[:1])]
    if local_port is not None:
        host = connectable_host(settings.archive.host).strip("[]")
        context = tls.to_itself() if tls.server else None
        return open_channel(host, local_port, tls=context, prepare=prepare, is_measured=True)
    addresses = [GrpcAddress.parse(address) for address in settings.archives]
    context = tls.to_archives() if addresses[0].is_secure else None
    return open_balancer([address.target for address in addresses], tls=context, prepare=prepare)


class GatewayContexts:
    """The TLS contexts with which the BFF calls gateways: made at the first use, since most processes need one or
    none."""

    def __init__(self, tls: Tls, own_gateway: str) -> None:
        self._own_gateway = own_gateway
        self._to_itself = cache(tls.to_itself)
        self._to_others = cache(tls.to_archives)

    def context(self, address: str) -> ssl.SSLContext | None:
        """The context for the gateway at this address; None for plain text. Raises UnusableCertificate."""
        if not address.startswith(SECURE):
            return None
        return self._to_itself() if address == self._own_gateway else self._to_others()


@dataclass
class Announcement:
    """The addresses of the roles of this process, as lines for a person. The role that opened last comes first."""

    settings: Settings
    page: str = ""
    addresses: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)

    def add_archive(self, port: int, health_port: int) -> None:
        self._add_grpc("archive", self.settings.archive.host, port)
        self._add_health(self.settings.archive.host, health_port)

    def add_gateway(self, websocket_port: int, grpc_port: int, health_port: int) -> None:
        host = self.settings.gateway.host
        self._add_grpc("native", host, grpc_port)
        self.addresses.insert(0, f"  browsers   {self._url('ws', host, websocket_port)}/session")
        self._add_health(host, health_port)

    def add_bff(self, port: int, health_port: int | None) -> None:
        self.page = f"{self._url('http', self.settings.bff.host, port)}/"
        self._add_health(self.settings.bff.host, port if health_port is None else health_port)

    def lines(self, roles: Collection[Role]) -> list[str]:
        name = "Rookery" if len(roles) == len(ROLES) else f"Rookery's {' and '.join(roles)}"
        title = f"{name} is ready" + (f": open {self.page}" if self.page else "")
        return [title, *self.addresses, f"  health     {', '.join(self.health)}"]

    def _add_grpc(self, name: str, host: str, port: int) -> None:
        self.addresses.insert(0, f"  {name:10} {grpc_address(host, port, secure=self._is_secure)} (gRPC)")

    def _add_health(self, host: str, port: int) -> None:
        self.health.insert(0, f"{self._url('http', host, port)}/readyz")

    def _url(self, scheme: str, host: str, port: int) -> str:
        return url(scheme, host, port, secure=self._is_secure)

    @property
    def _is_secure(self) -> bool:
        return self.settings.tls.certificate_file is not None
