"""One real server, for tests: start, stop, kill, freeze, thaw, and start again on the same data and port.

Everything blocks, so that plain tests can use it; a Trio test calls it by `trio.to_thread.run_sync`.
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

HOST = "127.0.0.1"

START_SECONDS = 180.0
"""Only ends a test that has failed: alone, the slowest engine starts in 4 s; on a busy machine in half a minute."""

STOP_SECONDS = 60.0
"""Then a server that was asked to end is killed."""

ANSWER_SECONDS = 2.0
"""For one answer to the question whether it is ready."""

POLL_SECONDS = 0.05

PORTS = range(20_000, 32_000)
"""Below those that Linux gives to clients."""

Options = Mapping[str, str | None]
"""What one instance has otherwise than the rest, by the names in its configuration; None takes a name away."""


@dataclass(frozen=True, slots=True)
class Run:
    """What `run.json` tells of the newest process on a folder: another process can find it by that, and stop it."""

    ports: dict[str, int]
    pid: int
    started: int | None


class Backend(ABC):
    """A server that has `home` for its data and its log. It takes free ports at its first start, and keeps them."""

    name: ClassVar[str]
    inner_ports: ClassVar[tuple[str, ...]] = ()
    """Ports that it needs for itself, besides the one for clients."""
    request: ClassVar[bytes]
    """What a server that is ready answers."""
    reply: ClassVar[re.Pattern[bytes]]
    """How that answer begins."""

    def __init__(
        self,
        home: Path,
        options: Options | None = None,
        *,
        host: str = HOST,
        port: int | None = None,
        lasting: bool = False,
    ) -> None:
        """`host` is an address of this machine at which clients reach it, and `port` theirs; without, the one of the
        last time on this folder, or a free one. One that is `lasting` outlives this process; another ends with it,
        however that ends."""
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
        """Make it ready to start, unless it is. Raises install.Missing."""

    @abstractmethod
    def command(self, ports: dict[str, int]) -> list[str]:
        """Lay out `home` where that is still to do; the command that runs the server."""

    @property
    def port(self) -> int:
        """For clients."""
        return self._ports["port"]

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    @property
    def log(self) -> Path:
        """What it said, in all its lives."""
        return self.home / "log"

    @property
    def pid(self) -> int:
        """Of the newest process."""
        assert self._run is not None, f"{self.name} was never started"
        return self._run.pid

    @property
    def is_running(self) -> bool:
        """Whether the newest process, and not a later one of the same id, still runs; a frozen one does."""
        running = self._run is not None and self._run.started is not None and start_time(self.pid) == self._run.started
        if self._process is not None and self._process.poll() is not None:  # after the look, so that it is reaped
            return False
        return running

    def start(self) -> Self:
        """Start it unless it runs, and wait until it answers."""
        self.launch()
        return self.wait_until_ready()

    def launch(self) -> None:
        """Start its process unless it runs."""
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
            self._set_guard()

    def wait_until_ready(self) -> Self:
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            if not self.is_running:
                raise RuntimeError(f"{self.name} has ended; its log ends with {self._last_words()}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} does not answer; its log ends with {self._last_words()}")
            time.sleep(POLL_SECONDS)
        return self

    def answers(self) -> bool:
        """Whether it is ready now."""
        try:
            with socket.create_connection((self.host, self.port), timeout=ANSWER_SECONDS) as client:
                client.sendall(self.request)
                return bool(self.reply.match(client.recv(64)))
        except OSError:
            return False

    def stop(self) -> None:
        """Ask it to end, and wait for it."""
        if self.is_running:
            self.thaw()
            os.kill(self.pid, signal.SIGTERM)
            if not self._ends_within(STOP_SECONDS):
                self.kill()

    def kill(self) -> None:
        """End it the hard way, and be sure that it is gone: its port is free."""
        if self.is_running:
            os.kill(self.pid, signal.SIGKILL)
            if not self._ends_within(STOP_SECONDS):
                raise TimeoutError(f"{self.name} outlives SIGKILL")

    def freeze(self) -> None:
        """It stops in its tracks, its connections stay open: what a client sees of a machine that hangs."""
        freeze(self.pid)

    def thaw(self) -> None:
        """It goes on as if nothing had been."""
        os.kill(self.pid, signal.SIGCONT)

    def _ends_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self.is_running:
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_SECONDS / 2)
        self._drop_guard()
        return True

    def _set_guard(self) -> None:
        """Have it killed when this process is gone, and with it the only writing end of the guard's standard input."""
        self._drop_guard()
        words = ["sh", "-c", 'read -r _; kill -9 "$0"', str(self.pid)]
        self._guard = subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True)

    def _drop_guard(self) -> None:
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


B = TypeVar("B", bound=Backend)


@contextmanager
def running(backend: B) -> Iterator[B]:
    """Start it; at the end of the block it is killed, since nobody needs its data any more."""
    try:
        yield backend.start()
    finally:
        backend.kill()


def start_all(backends: Iterable[Backend]) -> None:
    """Start them side by side, and wait until each answers."""
    backends = list(backends)
    for backend in backends:
        backend.launch()
    for backend in backends:
        backend.wait_until_ready()


def start_time(pid: int) -> int | None:
    """When a process began, in clock ticks since boot (see proc(5)); None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    state, threads, started = fields[0], int(fields[17]), int(fields[19])
    ended = state == "Z" and threads <= 1  # a killed process holds its port until its last thread is gone
    return None if ended else started


def is_free(port: int, host: str = HOST) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections on their way out do not matter
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A free port below those that the kernel gives to clients, lest one takes it while the server is down. Each is
    given once, by this process or by another that lives, so that what is not started yet, or is down, keeps its own."""
    port = next(port for port in random.sample(PORTS, len(PORTS)) if port not in _given and reserve(port))
    _given.add(port)
    return port


def reserve(port: int) -> bool:
    """Whether it is free, and reserved by no other process. Then it is reserved by this one until that ends."""
    try:
        fcntl.lockf(_reservations(), fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return is_free(port)


@cache
def _reservations() -> int:
    """The file in which processes lock a byte for each of their ports. It stays open, since to close it unlocks all."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    return os.open(cache_folder() / "ports", os.O_RDWR | os.O_CREAT, 0o600)


_given: set[int] = set()
