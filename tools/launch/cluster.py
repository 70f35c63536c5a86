"""Run the distributed platform on this machine: several BFFs, gateways and archives on given engines.

Every call blocks, as in `tools/launch/process.py`. Clusters on the same engines share nothing: each has its own topic,
keyspace and prefix. Each process has its own address, and keeps it when it restarts.
"""

import os
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import trio

from shared.contract.addresses import SECURE
from shared.coordination.redis.ownership import open_redis_directory
from shared.drivers.redis import open_redis
from shared.settings import RedisSettings
from tools.engines.engine import HOST, Options, free_port, start_all
from tools.engines.kinds import KINDS, Engines
from tools.launch.live import UNLIMITED, configure
from tools.launch.process import ANNOUNCED_BY_ROLE, POLL_SECONDS, Process, Role, stop_all, wait_until

ENGINES = ",".join(KINDS)
"""Value of ROOKERY_ENGINES."""

PARTITIONS = 8
"""Few, so that a restart is fast; enough for each gateway to own some."""

SESSION_TIMEOUT_SECONDS = 3.0
"""Silence after which Kafka removes a gateway or an archive from its group: half of a real broker's minimum, and enough
for processes on a busy machine."""

UNHURRIED = {
    "ROOKERY_KAFKA__SESSION_TIMEOUT_SECONDS": "30",
    "ROOKERY_CASSANDRA__TIMEOUT_SECONDS": "20",
    "ROOKERY_REDIS__TIMEOUT_SECONDS": "20",
}
"""Settings for tests that end no process: no request is retried, and no partition moves, on a busy machine."""

SETTLE_SECONDS = 60.0
"""Only ends a test that has failed."""


@contextmanager
def running_engines(folder: Path, *, host: str = HOST, **options: Options) -> Iterator[Engines]:
    """Start engines with options by name (`redis={...}`); kill them at the end of the block. Raises install.Missing."""
    engines = Engines.in_folder(folder, options, host)
    with ExitStack() as stack:
        for engine in engines:
            engine.install()
            stack.callback(engine.kill)
        start_all(engines)
        yield engines


class Cluster:
    """Processes of a cluster, not started yet: `bff-1`, `bff-2`, `gateway-1`, and so on."""

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
        """Logs go into the folder. `settings` are environment variables of every process; `live` is live configuration.

        With a certificate among the settings, every listener has TLS, and clients trust the system's authorities (for
        OpenSSL, SSL_CERT_FILE).
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.engines = engines
        self.environment = {"ROOKERY_FILE": os.devnull, **self._shared_environment(folder), **(settings or {})}
        """Environment of every process."""
        self._partitions = int(self.environment["ROOKERY_KAFKA__PARTITIONS"])
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
        """All processes, in the order of their start."""
        return [*self.archives, *self.gateways, *self.bffs]

    def running(self, role: Role | None = None) -> list[Process]:
        """The processes that run, of all roles or of one."""
        return [process for process in self.processes if process.is_running and role in (None, process.role)]

    def __getitem__(self, name: str) -> Process:
        """A process by name, such as `gateway-1`."""
        return next(process for process in self.processes if process.name == name)

    def start(self) -> "Cluster":
        """Migrate, start all processes in parallel, and wait until each is ready and each partition has an owner."""
        self.run("migrate")
        self.configure()
        for process in self.processes:
            process.launch()
        for process in self.processes:
            process.wait_until_announced()
        self.wait_until_ready()
        self.wait_until_settled()
        return self

    def configure(self) -> None:
        """Store its live configuration, which is lost when Redis is emptied."""
        configure(self.environment, self._live)

    def restore(self) -> None:
        """Restart processes that have ended, and wait until all are ready and own their partitions again."""
        for process in self.processes:
            if not process.is_running:
                process.start()
        self.wait_until_ready()
        self.wait_until_settled()

    def stop(self) -> None:
        """Stop all processes, frozen ones too. Raises subprocess.TimeoutExpired if one had to be killed."""
        stop_all(self.processes)

    def run(self, *words: str) -> str:
        """Run a command, such as `rookery config set`, with the settings of the cluster; return its output."""
        done = self.bffs[0].run(*words)
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        return done.stdout

    def wait_until_ready(self) -> None:
        """Wait until the readiness probe of every running process succeeds. Raises NotSettled."""
        running = self.running()
        if not wait_until(lambda: all(process.is_ready() for process in running), SETTLE_SECONDS):
            unready = [process.name for process in running if not process.is_ready()]
            raise NotSettled(f"not ready: {', '.join(unready)}")

    def wait_until_settled(self) -> None:
        """Wait until the running gateways own all partitions, evenly. Raises NotSettled."""
        running = {gateway.grpc for gateway in self.running("gateway")}
        fair = self._partitions // len(running)

        def is_fair(owners: Sequence[str]) -> bool:
            counts = Counter(owners)
            return set(counts) == running and min(counts.values()) >= fair

        self.wait_until_owned(is_fair)

    def wait_until_owned(self, is_so: Callable[[Sequence[str]], bool] = all) -> list[str]:
        """Wait until the condition holds for the owners in Redis, by default until each partition has one.

        Returns the gRPC address of each partition's gateway; empty without an owner. Raises NotSettled."""
        return trio.run(self._follow_owners, is_so)

    def log_lines(self) -> dict[str, list[dict[str, Any]]]:
        """Log records of all runs of each process."""
        return {process.name: process.log_lines() for process in self.processes if process.log.exists()}

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
        """A process with its own name and ports."""
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
                    known = [directory.owner(partition) for partition in range(self._partitions)]
                    owners = [owner.grpc if owner else "" for owner in known]
                    if is_so(owners):
                        return owners
                    await trio.sleep(POLL_SECONDS)
        raise NotSettled(f"the owners of the partitions are still {owners}; {self.running()} run")


class NotSettled(Exception):
    """The cluster did not reach a state in SETTLE_SECONDS; the text has the current one."""


@contextmanager
def running_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """Start it, and stop it at the end of the block."""
    try:
        yield cluster.start()
    finally:
        cluster.stop()
