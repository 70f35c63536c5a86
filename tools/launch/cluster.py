"""The distributed platform on this machine: many BFFs, gateways and archives, on engines that are given.

Everything blocks, as in `tools/launch/process.py`. Clusters on the same engines share nothing: each has a topic, a
keyspace and a prefix of its own. Each process has an address of its own, and keeps it when it is started again.
"""

import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio

from rookery.load.process import cpu_seconds, resident_bytes
from shared.coordination.redis.ownership import open_redis_directory
from shared.drivers.redis import open_redis
from shared.net.addresses import SECURE
from shared.settings import RedisSettings
from tools.engines.cassandra import Cassandra
from tools.engines.engine import HOST, Backend, Options, free_port, start_all
from tools.engines.kafka import Kafka
from tools.engines.redis import Redis
from tools.launch.live import UNLIMITED, configure
from tools.launch.process import ANNOUNCED_BY_ROLE, POLL_SECONDS, Process, Role, stop_all, wait_until

ENGINES = "kafka,cassandra,redis"

PARTITIONS = 8
"""Enough that each gateway has some, and that a restart reads few."""

SESSION_TIMEOUT_SECONDS = 3.0
"""Silence after which Kafka takes a gateway or an archive for dead: half of what a real broker allows, and enough for
processes that wait for each other on a busy machine."""

SETTLE_SECONDS = 60.0
"""Only ends a test that has failed."""


@dataclass(frozen=True, slots=True)
class Engines:
    """What a cluster stands on."""

    kafka: Kafka
    cassandra: Cassandra
    redis: Redis

    def __iter__(self) -> Iterator[Backend]:
        return iter((self.kafka, self.cassandra, self.redis))


@contextmanager
def running_engines(
    folder: Path,
    *,
    host: str = HOST,
    kafka: Options | None = None,
    cassandra: Options | None = None,
    redis: Options | None = None,
) -> Iterator[Engines]:
    """Engines of one's own, with these options; killed at the end of the block. Raises install.Missing."""
    engines = Engines(
        Kafka(folder / "kafka", kafka, host=host),
        Cassandra(folder / "cassandra", cassandra, host=host),
        Redis(folder / "redis", redis, host=host),
    )
    with ExitStack() as stack:
        for engine in engines:
            engine.install()
            stack.callback(engine.kill)
        start_all(engines)
        yield engines


class Cluster:
    """Processes that do not run yet: `bff-1`, `bff-2`, `gateway-1`, and so on."""

    def __init__(
        self,
        folder: Path,
        engines: Engines,
        *,
        bffs: int = 2,
        gateways: int = 2,
        archives: int = 2,
        settings: Mapping[str, str] | None = None,
        **live: float,
    ) -> None:
        """Logs go into the folder. `settings` are environment variables of every process; `live` is configuration.

        With a certificate among the settings, all that listens has TLS, and who uses the cluster trusts whom the
        system trusts (for OpenSSL, SSL_CERT_FILE).
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.engines = engines
        self.environment = {"ROOKERY_FILE": os.devnull, **self._shared_environment(folder), **(settings or {})}
        """What all processes have in common."""
        self._live = UNLIMITED | live
        self.archives = [self._make(folder, "archive", number + 1) for number in range(archives)]
        self._secure = "ROOKERY_TLS__CERTIFICATE_FILE" in self.environment
        grpc = f"{SECURE if self._secure else ''}{HOST}"
        addresses = [f"{grpc}:{archive.environment['ROOKERY_ARCHIVE__GRPC_PORT']}" for archive in self.archives]
        self.environment["ROOKERY_ARCHIVES"] = ",".join(addresses)
        self.gateways = [self._make(folder, "gateway", number + 1) for number in range(gateways)]
        self.bffs = [self._make(folder, "bff", number + 1) for number in range(bffs)]

    @property
    def processes(self) -> list[Process]:
        """All, in the order in which they are started."""
        return [*self.archives, *self.gateways, *self.bffs]

    def running(self, role: Role | None = None) -> list[Process]:
        """Those that run, of all roles or of one."""
        return [process for process in self.processes if process.is_running and role in (None, process.role)]

    def __getitem__(self, name: str) -> Process:
        """One of them, such as `gateway-1`."""
        return next(process for process in self.processes if process.name == name)

    def start(self) -> "Cluster":
        """Migrate, start every process side by side, and wait until each is ready and every user has a gateway."""
        self.run("migrate")
        configure(self.environment, self._live)
        for process in self.processes:
            process.launch()
        for process in self.processes:
            process.wait_until_announced()
        self.wait_until_ready()
        self.wait_until_settled()
        return self

    def restore(self) -> None:
        """Start again what has ended, and wait until all is as it was at first."""
        for process in self.processes:
            if not process.is_running:
                process.start()
        self.wait_until_ready()
        self.wait_until_settled()

    def stop(self) -> None:
        """End what runs, frozen or not. Raises subprocess.TimeoutExpired if one had to be killed."""
        stop_all(self.processes)

    def run(self, *words: str) -> str:
        """Run a command, such as `rookery config set`, with the settings of the cluster; what it printed."""
        done = self.bffs[0].run(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def wait_until_ready(self) -> None:
        """Wait until every process that runs says so when it is probed."""
        running = self.running()
        if not wait_until(lambda: all(process.is_ready() for process in running), SETTLE_SECONDS):
            unready = [process.name for process in running if not process.is_ready()]
            raise NotSettled(f"not ready: {', '.join(unready)}")

    def wait_until_settled(self) -> None:
        """Wait until the gateways that run share all partitions evenly, as Redis has it."""
        running = {gateway.grpc for gateway in self.running("gateway")}
        fair = PARTITIONS // len(running)

        def is_fair(owners: Sequence[str]) -> bool:
            counts = Counter(owners)
            return set(counts) == running and min(counts.values()) >= fair

        self.wait_until_owned(is_fair)

    def wait_until_owned(self, is_so: Callable[[Sequence[str]], bool] = all) -> list[str]:
        """Wait until it is so of the owners, by default until each partition has one. Those, as Redis has them: of each
        partition its gateway's address for native apps; empty if it has none."""
        return trio.run(self._follow_owners, is_so)

    def log_lines(self) -> dict[str, list[dict[str, Any]]]:
        """What each process has logged, in all its lives."""
        return {process.name: process.log_lines() for process in self.processes if process.log.exists()}

    def usage(self) -> dict[str, "Usage"]:
        """What each process that runs has used so far, the engines too."""
        pids = {process.name: process.process.pid for process in self.running()}
        pids |= {engine.name: engine.pid for engine in self.engines if engine.is_running}
        return {name: Usage(cpu_seconds(pid), resident_bytes(pid)) for name, pid in pids.items()}

    def _shared_environment(self, folder: Path) -> dict[str, str]:
        name = secrets.token_hex(4)
        kafka, cassandra, redis = self.engines.kafka, self.engines.cassandra, self.engines.redis
        return {
            "ROOKERY_DATA": str(folder),
            "ROOKERY_ENGINES": ENGINES,
            "ROOKERY_ARCHIVE_TOKEN": secrets.token_urlsafe(),
            "ROOKERY_KAFKA__SERVERS": kafka.address,
            "ROOKERY_KAFKA__TOPIC": f"events-{name}",
            "ROOKERY_KAFKA__DEAD_LETTER_TOPIC": f"dead-letters-{name}",
            "ROOKERY_KAFKA__PARTITIONS": str(PARTITIONS),
            "ROOKERY_KAFKA__SESSION_TIMEOUT_SECONDS": str(SESSION_TIMEOUT_SECONDS),
            "ROOKERY_CASSANDRA__HOSTS": cassandra.host,
            "ROOKERY_CASSANDRA__PORT": str(cassandra.port),
            "ROOKERY_CASSANDRA__KEYSPACE": f"rookery_{name}",
            "ROOKERY_REDIS__URL": redis.url,
            "ROOKERY_REDIS__PREFIX": f"rookery-{name}:",
        }

    def _make(self, folder: Path, role: Role, number: int) -> Process:
        """A process with a name and ports of its own."""
        own = {"ROOKERY_KAFKA__INSTANCE": f"{role}-{number}"}
        own |= {setting: str(free_port()) for _, setting in ANNOUNCED_BY_ROLE[role].values()}
        if role == "gateway":
            websocket, grpc = (f"wss://{HOST}", f"{SECURE}{HOST}") if self._secure else (f"ws://{HOST}", HOST)
            own["ROOKERY_GATEWAY__PUBLIC_WEBSOCKET"] = f"{websocket}:{own['ROOKERY_GATEWAY__WEBSOCKET_PORT']}/session"
            own["ROOKERY_GATEWAY__PUBLIC_GRPC"] = f"{grpc}:{own['ROOKERY_GATEWAY__GRPC_PORT']}"
        return Process(role, folder / f"{role}-{number}.log", self.environment | own)

    async def _follow_owners(self, is_so: Callable[[Sequence[str]], bool]) -> list[str]:
        settings = RedisSettings.model_validate(
            {"url": self.environment["ROOKERY_REDIS__URL"], "prefix": self.environment["ROOKERY_REDIS__PREFIX"]}
        )
        owners: list[str] = []
        with trio.move_on_after(SETTLE_SECONDS):
            async with open_redis(settings) as client, open_redis_directory(client, settings.prefix) as directory:
                while True:
                    known = [directory.owner(partition) for partition in range(PARTITIONS)]
                    owners = [owner.grpc if owner else "" for owner in known]
                    if is_so(owners):
                        return owners
                    await trio.sleep(POLL_SECONDS)
        raise NotSettled(f"the owners of the partitions are still {owners}; {self.running()} run")


class NotSettled(Exception):
    """Partitions are not where they should be; says where they are."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process has used since it was started."""

    cpu_seconds: float
    resident_bytes: int


@contextmanager
def running_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """Start it. At the end of the block, what runs of it is stopped."""
    try:
        yield cluster.start()
    finally:
        cluster.stop()
