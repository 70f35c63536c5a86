"""Run one real engine: start, stop, kill, freeze, thaw, and start again on the same data and port.

Every call blocks, so that plain tests can use it; a Trio test calls it by `trio.to_thread.run_sync`.
"""

import fcntl
import json
import os
import random
import re
import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import ClassVar, Self, TypeVar

from tools.engines.install import cache_folder
from tools.launch.freezing import freeze

ENGINES_VARIABLE = "TEST_ENGINES"
"""Environment variable: the folder of engines that the test runner has started, one folder per engine name."""

HOST = "127.0.0.1"

START_SECONDS = 180.0
"""Only ends a test that has failed: alone, the slowest engine starts in 4 s; on a busy machine in half a minute."""

STOP_SECONDS = 60.0
"""Seconds from SIGTERM to SIGKILL."""

ANSWER_SECONDS = 2.0
"""Timeout of one readiness request."""

POLL_SECONDS = 0.05

PORTS = range(20_000, 32_000)
"""Below the ephemeral ports of Linux."""

Options = Mapping[str, str | None]
"""Configuration options of one instance; None removes an option."""


@dataclass(frozen=True, slots=True)
class Run:
    """Content of `run.json`: identifies the newest process on a folder, so that others can find and stop it."""

    ports: dict[str, int]
    pid: int
    started: int | None


class Engine(ABC):
    """A server with data and log in `home`. It takes free ports at its first start, and keeps them."""

    name: ClassVar[str]
    inner_ports: ClassVar[tuple[str, ...]] = ()
    """Names of further ports, besides the client port."""
    request: ClassVar[bytes]
    """Sent to find out whether the server is ready."""
    reply: ClassVar[re.Pattern[bytes]]
    """Matches the start of a ready server's reply."""

    def __init__(
        self,
        home: Path,
        options: Options | None = None,
        *,
        host: str = HOST,
        port: int | None = None,
        lasting: bool = False,
    ) -> None:
        """Clients connect to `host`, an address of this machine, and `port`: by default the port of the last start on
        this folder, or a free one. An engine that was started before on this folder is attached to. A `lasting` engine
        outlives this process; any other is killed when this process ends, however it ends."""
        self.home = home
        self.host = host
        self.options = dict(options or {})
        file = home / "run.json"
        self._run = Run(**json.loads(file.read_text())) if file.exists() else None
        self._ports = dict(self._run.ports) if self._run else {}
        if port:
            self._ports["port"] = port
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._is_lasting = lasting

    @classmethod
    @abstractmethod
    def install(cls) -> None:
        """Download and prepare the engine, once. Raises install.Missing."""

    @abstractmethod
    def command(self, ports: dict[str, int]) -> list[str]:
        """Prepare `home`, if it is new; return the command that runs the server."""

    @property
    def port(self) -> int:
        """The client port."""
        return self._ports["port"]

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> Path:
        """Standard output and error of all its processes."""
        return self.home / "log"

    @property
    def pid(self) -> int:
        """Id of the newest process."""
        assert self._run is not None, f"{self.name} was never started"
        return self._run.pid

    @property
    def is_running(self) -> bool:
        """Whether the newest process, and not a later one with its id, still runs. A frozen process runs."""
        running = self._run is not None and self._run.started is not None and start_time(self.pid) == self._run.started
        if self._process is not None and self._process.poll() is not None:  # after start_time(), since poll() reaps it
            return False
        return running

    def start(self) -> Self:
        """Start it unless it runs, and wait until it is ready."""
        self.launch()
        return self.wait_until_ready()

    def launch(self) -> None:
        """Start its process unless it runs; do not wait."""
        if self.is_running:
            return
        for name in ("port", *self.inner_ports):
            self._ports.setdefault(name, free_port())
            if not is_free(self._ports[name], self.host):
                raise RuntimeError(f"{self.name}: something else listens on {self.host}:{self._ports[name]}")
        self.home.mkdir(parents=True, exist_ok=True)
        command = self.command(self._ports)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self.home, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self._run = Run(self._ports, self._process.pid, start_time(self._process.pid))
        (self.home / "run.json").write_text(json.dumps(asdict(self._run)))
        if not self._is_lasting:
            self._start_guard()

    def wait_until_ready(self) -> Self:
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if not self.is_running:
                raise RuntimeError(f"{self.name} has ended; its log ends with {self._log_tail()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not answer; its log ends with {self._log_tail()}")
            time.sleep(POLL_SECONDS)
        return self

    def is_ready(self) -> bool:
        """Whether it replies to a readiness request now."""
        try:
            with socket.create_connection((self.host, self.port), timeout=ANSWER_SECONDS) as client:
                client.sendall(self.request)
                return bool(self.reply.match(client.recv(64)))
        except OSError:
            return False

    def stop(self) -> None:
        """Send SIGTERM, then SIGKILL after STOP_SECONDS; wait for the end."""
        if self.is_running:
            self.thaw()
            os.kill(self.pid, signal.SIGTERM)
            if not self._ends_within(STOP_SECONDS):
                self.kill()

    def kill(self) -> None:
        """Send SIGKILL and wait for the end. Its port is free afterwards."""
        if self.is_running:
            os.kill(self.pid, signal.SIGKILL)
            if not self._ends_within(STOP_SECONDS):
                raise TimeoutError(f"{self.name} outlives SIGKILL")

    def freeze(self) -> None:
        """Stop all its threads; its connections stay open, as on a machine that hangs."""
        freeze(self.pid)

    def thaw(self) -> None:
        """Continue a frozen process."""
        os.kill(self.pid, signal.SIGCONT)

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.is_running:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS / 2)
        self._stop_guard()
        return True

    def _start_guard(self) -> None:
        """Start a guard that kills it when this process ends, which closes the guard's standard input."""
        self._stop_guard()
        words = ["sh", "-c", 'read -r _; kill -9 "$0"', str(self.pid)]
        self._guard = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)

    def _stop_guard(self) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def _log_tail(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


B = TypeVar("B", bound=Engine)


@contextmanager
def running(engine: B) -> Iterator[B]:
    """Start it, and kill it at the end of the block."""
    try:
        yield engine.start()
    finally:
        engine.kill()


def start_all(engines: Iterable[Engine]) -> None:
    """Start them in parallel, and wait until each is ready."""
    engines = list(engines)
    for engine in engines:
        engine.launch()
    for engine in engines:
        engine.wait_until_ready()


def start_time(pid: int) -> int | None:
    """Start of a process, in clock ticks since boot (see proc(5)); None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, threads, started = fields[0], int(fields[17]), int(fields[19])
    ended = state == "Z" and threads <= 1  # a killed process holds its port until its last thread is gone
    return None if ended else started


def is_free(port: int, host: str = HOST) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ignore connections in TIME_WAIT
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """Reserve a free port below the ephemeral ports, so that no client takes it while its server is down.

    A port is returned once among all processes that run, so that a server that is down keeps its port."""
    port = next(port for port in random.sample(PORTS, len(PORTS)) if port not in _returned_ports and reserve(port))
    _returned_ports.add(port)
    return port


def reserve(port: int) -> bool:
    """Reserve a port until this process ends; return False if it is in use or reserved by another process."""
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return is_free(port)


@cache
def _reservations() -> int:
    """File in which processes lock one byte per port. It stays open, since closing it releases every lock."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    return os.open(cache_folder() / "ports", os.O_RDWR | os.O_CREAT, 0o600)


_returned_ports: set[int] = set()
