"""Registry of a platform's processes: whether each is ready, and its statistics. For display; nothing is decided by it.

A process reports every few seconds, and within a second after a change. A process that has not reported for
EXPIRY_SECONDS is left out. While the engine of the registry is unavailable, reports are skipped.
"""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Protocol

import msgspec
import structlog
import trio
from msgspec.structs import replace

from shared.background import open_background
from shared.contract.errors import Unavailable
from shared.contract.ids import wall_clock_ms
from shared.telemetry.health import Health

Role = Literal["bff", "gateway", "archive"]

REPORT_SECONDS = 5.0
"""Interval of the reports of a process in which nothing changes."""

CHECK_SECONDS = 1.0
"""Interval at which a process checks whether its report has changed: short for a person that watches."""

EXPIRY_SECONDS = 15.0
"""Age of the newest report at which a process is left out: three intervals."""

REMOVE_SECONDS = 0.4
"""Deadline for removing the reports of a process that stops."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProcessStats:
    """Load of a role now; None for a number that the role does not have."""

    sessions: Mapping[str, int] | None = None
    """Open sessions by transport, `websocket` and `grpc`."""
    owned: Sequence[int] | None = None
    """The partitions whose users the process serves."""
    lag: Mapping[int, int] | None = None
    """Unread records of the log, by partition."""


class ProcessReport(msgspec.Struct, frozen=True):
    """The state of one role of a process. `instance` is unique among the processes with this role."""

    instance: str
    role: Role
    version: str
    started_at_ms: int
    ready: bool
    stats: ProcessStats
    seen_at_ms: int = 0
    """Time of the report, by the clock of the registry's engine."""

    @property
    def key(self) -> str:
        """Unique among all reports."""
        return f"{self.role} {self.instance}"


class ProcessRegistry(Protocol):
    """Keeps the newest report of each role of each process. Every method raises Unavailable."""

    async def put(self, report: ProcessReport) -> None: ...

    async def remove(self, report: ProcessReport) -> None:
        """Remove the report of a process that stops."""
        ...

    async def all(self) -> Sequence[ProcessReport]:
        """Return the reports of the last EXPIRY_SECONDS, by role and instance."""
        ...


class LocalProcessRegistry:
    """The registry of a platform in one process. It is copied to a file for commands, which are processes of their own;
    a failure to write the file affects only them."""

    def __init__(self, path: Path, *, clock_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._path = path
        self._clock_ms = clock_ms
        self._reports: dict[str, ProcessReport] = {}
        self._write_failed = False

    async def put(self, report: ProcessReport) -> None:
        self._reports[report.key] = replace(report, seen_at_ms=self._clock_ms())
        await self._write()

    async def remove(self, report: ProcessReport) -> None:
        if self._reports.pop(report.key, None) is not None:
            await self._write()

    async def all(self) -> Sequence[ProcessReport]:
        reports = list(self._reports.values()) or await trio.to_thread.run_sync(self._read)
        since = self._clock_ms() - EXPIRY_SECONDS * 1000
        return sorted_reports([report for report in reports if report.seen_at_ms > since])

    async def _write(self) -> None:
        text = msgspec.json.encode(list(self._reports.values()))
        try:
            await trio.to_thread.run_sync(_replace_file, self._path, text)
        except OSError as error:
            if not self._write_failed:  # log the first failure only
                _log.warning("processes_not_written", path=str(self._path), error=str(error))
            self._write_failed = True

    def _read(self) -> list[ProcessReport]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[ProcessReport])
        except (OSError, msgspec.MsgspecError):
            return []


def _replace_file(path: Path, text: bytes) -> None:
    """Write the file atomically, so that a reader finds the old text or the new."""
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text)
    new.replace(path)


def sorted_reports(reports: Sequence[ProcessReport]) -> list[ProcessReport]:
    """By role and instance."""
    return sorted(reports, key=lambda report: (report.role, report.instance))


class Reports:
    """Reports the roles of this process. Made by `open_reports`."""

    def __init__(self, registry: ProcessRegistry, instance: str) -> None:
        self._registry = registry
        self._instance = instance
        self._version = version("rookery")
        self._started_at_ms = wall_clock_ms()
        self._reporters: list[_Reporter] = []

    def add(self, role: Role, health: Health, read: Callable[[], ProcessStats] = ProcessStats) -> None:
        """Report this role from now on, with its readiness and the statistics that `read` returns without waiting."""
        report = ProcessReport(self._instance, role, self._version, self._started_at_ms, False, read())
        self._reporters.append(_Reporter(self._registry, report, health, read))

    async def _run(self) -> None:
        while True:
            for reporter in self._reporters:
                await reporter.report_if_due()
            await trio.sleep(CHECK_SECONDS)

    async def _remove_all(self) -> None:
        with trio.move_on_after(REMOVE_SECONDS, shield=True), suppress(Unavailable):
            for reporter in self._reporters:
                await reporter.remove()


class _Reporter:
    """Reports one role."""

    def __init__(
        self, registry: ProcessRegistry, report: ProcessReport, health: Health, read: Callable[[], ProcessStats]
    ) -> None:
        self._registry = registry
        self._health = health
        self._read = read
        self._reported = report
        self._due_at = -float("inf")

    async def report_if_due(self) -> None:
        """Put the report if it has changed or REPORT_SECONDS have passed."""
        report = replace(self._reported, ready=await self._health.ready(), stats=self._read())
        if report == self._reported and trio.current_time() < self._due_at:
            return
        try:
            await self._registry.put(report)
        except Unavailable:
            return  # logged by the engine's client; retried at the next look
        self._reported, self._due_at = report, trio.current_time() + REPORT_SECONDS

    async def remove(self) -> None:
        """Raises Unavailable."""
        if self._due_at > -float("inf"):
            await self._registry.remove(self._reported)


@asynccontextmanager
async def open_reports(registry: ProcessRegistry, instance: str) -> AsyncIterator[Reports]:
    """Report the roles that are added while the block is open, and remove their reports after it."""
    reports = Reports(registry, instance)
    try:
        async with open_background() as nursery:
            nursery.start_soon(reports._run)
            yield reports
    finally:
        await reports._remove_all()
