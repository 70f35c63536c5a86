"""The real `rookery up` in a process of its own, for tests: start, kill, stop, start again on the same data and ports.

Everything blocks, so that plain tests can use it; a Trio test calls it by `trio.to_thread.run_sync`.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import trio

from rookery.folder import DataFolder
from shared.configuration.sqlite import open_sqlite_configuration

ROOKERY = Path(sys.executable).with_name("rookery")

READY_SECONDS = 60.0
"""A machine with many tests at once takes a while to start Python; alone it takes one or two seconds."""

STOP_SECONDS = 30.0
"""Only ends a test that has failed: how long a stop may take is for the tests of stopping to say."""

POLL_SECONDS = 0.02
"""How often to look at what another process does."""

ANNOUNCED = {
    "page": (r"open (http://\S+)", "ROOKERY_BFF__PORT"),
    "websocket": (r"browsers +(ws://\S+)", "ROOKERY_GATEWAY__WEBSOCKET_PORT"),
    "grpc": (r"native +(\S+)", "ROOKERY_GATEWAY__GRPC_PORT"),
    "archive": (r"archive +(\S+)", "ROOKERY_ARCHIVE__GRPC_PORT"),
    "gateway_health": (r"health +\S+, (http://[^\s,]+)", "ROOKERY_GATEWAY__HEALTH_PORT"),
    "archive_health": (r"health +\S+, \S+, (http://\S+)", "ROOKERY_ARCHIVE__HEALTH_PORT"),
}
"""What `rookery up` says when it is ready, in this order, and the setting of each one's port."""

UNLIMITED = {"registrations_per_minute": 100_000, "sign_ins_per_minute": 10_000}
"""Live configuration for tests, whose users all come from one address."""


R = TypeVar("R", bound="Rookery")


class Rookery:
    """A process that is not running yet. Its ports are free ones, and stay the same when it is started again."""

    def __init__(self, data: Path, *, settings: dict[str, str] | None = None, **live: float) -> None:
        """`settings` are environment variables; `live` is live configuration, stored before the first start."""
        self.data = data
        self.log = data.with_suffix(".log")
        """Its standard error, of all its lives."""
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("ROOKERY_")}
        self.environment |= {setting: "0" for _, setting in ANNOUNCED.values()}
        self.environment |= {"ROOKERY_DATA": str(data), "ROOKERY_FILE": os.devnull} | (settings or {})
        self.addresses: dict[str, str] = {}
        """By the names of `ANNOUNCED`."""
        self.ready_seconds = 0.0
        """From the start of the process to its word that it is ready."""
        self._live = UNLIMITED | live
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        """Where the HTTP API and the page are, without a slash at the end."""
        return self.addresses["page"].rstrip("/")

    @property
    def websocket(self) -> str:
        return self.addresses["websocket"]

    @property
    def grpc(self) -> str:
        return self.addresses["grpc"]

    @property
    def process(self) -> "subprocess.Popen[str]":
        """The newest one."""
        assert self._process is not None, "it was never started"
        return self._process

    def start(self) -> "Rookery":
        """Start it, and wait until it says that it is ready."""
        if self._live:
            trio.run(_configure, self.data, self._live)
            self._live = {}
        began = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [ROOKERY, "up"], env=self.environment, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self._read_addresses()
        self.ready_seconds = time.monotonic() - began
        return self

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Wait for its end: the exit code. Raises subprocess.TimeoutExpired."""
        self.process.communicate(timeout=seconds)
        return self.process.returncode

    def kill(self) -> None:
        """End it the hard way, and be sure that it is gone."""
        self.process.kill()
        self.wait()

    def terminate(self) -> int:
        """Ask it to end, and wait for it: the exit code."""
        self.signal(signal.SIGTERM)
        return self.wait()

    def run(self, *words: str, typed: str = "", **settings: str) -> "subprocess.CompletedProcess[str]":
        """Run a command, such as `rookery config list`, with the settings of the process and these."""
        return subprocess.run(
            [ROOKERY, *words],
            env=self.environment | settings,
            cwd=self.data.parent,
            input=typed,
            text=True,
            capture_output=True,
            timeout=READY_SECONDS,
        )

    def log_lines(self) -> list[dict[str, Any]]:
        """What it has logged, line by line."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    @property
    def open_files(self) -> int:
        """Files and sockets that it has open now."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @property
    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def _read_addresses(self) -> None:
        stdout = self.process.stdout
        assert stdout is not None
        timer = threading.Timer(READY_SECONDS, self.process.kill)
        timer.start()
        said = ""
        while len(found := _announced(said)) < len(ANNOUNCED):
            line = stdout.readline()
            said += line
            if not line:
                break
        timer.cancel()
        if len(found) < len(ANNOUNCED):
            code = self.wait()
            raise NotReady(f"exit code {code}; it said {said!r} and logged {self.log.read_text()[-2000:]}")
        self.addresses = found
        for name, (_, setting) in ANNOUNCED.items():
            self.environment[setting] = str(port_of(found[name]))


class NotReady(Exception):
    """It ended instead of being ready, or took too long; says what it said itself."""


@contextmanager
def running(rookery: R) -> Iterator[R]:
    """Start it. At the end of the block it is stopped, unless it has ended already."""
    try:
        rookery.start()
        yield rookery
    finally:
        if rookery._process is not None and rookery.process.poll() is None:
            try:
                rookery.terminate()
            except subprocess.TimeoutExpired:
                rookery.kill()
                raise


def port_of(address: str) -> int:
    """The port in `host:port` or in a URL."""
    port = urlsplit(address if "//" in address else f"//{address}").port
    assert port is not None, address
    return port


def wait_until(is_so: Callable[[], bool], seconds: float = STOP_SECONDS) -> bool:
    """Wait until it is so; whether it was in time."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True


def _announced(said: str) -> dict[str, str]:
    """The addresses in what it said so far."""
    matches = {name: re.search(pattern, said) for name, (pattern, _) in ANNOUNCED.items()}
    return {name: match[1] for name, match in matches.items() if match and said.endswith("\n")}


async def _configure(data: Path, live: dict[str, float]) -> None:
    async with open_sqlite_configuration(DataFolder(data).configuration) as store:
        for key, value in live.items():
            await store.set(key, json.dumps(value))
