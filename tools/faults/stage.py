"""Where faults are injected: a running platform under load, what is measured of it, and the report on one scenario."""

import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import trio

from rookery.verify import Plan, Result, Run, open_verification
from tools.engines.cassandra import DURABLE as DURABLE_CASSANDRA
from tools.engines.redis import DURABLE as DURABLE_REDIS
from tools.launch.cluster import Cluster, Engines, running_cluster, running_engines
from tools.launch.process import Process, Role, Rookery, running

CLOCK = Path(__file__).parent / "clock"

MAX_MESSAGES = 1_000_000
"""Sending goes on for as long as a fault lasts; this only ends a scenario that never does."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Scale:
    """How large the scenarios are."""

    clients: int
    messages: int
    """At least so many are sent, and for as long as the fault lasts."""
    rate: float
    """A second, in all."""
    away: float
    """Seconds that an engine or a process is away."""
    churn: int
    slack: float
    """Milliseconds that a p99 may be above another by chance."""
    lenience: float = 1.0
    """How many times as long as promised a thing may take, where a machine is shared with other tests."""
    rounds: int = 1
    """How often two things are compared: the best of each counts, since others use the machine too."""
    restarted: Role | None = None
    """What a rolling restart restarts; all roles, if it is None."""
    settings: dict[str, str] = field(default_factory=dict)


SHORT = Scale(clients=30, messages=600, rate=150.0, away=8.0, churn=400, slack=250.0, lenience=3.0, restarted="gateway")
"""For every run of the tests: a few seconds each."""

FULL = Scale(
    clients=100,
    messages=10_000,
    rate=250.0,
    away=30.0,
    churn=10_000,
    slack=5.0,
    rounds=3,
    settings={"ROOKERY_KAFKA__SESSION_TIMEOUT_SECONDS": "6"},  # the least that brokers allow by default
)
"""What is promised."""


@dataclass(slots=True)
class Report:
    """What a scenario came to."""

    lenience: float = 1.0
    result: Result | None = None
    measured: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Every limit that was exceeded, and every promise that was broken."""

    def at_most(self, what: str, value: float, limit: float, unit: str = "") -> None:
        """Measured, and promised to be no more than that."""
        self._hold(f"{what} {shown(value)}{unit} (at most {shown(limit)})", value <= limit)

    def within(self, what: str, seconds: float, limit: float) -> None:
        """Took so long, and was promised to take no longer."""
        self.at_most(what, seconds, limit * self.lenience, " s")

    def at_least(self, what: str, value: float, limit: float, unit: str = "") -> None:
        """Measured, and promised to be no less than that."""
        self._hold(f"{what} {shown(value)}{unit} (at least {shown(limit)})", value >= limit)

    def goes_on(self, what: str, value: float, limit: float) -> None:
        """So much was done in a given time, and was promised to be no less."""
        self.at_least(what, value, limit / self.lenience)

    def judge(self, result: Result) -> None:
        """Take what the checker found."""
        self.result = result
        self.broken += [str(violation) for violation in result.violations]

    def _hold(self, text: str, is_kept: bool) -> None:
        self.measured.append(text)
        if not is_kept:
            self.broken.append(text)


class Stage:
    """A running platform, which each scenario leaves as it found it."""

    def __init__(
        self,
        scale: Scale,
        urls: tuple[str, ...],
        processes: Callable[[], Sequence[Process]],
        restore: Callable[[], None],
    ) -> None:
        self.scale = scale
        self._urls = urls
        self._processes = processes
        self._restore = restore

    @asynccontextmanager
    async def load(self, report: Report, *, least: int = 0, **plan: Any) -> AsyncIterator[Run]:
        """Messages are on their way while the block runs; afterwards they are brought to their ends and judged.

        They are at least so many, by default those of the scale.
        """
        scale = self.scale
        least = least or scale.messages
        values: dict[str, Any] = {
            "urls": self._urls, "clients": scale.clients, "messages": MAX_MESSAGES, "rate": scale.rate,
            "seconds": 900.0, "settle_seconds": 90.0, "accounts": "faults",
        }  # fmt: skip
        async with open_verification(Plan(**values | plan)) as run:
            await run.until(accepted=least // 5)
            yield run
            await run.until(accepted=least)
            run.stop()
            report.judge(await run.finish())

    async def play(self, play: Callable[[Any, Report], Awaitable[None]]) -> Report:
        """Play one scenario; afterwards everything runs again that ran at first."""
        report = Report(self.scale.lenience)
        try:
            await play(self, report)
        finally:
            crashed = [process for process in self._processes() if has_crashed(process)]
            report.broken += [f"{process.name} ended by itself: exit code {process.wait()}" for process in crashed]
            await self.do(self._restore)
        return report

    @staticmethod
    async def do(work: Callable[..., Value], *arguments: Any) -> Value:
        """What blocks, while messages go on."""
        return await trio.to_thread.run_sync(work, *arguments)


class UpStage(Stage):
    """`rookery up` on the embedded engines."""

    def __init__(self, scale: Scale, up: Rookery) -> None:
        super().__init__(scale, (up.url,), lambda: [up], lambda: None)
        self.up = up


class ClusterStage(Stage):
    """Two of each role on real engines, and a third gateway that does not run."""

    def __init__(self, scale: Scale, cluster: Cluster, clocks: Path) -> None:
        urls = tuple(bff.url for bff in cluster.bffs)
        super().__init__(scale, urls, lambda: cluster.processes, self._start_what_ended)
        self.cluster = cluster
        self.spare = cluster["gateway-3"]
        self._clocks = clocks

    @property
    def engines(self) -> Engines:
        return self.cluster.engines

    def step_clock(self, process: Process, seconds: float) -> None:
        """The process's wall clock is off by that from now on."""
        file = self._clocks / process.environment["ROOKERY_KAFKA__INSTANCE"]
        with file.open("r+b") as opened:
            opened.write(struct.pack("<q", int(seconds * 1e9)))

    def restart(self, process: Process) -> int:
        """End it in good order and start it again: its exit code. A gateway then has its share of partitions again."""
        code = process.terminate()
        process.start()
        self.cluster.wait_until_ready()
        if process.role == "gateway":
            self.cluster.wait_until_settled()
        return code

    def _start_what_ended(self) -> None:
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


def shown(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.3f}" if value < 10 else f"{value:,.1f}"


def has_crashed(process: Process) -> bool:
    """Whether it has ended without anyone having waited for that: a scenario waits for what it ends."""
    stdout = process.process.stdout
    return not process.is_running and stdout is not None and not stdout.closed


@contextmanager
def running_up(folder: Path, scale: Scale) -> Iterator[UpStage]:
    with running(Rookery(folder / "data")) as up:
        yield UpStage(scale, up)


@contextmanager
def running_stage(folder: Path, scale: Scale) -> Iterator[ClusterStage]:
    """Engines of its own, since they are killed, that keep what they have acknowledged. Raises install.Missing."""
    clocks = folder / "clocks"
    clocks.mkdir(parents=True)
    paths = [str(CLOCK), *filter(None, [os.environ.get("PYTHONPATH")])]
    settings = {"PYTHONPATH": os.pathsep.join(paths), "TEST_CLOCK_FOLDER": str(clocks)} | scale.settings
    with running_engines(folder / "engines", cassandra=DURABLE_CASSANDRA, redis=DURABLE_REDIS) as engines:
        cluster = Cluster(folder / "cluster", engines, gateways=3, settings=settings)
        with running_cluster(cluster):
            cluster["gateway-3"].terminate()
            cluster.wait_until_settled()
            yield ClusterStage(scale, cluster, clocks)
