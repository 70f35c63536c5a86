"""Opens the engines that the settings choose: for each protocol the embedded twin, or the distributed one."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from messaging.archive.store.protocol import ChatStore
from rookery.serve.folder import DataFolder
from rookery.serve.measures import disk_readings, log_readings
from shared.accounts.store import AccountStore
from shared.background import open_background
from shared.backplane import Backplane
from shared.backplane.measured import MeasuredLog
from shared.configuration import ConfigurationStore
from shared.contract.ids import SnowflakeGenerator
from shared.coordination.ownership import Directory, LocalDirectory
from shared.coordination.processes import LocalBoard, ProcessBoard
from shared.drivers.measured import measured_store
from shared.settings import Settings
from shared.telemetry.metrics import register_readings

GENERATOR = 0
"""The embedded log is open in one process at a time, so that this generator number is leased with it."""


@dataclass(frozen=True, slots=True)
class Coordination:
    """What processes agree on."""

    configuration: ConfigurationStore
    directory: Directory
    processes: ProcessBoard
    ids: SnowflakeGenerator


@asynccontextmanager
async def open_backplane(settings: Settings) -> AsyncIterator[Backplane]:
    """The log. Raises Unavailable, or LogInUse if another process has the embedded one."""
    if "kafka" in settings.engines:
        from shared.backplane.kafka.backplane import open_kafka

        async with open_kafka(settings.kafka) as kafka:
            with register_readings(log_readings(kafka.statistics)):
                yield MeasuredLog(kafka)
    else:
        from shared.backplane.sqlite.log import open_sqlite_log
        from shared.backplane.sqlite.spool import publish_spool

        hours, partitions = settings.log.retention_hours, settings.log.partitions
        folder = DataFolder(settings.data)
        async with (
            open_sqlite_log(folder.log, partitions=partitions, retention_hours=hours) as log,
            open_background() as nursery,
        ):
            nursery.start_soon(publish_spool, folder.spool, log)
            with register_readings({**log_readings(log.statistics), **disk_readings(settings.data)}):
                yield MeasuredLog(log)


@asynccontextmanager
async def open_accounts(settings: Settings) -> AsyncIterator[AccountStore]:
    """What is kept of users. Raises Unavailable."""
    if "cassandra" in settings.engines:
        from shared.accounts.cassandra.store import open_cassandra_accounts
        from shared.drivers.cassandra import open_cassandra

        async with open_cassandra(settings.cassandra) as session, open_cassandra_accounts(session) as accounts:
            yield measured_store(accounts, "accounts")
    else:
        from shared.accounts.sqlite.store import open_sqlite_accounts

        async with open_sqlite_accounts(DataFolder(settings.data).accounts) as embedded:
            yield measured_store(embedded, "accounts")


@asynccontextmanager
async def open_chats(settings: Settings) -> AsyncIterator[ChatStore]:
    """What is kept of chats. Raises Unavailable."""
    if "cassandra" in settings.engines:
        from messaging.archive.store.cassandra.store import open_cassandra_chats
        from shared.drivers.cassandra import open_cassandra

        async with open_cassandra(settings.cassandra) as session, open_cassandra_chats(session) as chats:
            yield measured_store(chats, "chats")
    else:
        from messaging.archive.store.sqlite.store import open_sqlite_chats

        async with open_sqlite_chats(DataFolder(settings.data).chats) as embedded:
            yield measured_store(embedded, "chats")


@asynccontextmanager
async def open_configuration(settings: Settings) -> AsyncIterator[ConfigurationStore]:
    """Live configuration alone. Raises Unavailable."""
    if "redis" in settings.engines:
        from shared.configuration.redis import open_redis_configuration
        from shared.drivers.redis import open_redis

        async with (
            open_redis(settings.redis) as client,
            open_redis_configuration(client, settings.redis.prefix) as configuration,
        ):
            yield configuration
    else:
        from shared.configuration.sqlite import open_sqlite_configuration

        async with open_sqlite_configuration(DataFolder(settings.data).configuration) as sqlite_configuration:
            yield sqlite_configuration


@asynccontextmanager
async def open_processes(settings: Settings) -> AsyncIterator[ProcessBoard]:
    """What processes say of themselves, alone."""
    if "redis" in settings.engines:
        from shared.coordination.redis.processes import RedisBoard
        from shared.drivers.redis import open_redis

        async with open_redis(settings.redis) as client:
            yield RedisBoard(client, settings.redis.prefix)
    else:
        yield LocalBoard(DataFolder(settings.data).processes)


@asynccontextmanager
async def open_coordination(settings: Settings) -> AsyncIterator[Coordination]:
    """Configuration, who owns which partition, and ids. Raises Unavailable."""
    async with AsyncExitStack() as stack:
        if "redis" in settings.engines:
            from shared.configuration.redis import open_redis_configuration
            from shared.coordination.redis.leases import open_generator
            from shared.coordination.redis.ownership import open_redis_directory
            from shared.coordination.redis.processes import RedisBoard
            from shared.drivers.redis import open_redis

            prefix = settings.redis.prefix
            client = await stack.enter_async_context(open_redis(settings.redis))
            configuration = await stack.enter_async_context(open_redis_configuration(client, prefix))
            directory = await stack.enter_async_context(open_redis_directory(client, prefix))
            ids = await stack.enter_async_context(open_generator(client, prefix))
            yield Coordination(configuration, directory, RedisBoard(client, prefix), ids)
        else:
            yield Coordination(
                await stack.enter_async_context(open_configuration(settings)),
                LocalDirectory(),
                LocalBoard(DataFolder(settings.data).processes),
                SnowflakeGenerator(GENERATOR),
            )
