"""Opens the engines that the settings choose: for each protocol the embedded twin, or the distributed one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from messaging.archive.store.protocol import ChatStore
from rookery.serve.folder import DataFolder
from rookery.serve.measures import disk_readings, log_readings
from shared.accounts.store import AccountStore
from shared.background import open_background
from shared.backplane import Backplane
from shared.backplane.measured import MeasuredLog
from shared.configuration import ConfigurationStore, Live
from shared.contract.ids import SnowflakeGenerator
from shared.coordination.ownership import Directory, LocalDirectory
from shared.coordination.processes import LocalProcessRegistry, ProcessRegistry
from shared.drivers.measured import measured_store
from shared.files.owner import claim
from shared.files.protocol import FileStore
from shared.settings import Settings
from shared.signals.memory import LocalSignals
from shared.signals.protocol import Signals
from shared.telemetry.metrics import register_readings

if TYPE_CHECKING:
    from shared.drivers.redis import RedisClient

EMBEDDED = "the embedded engines"
"""The name of an embedded platform, in the store of files that belongs to it."""

GENERATOR = 0
"""The embedded log is open in one process at a time, so that this generator number is leased with it."""


@dataclass(frozen=True, slots=True)
class Coordination:
    """The state that the processes of a platform share. `redis` is the open client that keeps it, None if embedded."""

    settings: Settings
    configuration: ConfigurationStore
    processes: ProcessRegistry
    redis: "RedisClient | None" = None


@dataclass(frozen=True, slots=True)
class Routing:
    """The directory of partition owners, the generator of unique ids, and signals: for gateways and BFFs."""

    directory: Directory
    ids: SnowflakeGenerator
    signals: Signals


@asynccontextmanager
async def open_backplane(settings: Settings) -> AsyncIterator[Backplane]:
    """Open the log. Raises Unavailable, or LogInUse if another process has the embedded log open."""
    if "kafka" in settings.engines:
        from shared.backplane.kafka.backplane import open_kafka

        async with open_kafka(settings.kafka) as kafka:
            with register_readings(log_readings(kafka.statistics)):
                yield MeasuredLog(kafka)
    else:
        from shared.backplane.sqlite.log import open_sqlite_log
        from shared.backplane.sqlite.spool import publish_spool
        from shared.net.turns import FILES

        hours, partitions = settings.log.retention_hours, settings.log.partitions
        folder = DataFolder(settings.data)
        async with (
            open_sqlite_log(folder.log, partitions=partitions, retention_hours=hours) as log,
            open_background() as nursery,
        ):
            nursery.start_soon(publish_spool, folder.spool, log)
            readings = {**log_readings(log.statistics), **disk_readings(settings.data)}
            with FILES.giving_way_to(lambda: log.is_publishing), register_readings(readings):
                yield MeasuredLog(log)


@asynccontextmanager
async def open_accounts(settings: Settings) -> AsyncIterator[AccountStore]:
    """Open the account store. Raises Unavailable."""
    if "cassandra" in settings.engines:
        from rookery.serve.schema import MIGRATIONS
        from shared.accounts.cassandra.store import open_cassandra_accounts
        from shared.drivers.cassandra import open_cassandra

        async with (
            open_cassandra(settings.cassandra, MIGRATIONS) as session,
            open_cassandra_accounts(session) as accounts,
        ):
            yield measured_store(accounts, "accounts")
    else:
        from shared.accounts.sqlite.store import open_sqlite_accounts

        async with open_sqlite_accounts(DataFolder(settings.data).accounts) as embedded:
            yield measured_store(embedded, "accounts")


@asynccontextmanager
async def open_chats(settings: Settings) -> AsyncIterator[ChatStore]:
    """Open the chat store. Raises Unavailable."""
    if "cassandra" in settings.engines:
        from messaging.archive.store.cassandra.store import open_cassandra_chats
        from rookery.serve.schema import MIGRATIONS
        from shared.drivers.cassandra import open_cassandra

        async with open_cassandra(settings.cassandra, MIGRATIONS) as session, open_cassandra_chats(session) as chats:
            yield measured_store(chats, "chats")
    else:
        from messaging.archive.store.sqlite.store import open_sqlite_chats

        async with open_sqlite_chats(DataFolder(settings.data).chats) as embedded:
            yield measured_store(embedded, "chats")


@asynccontextmanager
async def open_files(settings: Settings) -> AsyncIterator[FileStore]:
    """Open the store of files' bytes. Raises Unavailable or UnusableCertificate."""
    if settings.files.url:
        from shared.files.s3.store import open_s3_files

        async with open_s3_files(settings.files) as files:
            yield files
    else:
        from shared.files.folder import open_folder_files

        async with open_folder_files(DataFolder(settings.data).files) as embedded:
            yield embedded


@asynccontextmanager
async def open_own_files(settings: Settings) -> AsyncIterator[FileStore]:
    """Open the store of files' bytes to sweep it. Raises as `open_files` does, and Unavailable if the folder belongs to
    another platform. The sweep compares the owner of a bucket, which may not answer yet."""
    async with open_files(settings) as files:
        if not settings.files.url:
            former = EMBEDDED if DataFolder(settings.data).chats.exists() else ""
            await claim(files, platform_of(settings), former=former)
        yield files


def platform_of(settings: Settings) -> str:
    """Return the name of the platform, by the store that has its file table."""
    if "cassandra" in settings.engines:
        return f"Cassandra's keyspace {settings.cassandra.keyspace}"
    return EMBEDDED


@asynccontextmanager
async def open_coordination(settings: Settings) -> AsyncIterator[Coordination]:
    """Open the live configuration and the registry of processes. Raises Unavailable."""
    if "redis" in settings.engines:
        from shared.configuration.redis import open_redis_configuration
        from shared.coordination.redis.processes import RedisProcessRegistry
        from shared.drivers.redis import open_redis

        prefix = settings.redis.prefix
        async with (
            open_redis(settings.redis) as client,
            open_redis_configuration(client, prefix) as redis_configuration,
        ):
            yield Coordination(settings, redis_configuration, RedisProcessRegistry(client, prefix), client)
    else:
        from shared.configuration.sqlite import open_sqlite_configuration

        folder = DataFolder(settings.data)
        async with open_sqlite_configuration(folder.configuration) as configuration:
            yield Coordination(settings, configuration, LocalProcessRegistry(folder.processes))


@asynccontextmanager
async def open_routing(coordination: Coordination) -> AsyncIterator[Routing]:
    """Open the directory of partition owners and the signals, and lease a generator number for ids. Raises Unavailable
    until the first number is leased."""
    if coordination.redis is None:
        yield Routing(LocalDirectory(), SnowflakeGenerator(GENERATOR), LocalSignals())
    else:
        from shared.coordination.redis.leases import open_generator_lease
        from shared.coordination.redis.ownership import open_redis_directory
        from shared.signals.redis import open_redis_signals

        prefix = coordination.settings.redis.prefix
        async with (
            open_redis_directory(coordination.redis, prefix) as directory,
            open_generator_lease(coordination.redis, prefix) as lease,
            open_redis_signals(coordination.settings.redis) as signals,
        ):
            await lease.wait_first()
            yield Routing(directory, lease.ids, signals)


@asynccontextmanager
async def open_loaded_routing(coordination: Coordination, live: Live) -> AsyncIterator[Routing]:
    """As `open_routing`, once the live configuration is loaded too: a default must not hold in place of a stored value,
    such as open registration. Raises Unavailable."""
    live.apply(await coordination.configuration.load())
    async with open_routing(coordination) as routing:
        yield routing


@asynccontextmanager
async def open_configuration(settings: Settings) -> AsyncIterator[ConfigurationStore]:
    """Open the live configuration alone. Raises Unavailable."""
    async with open_coordination(settings) as coordination:
        yield coordination.configuration


@asynccontextmanager
async def open_processes(settings: Settings) -> AsyncIterator[ProcessRegistry]:
    """Open the registry of processes alone. Raises Unavailable."""
    if "redis" in settings.engines:
        async with open_coordination(settings) as coordination:
            yield coordination.processes
    else:
        yield LocalProcessRegistry(DataFolder(settings.data).processes)
