"""Run the commands that serve, each in its own process: start, kill, freeze, stop, start again.

Every call blocks, so that plain tests can use it; a Trio test calls it by `trio.to_thread.run_sync`.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self, TypeVar
from urllib.parse import urlsplit

import httpx

from rookery.client.trust import client_tls
from rookery.load.process import cpu_seconds, resident_bytes
from tools.engines.engine import free_port
from tools.launch.freezing import freeze
from tools.launch.live import UNLIMITED, configure

ROOKERY = Path(sys.executable).with_name("rookery")

READY_SECONDS = 180.0
"""Only ends a test that has failed: alone a start takes one or two seconds, on a busy machine far longer."""

STOP_SECONDS = 30.0
"""Only ends a test that has failed: the tests of stopping check how long a stop takes."""

POLL_SECONDS = 0.02
"""Seconds between two checks of the state of another process."""

PROBE_SECONDS = 5.0
"""Timeout of one readiness probe."""

Role = Literal["up", "bff", "gateway", "archive"]
"""The commands that serve."""

ANNOUNCED = {
    "page": (r"open (https?://\S+)", "ROOKERY_BFF__PORT"),
    "websocket": (r"browsers +(wss?://\S+)", "ROOKERY_GATEWAY__WEBSOCKET_PORT"),
    "grpc": (r"native +(\S+) \(gRPC\)", "ROOKERY_GATEWAY__GRPC_PORT"),
    "archive": (r"archive +(\S+) \(gRPC\)", "ROOKERY_ARCHIVE__GRPC_PORT"),
    "gateway_health": (r"health +\S+, (https?://[^\s,]+)", "ROOKERY_GATEWAY__HEALTH_PORT"),
    "archive_health": (r"health +\S+, \S+, (https?://\S+)", "ROOKERY_ARCHIVE__HEALTH_PORT"),
}
"""Addresses that `rookery up` prints when it is ready, in this order, and the setting of each port."""

_ONLY_HEALTH = r"health +(https?://\S+)"

ANNOUNCED_BY_ROLE: dict[Role, dict[str, tuple[str, str]]] = {
    "up": ANNOUNCED,
    "bff": {"page": ANNOUNCED["page"]},
    "gateway": {
        "websocket": ANNOUNCED["websocket"],
        "grpc": ANNOUNCED["grpc"],
        "gateway_health": (_ONLY_HEALTH, "ROOKERY_GATEWAY__HEALTH_PORT"),
    },
    "archive": {
        "archive": ANNOUNCED["archive"],
        "archive_health": (_ONLY_HEALTH, "ROOKERY_ARCHIVE__HEALTH_PORT"),
    },
}
"""ANNOUNCED of each command."""

TAIL_LINES = 20
"""Lines of each log that are attached to the report of a failed test."""

TAILS = 6
"""Logs attached to one report."""

P = TypeVar("P", bound="Process")


class Process:
    """A command and its settings, not started yet. A port of 0 becomes a free port, which it keeps when it restarts."""

    program = ROOKERY
    """The command: this checkout's, or that of another installation."""

    def __init__(self, role: Role, log: Path, settings: Mapping[str, str]) -> None:
        """`settings` are environment variables."""
        self.role: Role = role
        self.log = log
        """Standard error of all its runs."""
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("ROOKERY_")}
        self.environment |= {"ROOKERY_FILE": os.devnull, **settings}
        self.addresses: dict[str, str] = {}
        """Announced addresses, by the names of `ANNOUNCED`."""
        self.ready_seconds = 0.0
        """Seconds from the start of the process to its announcement."""
        self.output = ""
        """Standard output of its finished runs, and of the current run until it was ready."""
        self._process: subprocess.Popen[str] | None = None
        self._began = 0.0

    @property
    def name(self) -> str:
        """Unique in its cluster."""
        return self.log.stem

    @property
    def url(self) -> str:
        """URL of the HTTP API and the page, without a final slash."""
        return self.addresses["page"].rstrip("/")

    @property
    def websocket(self) -> str:
        return self.addresses["websocket"]

    @property
    def grpc(self) -> str:
        return self.addresses["grpc"]

    @property
    def process(self) -> "subprocess.Popen[str]":
        """The newest run."""
        assert self._process is not None, "it was never started"
        return self._process

    @property
    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it, and wait until it is ready. Raises NotReady."""
        self.launch()
        return self.wait_until_announced()

    def launch(self) -> None:
        """Start it; do not wait."""
        assert not self.is_running, f"{self.name} runs already"
        _logs[self.log] = None
        self._began = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [self.program, self.role], env=self.environment, stdout=subprocess.PIPE, stderr=log, text=True
            )

    def wait_until_announced(self) -> Self:
        """Wait until it has announced its addresses. Raises NotReady."""
        self._read_addresses()
        self.ready_seconds = time.monotonic() - self._began
        return self

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end; return the exit code. Raises subprocess.TimeoutExpired."""
        self.output += self.process.communicate(timeout=seconds)[0] or ""
        return self.process.returncode

    def kill(self) -> None:
        """Send SIGKILL and wait for the end."""
        self.process.kill()
        self.wait()

    def terminate(self) -> int:
        """Send SIGTERM and wait for the end; return the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def freeze(self) -> None:
        """Stop all its threads; its connections stay open, as on a machine that hangs."""
        freeze(self.process.pid)

    def thaw(self) -> None:
        """Continue a frozen process."""
        self.signal(signal.SIGCONT)

    def run(self, *words: str, typed: str = "", **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a command, such as `rookery config list`, with the settings of the process and further ones."""
        return subprocess.run(
            [self.program, *words],
            env=self.environment | settings,
            cwd=self.log.parent,
            input=typed,
            text=True,
            capture_output=True,
            timeout=READY_SECONDS,
        )

    def log_lines(self) -> list[dict[str, Any]]:
        """Its log records; a line that is not complete yet is left out."""
        whole = self.log.read_bytes().rpartition(b"\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    @property
    def open_files(self) -> int:
        """Number of open files and sockets."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @property
    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    @property
    def cpu_seconds(self) -> float:
        """CPU time of the newest run, of all threads."""
        return cpu_seconds(self.process.pid)

    @property
    def resident_bytes(self) -> int:
        """Resident memory."""
        return resident_bytes(self.process.pid)

    def is_ready(self) -> bool:
        """Whether the readiness probe of each of its roles succeeds."""
        return all(_is_well(url) for url in self._probes())

    def _probes(self) -> list[str]:
        pages = [address + "readyz" for name, address in self.addresses.items() if name == "page"]
        return pages + [address for name, address in self.addresses.items() if name.endswith("_health")]

    def _read_addresses(self) -> None:
        stdout, announced = self.process.stdout, ANNOUNCED_BY_ROLE[self.role]
        assert stdout is not None
        timer = threading.Timer(READY_SECONDS, self.process.kill)
        timer.daemon = True  # an interrupt may come before the `try`
        timer.start()
        output = ""
        try:
            while len(found := _announced(announced, output)) < len(announced):
                line = stdout.readline()
                output += line
                if not line:
                    break
        finally:
            timer.cancel()
        self.output += output
        if len(found) < len(announced):
            code = self.wait()
            logged = self.log.read_text()[-2000:]
            raise NotReady(f"{self.name}: exit code {code}; it printed {output!r} and logged {logged}")
        self.addresses = found
        for name, (_, setting) in announced.items():
            self.environment[setting] = str(port_of(found[name]))


class Rookery(Process):
    """`rookery up`: the whole platform in one process, on the embedded engines unless its settings name others."""

    def __init__(self, data: Path, *, settings: dict[str, str] | None = None, **live: float) -> None:
        """`settings` are environment variables; `live` is live configuration, stored before the first start."""
        ports = {setting: str(free_port()) for _, setting in ANNOUNCED.values()}  # reserved while it is down
        super().__init__("up", data.with_suffix(".log"), ports | {"ROOKERY_DATA": str(data)} | (settings or {}))
        self.data = data
        self._live = UNLIMITED | live

    def start(self) -> Self:
        if self._live:
            configure(self.environment, self._live)
            self._live = {}
        return super().start()


class NotReady(Exception):
    """A process ended before it was ready, or took too long; the text has its output and the end of its log."""


@contextmanager
def running(process: P) -> Iterator[P]:
    """Start it. At the end of the block it is stopped, unless it has ended."""
    try:
        yield process.start()
    finally:
        stop_all([process])


def stop_all(processes: Iterable[Process]) -> None:
    """Send SIGTERM to all, thaw frozen ones, and wait. Kill the ones that do not end, then raise TimeoutExpired."""
    stopping = [process for process in processes if process.is_running]
    for process in stopping:
        process.thaw()
        process.signal(signal.SIGTERM)
    stuck: list[subprocess.TimeoutExpired] = []
    for process in stopping:
        try:
            process.wait()
        except subprocess.TimeoutExpired as error:
            process.kill()
            stuck.append(error)
    if stuck:
        raise stuck[0]


def log_tails(since: float) -> list[tuple[str, str]]:
    """Name and last lines of the logs that processes have written to after a time in seconds since 1970."""
    recent = [log for log in _logs if log.exists() and log.stat().st_mtime >= since]
    return [
        (log.name, "".join(log.read_text(errors="replace").splitlines(True)[-TAIL_LINES:])) for log in recent[-TAILS:]
    ]


def port_of(address: str) -> int:
    """The port in `host:port` or in a URL."""
    port = urlsplit(address if "//" in address else f"//{address}").port
    assert port is not None, address
    return port


def wait_until(is_so: Callable[[], bool], seconds: float = STOP_SECONDS) -> bool:
    """Wait until the condition holds; return False after the timeout."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _announced(announced: dict[str, tuple[str, str]], output: str) -> dict[str, str]:
    """The addresses in its output so far."""
    matches = {name: re.search(pattern, output) for name, (pattern, _) in announced.items()}
    return {name: match[1] for name, match in matches.items() if match and output.endswith("\n")}


def _is_well(probe: str) -> bool:
    try:
        return httpx.get(probe, timeout=PROBE_SECONDS, verify=client_tls(None, "http/1.1")).is_success
    except httpx.TransportError:
        return False


_logs: dict[Path, None] = {}
"""Logs of all processes that this process has started, in order of their first start."""
