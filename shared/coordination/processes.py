"""What each process of a platform says of itself: that it is there, how it is, and what it has. For people to look at:
nothing is decided by it.

A process says it every few seconds, and soon after it has changed; who is silent for longer is left out. While the
engine that keeps it is away, nothing is said and nothing is lost.
"""

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Protocol

import msgspec
import structlog
import trio

from shared.background import open_background
from shared.contract.errors import Unavailable
from shared.contract.ids import wall_clock_ms
from shared.telemetry.health import Health

Role = Literal["bff", "gateway", "archive"]

SAY_SECONDS = 5.0
"""Between two reports of a process in which nothing changes."""

LOOK_SECONDS = 1.0
"""How often a process looks whether something has changed: what a person who looks at it is ready to wait."""

SEEN_SECONDS = 15.0
"""Silence after which a process is left out: three reports."""

GOODBYE_SECONDS = 0.4
"""For taking a process out when it stops."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Figures:
    """What a process has to do now; None where its role has no such thing."""

    sessions: Mapping[str, int] | None = None
    """By transport, `websocket` and `grpc`."""
    owned: Sequence[int] | None = None
    """The partitions whose users it serves."""
    lag: Mapping[int, int] | None = None
    """By partition that it reads, how many records wait in the log."""


@dataclass(frozen=True, slots=True)
class ProcessReport:
    """One role of a process. An instance has a name that tells it from others of its role."""

    instance: str
    role: Role
    version: str
    started_at_ms: int
    ready: bool
    figures: Figures
    seen_at_ms: int = 0
    """When it was said, by the clock of the engine that keeps it."""

    @property
    def key(self) -> str:
        """What tells it from all others."""
        return f"{self.role} {self.instance}"


class ProcessBoard(Protocol):
    """Keeps the newest report of each role of each process. Every method raises Unavailable."""

    async def put(self, report: ProcessReport) -> None: ...

    async def remove(self, report: ProcessReport) -> None:
        """The process has ended."""
        ...

    async def all(self) -> Sequence[ProcessReport]:
        """What was said within the last SEEN_SECONDS, by role and instance."""
        ...


class LocalBoard:
    """The board of a platform that is one process. A file has it too, for commands, which are processes of their own;
    if that can't be written, only they miss it."""

    def __init__(self, path: Path, *, clock_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._path = path
        self._clock_ms = clock_ms
        self._reports: dict[str, ProcessReport] = {}
        self._is_told = False

    async def put(self, report: ProcessReport) -> None:
        self._reports[report.key] = replace(report, seen_at_ms=self._clock_ms())
        await self._write()

    async def remove(self, report: ProcessReport) -> None:
        if self._reports.pop(report.key, None) is not None:
            await self._write()

    async def all(self) -> Sequence[ProcessReport]:
        reports = list(self._reports.values()) or await trio.to_thread.run_sync(self._read)
        since = self._clock_ms() - SEEN_SECONDS * 1000
        return in_order([report for report in reports if report.seen_at_ms > since])

    async def _write(self) -> None:
        text = msgspec.json.encode(list(self._reports.values()))
        try:
            await trio.to_thread.run_sync(_replace, self._path, text)
        except OSError as error:
            if not self._is_told:
                _log.warning("processes_not_written", path=str(self._path), error=str(error))
            self._is_told = True

    def _read(self) -> list[ProcessReport]:
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=list[ProcessReport])
        except (OSError, msgspec.MsgspecError):
            return []


def _replace(path: Path, text: bytes) -> None:
    """Write the file such that whoever reads it finds the old text or the new."""
    new = path.with_suffix(".new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text)
    new.replace(path)


def in_order(reports: Sequence[ProcessReport]) -> list[ProcessReport]:
    """By role and instance."""
    return sorted(reports, key=lambda report: (report.role, report.instance))


class Reports:
    """Says how this process is. Made by `open_reports`."""

    def __init__(self, board: ProcessBoard, instance: str) -> None:
        self._board = board
        self._instance = instance
        self._version = version("rookery")
        self._started_at_ms = wall_clock_ms()
        self._roles: list[_Reporter] = []

    def add(self, role: Role, health: Health, read: Callable[[], Figures] = Figures) -> None:
        """From now on, report this role of the process: how it is, and the figures, which are read without waiting."""
        report = ProcessReport(self._instance, role, self._version, self._started_at_ms, False, read())
        self._roles.append(_Reporter(self._board, report, health, read))

    async def _run(self) -> None:
        while True:
            for role in self._roles:
                await role.look()
            await trio.sleep(LOOK_SECONDS)

    async def _say_goodbye(self) -> None:
        with trio.move_on_after(GOODBYE_SECONDS, shield=True), suppress(Unavailable):
            for role in self._roles:
                await role.remove()


class _Reporter:
    """One role."""

    def __init__(self, board: ProcessBoard, report: ProcessReport, health: Health, read: Callable[[], Figures]) -> None:
        self._board = board
        self._health = health
        self._read = read
        self._said = report
        self._say_at = -float("inf")

    async def look(self) -> None:
        """Report, if something has changed or it is time."""
        report = replace(self._said, ready=await self._health.ready(), figures=self._read())
        if report == self._said and trio.current_time() < self._say_at:
            return
        try:
            await self._board.put(report)
        except Unavailable:
            return  # the engine's client logs it; it is tried again at the next look
        self._said, self._say_at = report, trio.current_time() + SAY_SECONDS

    async def remove(self) -> None:
        """Raises Unavailable."""
        if self._say_at > -float("inf"):
            await self._board.remove(self._said)


@asynccontextmanager
async def open_reports(board: ProcessBoard, instance: str) -> AsyncIterator[Reports]:
    """Report what is added to it while the block is open; after it the process is left out."""
    reports = Reports(board, instance)
    try:
        async with open_background() as nursery:
            nursery.start_soon(reports._run)
            yield reports
    finally:
        await reports._say_goodbye()
