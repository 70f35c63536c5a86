"""A running platform under load, in which faults are injected, and the report of one scenario."""

import os
import struct
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import trio
from prometheus_client.parser import text_string_to_metric_families

from rookery.load.passwords import new_password
from rookery.verify import Plan, Result, Run, open_verification
from shared.configuration.model import LiveConfiguration
from tools.engines.cassandra import DURABLE as DURABLE_CASSANDRA
from tools.engines.engine import HOST, free_port
from tools.engines.engine import running as running_engine
from tools.engines.kafka import behind_relay
from tools.engines.kinds import Engines
from tools.engines.moto import Moto
from tools.engines.redis import DURABLE as DURABLE_REDIS
from tools.launch.cluster import Cluster, running_cluster, running_engines
from tools.launch.live import configure
from tools.launch.process import Process, Role, Rookery, running
from tools.launch.relay import Relay, running_relay

CLOCK = Path(__file__).parent / "clock"

MAX_MESSAGES = 1_000_000
"""Clients send while a fault lasts; this only ends a scenario that hangs."""

CLIENTS_PRIORITY = -15
"""Nice value of the clients."""

SHORT_TAIL = 15.0
"""Seconds after which tails forget messages, where messages are sent again late."""

LATE_AFTER = 2 * SHORT_TAIL
"""Seconds from the acceptance of a message to its late retry."""

GATEWAY_QUERY = {"method": "GET", "route": "/v1/me/gateway"}
"""Labels of the request by which clients ask for their gateway."""

METRICS_SECONDS = 30.0
"""Timeout of a request for metrics."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Scale:
    """Size of the scenarios."""

    clients: int
    messages: int
    """Least number of messages; clients send until the fault is over."""
    rate: float
    """Messages per second of all clients together."""
    away: float
    """Seconds of an outage of an engine or a process."""
    churn: int
    slack: float
    """Milliseconds of random difference between two p99 values."""
    lenience: float = 1.0
    """Factor on time limits, for a machine shared with other tests."""
    rounds: int = 1
    """Repetitions of a comparison; the best of each side counts."""
    overlapping: int = 600
    """Least number of messages during faults that overlap."""
    flaps: int = 4
    """How often gateways are killed and started."""
    late_retries: int = 5
    """Accepted messages that are sent again once the tails have forgotten them."""
    restarted: Role | None = None
    """Role of a rolling restart; None: all roles."""
    settings: dict[str, str] = field(default_factory=dict)


SHORT = Scale(
    clients=30,
    messages=300,
    rate=50.0,
    away=8.0,
    churn=400,
    slack=250.0,
    lenience=3.0,
    overlapping=300,
    restarted="gateway",
)
"""The scale of the tests: some seconds per scenario, at a rate for which two slow cores have time."""

FULL = Scale(
    clients=100,
    messages=10_000,
    rate=250.0,
    away=30.0,
    churn=10_000,
    slack=5.0,
    rounds=3,
    overlapping=50_000,
    flaps=24,
    late_retries=20,
    settings={"ROOKERY_KAFKA__SESSION_TIMEOUT_SECONDS": "6"},  # the default minimum of brokers
)
"""The scale of the promises in docs/reliability.md."""


@dataclass(slots=True)
class Report:
    """Result of a scenario."""

    lenience: float = 1.0
    result: Result | None = None
    measured: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Limits that were exceeded, and violations that the judge found."""

    def at_most(self, quantity: str, value: float, limit: float, unit: str = "") -> None:
        """Check an upper limit."""
        self._check(f"{quantity} {formatted(value)}{unit} (at most {formatted(limit)})", value <= limit)

    def within(self, quantity: str, seconds: float, limit: float) -> None:
        """Check an upper limit of a duration, with lenience."""
        self.at_most(quantity, seconds, limit * self.lenience, " s")

    def at_least(self, quantity: str, value: float, limit: float, unit: str = "") -> None:
        """Check a lower limit."""
        self._check(f"{quantity} {formatted(value)}{unit} (at least {formatted(limit)})", value >= limit)

    def keeps_rate(self, quantity: str, value: float, limit: float) -> None:
        """Check a lower limit of an amount per time, with lenience."""
        self.at_least(quantity, value, limit / self.lenience)

    def judge(self, result: Result) -> None:
        """Add the result of the verification."""
        self.result = result
        self.broken += [str(violation) for violation in result.violations]

    def _check(self, text: str, is_kept: bool) -> None:
        self.measured.append(text)
        if not is_kept:
            self.broken.append(text)


class Stage:
    """A running platform. It is restored after each scenario."""

    def __init__(
        self,
        scale: Scale,
        urls: tuple[str, ...],
        processes: Callable[[], Sequence[Process]],
        restore: Callable[[], None],
    ) -> None:
        self.scale = scale
        self._urls = urls
        self._password = new_password()
        self._processes = processes
        self._restore = restore

    @asynccontextmanager
    async def load(self, report: Report, *, least: int = 0, **plan: Any) -> AsyncIterator[Run]:
        """Run clients during the block, and judge the result afterwards.

        They send at least `least` messages, by default the scale's.
        """
        scale = self.scale
        least = least or scale.messages
        values: dict[str, Any] = {
            "urls": self._urls, "clients": scale.clients, "messages": MAX_MESSAGES, "rate": scale.rate,
            "seconds": 900.0, "settle_seconds": 90.0, "accounts": "faults",
            "password": self._password,
        }  # fmt: skip
        with prioritized():
            async with open_verification(Plan(**values | plan)) as run:
                await run.until(accepted=least // 5)
                yield run
                await run.until(accepted=least)
                run.stop()
                report.judge(await run.finish())

    async def run(self, inject: Callable[[Any, Report], Awaitable[None]]) -> Report:
        """Run one scenario, then restore the platform."""
        report = Report(self.scale.lenience)
        try:
            await inject(self, report)
        except Exception:  # but not an interrupt, after which everything is stopped
            await self.do(self._restore)
            raise
        crashed = [process for process in self._processes() if has_crashed(process)]
        report.broken += [f"{process.name} ended by itself: exit code {process.wait()}" for process in crashed]
        await self.do(self._restore)
        return report

    @staticmethod
    async def do(work: Callable[..., Value], *arguments: Any) -> Value:
        """Run a blocking function in a thread, while clients continue."""

        def do() -> Value:
            thread = threading.get_native_id()
            if os.getpriority(os.PRIO_PROCESS, thread) < 0:  # the clients' one: processes that are started inherit it
                os.setpriority(os.PRIO_PROCESS, thread, 0)
            return work(*arguments)

        return await trio.to_thread.run_sync(do)


class UpStage(Stage):
    """`rookery up` on the embedded engines."""

    def __init__(self, scale: Scale, up: Rookery) -> None:
        super().__init__(scale, (up.url,), lambda: [up], lambda: None)
        self.up = up


class ClusterStage(Stage):
    """Two processes of each role on real engines, and a stopped third gateway."""

    def __init__(self, scale: Scale, cluster: Cluster, clocks: Path, kafka_relay: Relay) -> None:
        urls = tuple(bff.url for bff in cluster.bffs)
        super().__init__(scale, urls, lambda: cluster.processes, self._restore_processes)
        self.cluster = cluster
        self.spare = cluster["gateway-3"]
        self._clocks = clocks
        self._kafka_relay = kafka_relay

    @property
    def engines(self) -> Engines:
        return self.cluster.engines

    def step_clock(self, process: Process, seconds: float) -> None:
        """Set the offset of the process's wall clock."""
        file = self._clocks / process.environment["ROOKERY_KAFKA__INSTANCE"]
        with file.open("r+b") as opened:
            opened.write(struct.pack("<q", int(seconds * 1e9)))

    def restart(self, process: Process) -> int:
        """Stop and start it; wait until it is ready, and a gateway owns its partitions. Return the exit code."""
        code = process.terminate()
        process.start()
        self.cluster.wait_until_ready()
        if process.role == "gateway":
            self.cluster.wait_until_settled()
        return code

    def gateway_answers(self) -> Counter[str]:
        """Count the answers of the running BFFs to GATEWAY_QUERY since their start, by HTTP status."""
        answers = Counter[str]()
        for bff in self.cluster.running("bff"):
            exposition = httpx.get(f"{bff.url}/metrics", timeout=METRICS_SECONDS).text
            samples = (sample for family in text_string_to_metric_families(exposition) for sample in family.samples)
            for name, labels, value, *_ in samples:
                if name == "rookery_http_request_seconds_count" and labels.items() >= GATEWAY_QUERY.items():
                    answers[labels["status"]] += int(value)
        return answers

    @asynccontextmanager
    async def late_retries(self) -> AsyncIterator[dict[str, Any]]:
        """Let tails forget messages after SHORT_TAIL seconds during the block. Yields the plan of late retries, which
        have to be answered from history."""
        await self.do(configure, self.cluster.environment, {"tail_seconds": SHORT_TAIL})
        try:
            yield {"late_retries": self.scale.late_retries, "late_after": LATE_AFTER}
        finally:
            usual = LiveConfiguration().tail_seconds
            await self.do(configure, self.cluster.environment, {"tail_seconds": usual})

    @asynccontextmanager
    async def kafka_relayed(self, process: Process) -> AsyncIterator[Relay]:
        """Restart the process behind a relay to Kafka, and end it after the block."""
        async with self._restarted_with(process, ROOKERY_KAFKA__SERVERS=self._kafka_relay.address):
            yield self._kafka_relay

    @asynccontextmanager
    async def cassandra_relayed(self, process: Process) -> AsyncIterator[Relay]:
        """Restart the process behind a relay to Cassandra, and end it after the block."""
        with running_relay(self.engines.cassandra.address) as relay:
            async with self._restarted_with(process, ROOKERY_CASSANDRA__PORT=str(relay.port)):
                yield relay

    @asynccontextmanager
    async def files_relayed(self) -> AsyncIterator[Relay]:
        """Restart the BFFs behind a relay to an object store, and end them after the block."""
        with running_engine(Moto(self._clocks.parent / Moto.name)) as moto, running_relay(moto.address) as relay:
            moto.create_bucket("files")
            settings = {
                "ROOKERY_FILES__URL": "s3://files",
                "ROOKERY_FILES__ENDPOINT": f"http://{relay.address}",
                "ROOKERY_FILES__ACCESS_KEY": "key",
                "ROOKERY_FILES__SECRET_KEY": "secret",
            }
            async with AsyncExitStack() as stack:
                for bff in self.cluster.bffs:
                    await stack.enter_async_context(self._restarted_with(bff, **settings))
                yield relay

    @asynccontextmanager
    async def _restarted_with(self, process: Process, **settings: str) -> AsyncIterator[None]:
        usual = process.environment
        process.environment = usual | settings
        try:
            await self.do(self.restart, process)
            yield
        finally:
            process.environment = usual
            if process.is_running:
                await self.do(process.kill)  # it is started without the relay when the platform is restored

    def _restore_processes(self) -> None:
        for engine in self.engines:
            engine.start()
        for process in self.cluster.processes:
            if process is self.spare:
                if process.is_running:
                    process.terminate()
            elif not process.is_running:
                process.start()
        self.cluster.wait_until_ready()
        self.cluster.wait_until_settled()


def formatted(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}" if value < 10 else f"{value:,.1f}"


@contextmanager
def prioritized() -> Iterator[None]:
    """Run this thread, which has all clients and judges them, before other processes, where the system allows it.

    On a machine with few cores they would lack CPU time: a frame would wait in the clients for half a minute."""
    thread = threading.get_native_id()
    before = os.getpriority(os.PRIO_PROCESS, thread)
    with suppress(PermissionError):
        os.setpriority(os.PRIO_PROCESS, thread, CLIENTS_PRIORITY)
    try:
        yield
    finally:
        os.setpriority(os.PRIO_PROCESS, thread, before)


def has_crashed(process: Process) -> bool:
    """Whether it has ended by itself: a scenario waits for each process that it ends."""
    stdout = process.process.stdout
    return not process.is_running and stdout is not None and not stdout.closed


@contextmanager
def running_up(folder: Path, scale: Scale) -> Iterator[UpStage]:
    with running(Rookery(folder / "data")) as up:
        yield UpStage(scale, up)


@contextmanager
def running_stage(folder: Path, scale: Scale) -> Iterator[ClusterStage]:
    """Start durable engines of its own, which scenarios kill, and a cluster. Raises install.Missing."""
    clocks = folder / "clocks"
    clocks.mkdir(parents=True)
    paths = [str(CLOCK), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {"PYTHONPATH": os.pathsep.join(paths), "TEST_CLOCK_FOLDER": str(clocks)} | scale.settings
    inner_port, relay_port = free_port(), free_port()
    with (
        running_relay(f"{HOST}:{inner_port}", relay_port) as kafka_relay,
        running_engines(
            folder / "engines",
            kafka=behind_relay(inner_port, relay_port),
            cassandra=DURABLE_CASSANDRA,
            redis=DURABLE_REDIS,
        ) as engines,
    ):
        cluster = Cluster(folder / "cluster", engines, gateways=3, settings=settings)
        with running_cluster(cluster):
            cluster["gateway-3"].terminate()
            cluster.wait_until_settled()
            yield ClusterStage(scale, cluster, clocks, kafka_relay)
