"""Engines restart on the same port with their acknowledged data, and end with their tests."""

import json
import os
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from cassandra.cluster import EXEC_PROFILE_DEFAULT, Cluster, ExecutionProfile
from kafka import KafkaConsumer, KafkaProducer
from kafka.structs import TopicPartition

from shared import settings
from tools.engines.cassandra import DURABLE as DURABLE_CASSANDRA
from tools.engines.cassandra import Cassandra
from tools.engines.engine import Engine
from tools.engines.install import Missing, need_java, need_program
from tools.engines.kafka import Kafka
from tools.engines.kinds import KINDS
from tools.engines.redis import DURABLE as DURABLE_REDIS
from tools.engines.redis import Redis
from tools.launch.process import wait_until

ROOT = Path(__file__).parents[2]

SENT = [f"{number}".encode() for number in range(50)]

PATIENCE = 60
"""Seconds for one answer, on a busy machine."""


def test_each_engine_of_the_settings_has_a_kind_of_its_name() -> None:
    assert set(KINDS) == set(get_args(settings.Engine))
    assert {name: kind.name for name, kind in KINDS.items()} == {name: name for name in KINDS}


def ask_redis(redis: Redis, *words: str) -> str:
    """Send one command; return the last line of the answer."""
    request = f"*{len(words)}\r\n" + "".join(f"${len(word)}\r\n{word}\r\n" for word in words)
    with socket.create_connection((redis.host, redis.port), timeout=PATIENCE) as client, client.makefile("r") as answer:
        client.sendall(request.encode())
        first = answer.readline().rstrip()
        return answer.readline().rstrip() if first.startswith("$") and first != "$-1" else first


def patient_cluster(cassandra: Cassandra) -> Cluster:
    """A cluster with long timeouts: the defaults are 2 s for a connection, and 10 for an answer."""
    default: Any = EXEC_PROFILE_DEFAULT  # type: ignore[has-type]
    profiles = {default: ExecutionProfile(request_timeout=PATIENCE)}
    return Cluster(
        [cassandra.host],
        port=cassandra.port,
        connect_timeout=PATIENCE,
        control_connection_timeout=PATIENCE,
        execution_profiles=profiles,
    )


def start_again(engine: Engine) -> None:
    """Kill and start it: the same server in another process."""
    address, pid = engine.address, engine.pid
    engine.kill()
    assert not engine.is_running
    assert not engine.is_ready()
    engine.start()
    assert engine.address == address
    assert engine.pid != pid


@pytest.mark.slow
def test_kafka_has_options_and_keeps_acknowledged_records_when_killed(
    own_kafka: Callable[..., Kafka],
) -> None:
    kafka = own_kafka({"auto.create.topics.enable": "true", "num.partitions": "3"})
    producer = KafkaProducer(bootstrap_servers=kafka.address, acks="all")
    for sent in [producer.send("kept", value, partition=2) for value in SENT]:
        sent.get(timeout=PATIENCE)
    assert producer.partitions_for("kept") == {0, 1, 2}
    producer.close()
    start_again(kafka)
    consumer = KafkaConsumer(bootstrap_servers=kafka.address, auto_offset_reset="earliest")
    consumer.assign([TopicPartition("kept", 2)])
    assert [next(consumer).value for _ in SENT] == SENT
    consumer.close()


@pytest.mark.slow
def test_a_durable_cassandra_keeps_acknowledged_writes_when_killed(
    own_cassandra: Callable[..., Cassandra],
) -> None:
    cassandra = own_cassandra(DURABLE_CASSANDRA)
    with patient_cluster(cassandra) as cluster:
        session = cluster.connect()
        session.execute("CREATE KEYSPACE k WITH replication = {'class': 'SimpleStrategy', 'replication_factor': 1}")
        session.execute("CREATE TABLE k.t (id uuid PRIMARY KEY)")
        ids = {uuid.uuid4() for _ in SENT}
        for identity in ids:
            session.execute("INSERT INTO k.t (id) VALUES (%s)", [identity])
    start_again(cassandra)
    with patient_cluster(cassandra) as cluster:
        assert {row.id for row in cluster.connect().execute("SELECT id FROM k.t")} == ids


def test_a_durable_redis_keeps_acknowledged_writes_when_killed(own_redis: Callable[..., Redis]) -> None:
    for options, kept in ((DURABLE_REDIS, "kept"), (None, "$-1")):
        redis = own_redis(options)
        assert ask_redis(redis, "SET", "key", "kept") == "+OK"
        start_again(redis)
        assert ask_redis(redis, "GET", "key") == kept


def test_a_frozen_server_answers_nobody_until_it_thaws(
    own_redis: Callable[..., Redis], monkeypatch: pytest.MonkeyPatch
) -> None:
    redis = own_redis()
    redis.freeze()
    assert redis.is_running
    with monkeypatch.context() as patch:
        patch.setattr("tools.engines.redis.ANSWER_SECONDS", 0.2)
        assert not redis.is_ready()
    redis.thaw()
    redis.wait_until_ready()
    redis.freeze()
    redis.stop()
    assert not redis.is_running


def test_two_servers_share_nothing(redis_server: Redis, own_redis: Callable[..., Redis]) -> None:
    own = own_redis()
    ask_redis(own, "SET", "key", "mine")
    assert redis_server.address != own.address
    assert ask_redis(redis_server, "GET", "key") == "$-1"


def test_the_shared_engines_answer(kafka_server: Kafka, cassandra_server: Cassandra) -> None:
    kafka_server.wait_until_ready()
    cassandra_server.wait_until_ready()


def test_commands_start_and_stop_engines(redis_server: Redis, tmp_path: Path) -> None:
    def run(*words: str) -> str:
        command = [sys.executable, "-m", "tools.engines", *words]
        return subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE).stdout

    for stop in (["down"], ["down", "--kill"]):
        address = json.loads(run("up", str(tmp_path), "redis"))["redis"]
        up = Redis(tmp_path / "redis").wait_until_ready()
        assert up.address == address != redis_server.address
        run(*stop, str(tmp_path), "redis")
        assert not up.is_running
        assert not up.is_ready()


def test_an_engine_ends_with_the_process_that_started_it(tmp_path: Path, redis_server: Redis) -> None:
    script = "import os, sys; from pathlib import Path; from tools.engines.redis import Redis"
    script += "; Redis(Path(sys.argv[1])).start(); os.kill(os.getpid(), 9)"
    killed = subprocess.run([sys.executable, "-c", script, str(tmp_path / "redis")], cwd=ROOT)
    assert killed.returncode == -9
    left = Redis(tmp_path / "redis")
    assert left.port != redis_server.port
    assert wait_until(lambda: not left.is_running)


def test_a_missing_program_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.defpath}")
    with pytest.raises(Missing, match=r"Java 17 or newer is needed; .*11\.0\.2"):
        need_java()
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(
        Missing, match=r"no-such-program is not installed \(on Debian: apt-get install no-such-package\)"
    ):
        need_program("no-such-program", "no-such-package")
