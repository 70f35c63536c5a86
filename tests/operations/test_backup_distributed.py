"""Backups of the distributed engines with the engines' own tools, as in docs/operations."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trio
from kafka import KafkaConsumer
from kafka.structs import OffsetAndMetadata, TopicPartition

from messaging.archive.recorder import GROUP
from rookery.serve.schema import MIGRATIONS
from rookery.v1.archive_pb2 import HistoryMessage
from shared.configuration.redis import open_redis_configuration
from shared.drivers.cassandra import open_cassandra
from shared.drivers.redis import open_redis
from shared.settings import CassandraSettings, RedisSettings
from tests.needed import needed
from tests.system.sessions import connector, open_session
from tools.engines.engine import running
from tools.engines.kafka import Kafka
from tools.engines.redis import Redis
from tools.launch.people import Person, open_http, read_history, sign_in, sign_up
from tools.launch.process import Rookery
from tools.launch.process import running as running_process
from tools.operations.cassandra import ManagedCassandra

KEYSPACE = "rookery"

TOPIC = "events-to-replay"

TOOL_SECONDS = 120.0
"""For redis-cli; only ends a test that has failed."""


@pytest.fixture
def cassandra(tmp_path: Path) -> Iterator[ManagedCassandra]:
    needed(ManagedCassandra.install)
    with running(ManagedCassandra(tmp_path / "cassandra")) as ready:
        yield ready


@pytest.fixture
def rookery(tmp_path: Path, cassandra: ManagedCassandra, kafka_server: Kafka) -> Iterator[Rookery]:
    settings = {
        "ROOKERY_ENGINES": "kafka,cassandra",
        "ROOKERY_CASSANDRA__HOSTS": cassandra.host,
        "ROOKERY_CASSANDRA__PORT": str(cassandra.port),
        "ROOKERY_CASSANDRA__KEYSPACE": KEYSPACE,
        "ROOKERY_CASSANDRA__TIMEOUT_SECONDS": "30",
        "ROOKERY_KAFKA__SERVERS": kafka_server.address,
        "ROOKERY_KAFKA__TOPIC": TOPIC,
        "ROOKERY_KAFKA__DEAD_LETTER_TOPIC": "dead-letters-to-replay",
    }
    process = Rookery(tmp_path / "data", settings=settings)
    migrate(process)
    with running_process(process):
        yield process


def migrate(rookery: Rookery) -> None:
    migrated = rookery.run("migrate")
    assert migrated.returncode == 0, migrated.stderr


@pytest.mark.slow
async def test_history_is_restored_from_a_snapshot_of_cassandra_and_the_retained_log_of_kafka(
    rookery: Rookery, cassandra: ManagedCassandra, kafka_server: Kafka, tmp_path: Path
) -> None:
    ada, grace = [await sign_up(rookery.url, name) for name in ("ada", "grace")]
    await see_recorded(rookery, ada, grace, "before the snapshot", count=1)

    at = datetime.now(UTC)
    await trio.to_thread.run_sync(take_snapshot, cassandra, tmp_path / "backup")
    await see_recorded(rookery, ada, grace, "after the snapshot", count=2)

    assert await trio.to_thread.run_sync(rookery.terminate) == 0
    await drop(cassandra)
    await trio.to_thread.run_sync(migrate, rookery)
    await trio.to_thread.run_sync(put_back, cassandra, tmp_path / "backup")
    await trio.to_thread.run_sync(replay_from, kafka_server, at)
    await trio.to_thread.run_sync(rookery.start)

    history = await read_history(rookery.url, ada, ada.chat_with(grace), until=lambda items: len(items) == 2)
    assert [item.message.text.body for item in history] == ["before the snapshot", "after the snapshot"]
    again = await sign_in(rookery.url, grace.name)
    assert again.user_id == grace.user_id
    async with open_http(rookery.url) as http:
        (await http.get("/v1/me", headers=ada.headers)).raise_for_status()


async def see_recorded(rookery: Rookery, sender: Person, reader: Person, text: str, *, count: int) -> None:
    """Send a message, and wait until history has it."""
    async with open_session(connector(rookery, "websocket"), sender) as session:
        sent = await session.send_text(reader.user_id, text)

    def is_recorded(items: Sequence[HistoryMessage]) -> bool:
        return [item.message.message_id for item in items][count - 1 :] == [sent.event_id]

    await read_history(rookery.url, reader, sent.chat_id, until=is_recorded)


def take_snapshot(cassandra: ManagedCassandra, folder: Path) -> None:
    """Copy the SSTables of each table, which never change, to a folder of the table's name."""
    cassandra.nodetool("snapshot", "--tag", "backup", KEYSPACE)
    for snapshot in (cassandra.home / "data" / KEYSPACE).glob("*/snapshots/backup"):
        shutil.copytree(snapshot, folder / table_of(snapshot.parent.parent))


def put_back(cassandra: ManagedCassandra, folder: Path) -> None:
    """Put SSTables into the folders of new tables: the node loads them as it starts."""
    cassandra.stop()
    for table in (cassandra.home / "data" / KEYSPACE).iterdir():
        shutil.copytree(folder / table_of(table), table, dirs_exist_ok=True)
    cassandra.start()


def table_of(folder: Path) -> str:
    """Name of the table of a folder, which has the table's id behind it."""
    return folder.name.partition("-")[0]


async def drop(cassandra: ManagedCassandra) -> None:
    """Drop the keyspace."""
    settings = CassandraSettings(hosts=(cassandra.host,), port=cassandra.port, keyspace=KEYSPACE, timeout_seconds=60)
    async with open_cassandra(settings, MIGRATIONS) as session:
        await session.execute(f"DROP KEYSPACE {KEYSPACE}")


def replay_from(kafka: Kafka, at: datetime) -> None:
    """Reset the archives' offsets to a time, while no archive runs: as
    `kafka-consumer-groups.sh --group TOPIC.archive --topic ... --reset-offsets --to-datetime ... --execute` does."""
    group = KafkaConsumer(bootstrap_servers=kafka.address, group_id=f"{TOPIC}.{GROUP}", enable_auto_commit=False)
    try:
        parts = [TopicPartition(TOPIC, number) for number in group.partitions_for_topic(TOPIC)]
        group.assign(parts)
        found = group.offsets_for_times({part: int(at.timestamp() * 1000) for part in parts})
        ends = group.end_offsets(parts)
        offsets = {part: at_time.offset if (at_time := found[part]) else ends[part] for part in parts}
        group.commit({part: OffsetAndMetadata(offset, "", -1) for part, offset in offsets.items()})
    finally:
        group.close(autocommit=False)


async def test_live_configuration_is_restored_from_a_copy_of_the_file_of_redis(
    own_redis: Callable[..., Redis], tmp_path: Path
) -> None:
    first = await trio.to_thread.run_sync(own_redis)
    settings = RedisSettings.model_validate({"url": first.url, "timeout_seconds": 30})
    async with open_redis(settings) as client, open_redis_configuration(client, settings.prefix) as configuration:
        await configuration.set("access_token_seconds", json.dumps(60))
    await trio.to_thread.run_sync(save, first)
    copy = tmp_path / "copy"
    copy.mkdir()
    shutil.copy(first.home / "dump.rdb", copy)

    with running(await trio.to_thread.run_sync(Redis, copy)) as second:
        settings = RedisSettings.model_validate({"url": second.url, "timeout_seconds": 30})
        async with open_redis(settings) as client, open_redis_configuration(client, settings.prefix) as configuration:
            stored = await configuration.load()
    assert {key: item.value for key, item in stored.items()} == {"access_token_seconds": "60"}


def save(redis: Redis) -> None:
    command = ["redis-cli", "-h", redis.host, "-p", str(redis.port), "SAVE"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS, check=True)
    assert done.stdout.strip() == "OK"
