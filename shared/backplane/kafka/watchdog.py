"""The watchdog: takes the members of this process out of their consumer groups if the process is killed.

The other members get its partitions within a second then, and not only after the session timeout. That is safe for two
reasons: the operating system ends the watchdog's input only once this process is dead, and so can accept nothing any
more; and a process that is frozen stays in its groups until the session timeout, as one whose machine has failed does.
A container that is killed ends with its watchdog.
"""

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import structlog

from shared.backplane.kafka.client import connection_options
from shared.settings import KafkaSettings

PROCESS = Path(__file__).with_name("watchdog_process.py")

_log = structlog.get_logger("rookery.backplane")


class Watchdog:
    """One for each backplane, with a process of its own. `joined` and `left` are for Kafka's thread, the other methods
    for Trio's."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, unless it was started before. It has a session of its own, and so gets no signal from a
        terminal."""
        if self._process is not None:
            return
        try:
            self._process = subprocess.Popen(  # noqa: S603 - a program of ours
                [sys.executable, "-I", str(PROCESS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                cwd="/",
                env={},
                start_new_session=True,
            )
        except OSError as error:
            _log.warning("watchdog_not_started", error=str(error))
            return
        assert self._process.stdin is not None  # noqa: S101 - for the type checker
        os.set_blocking(self._process.stdin.fileno(), False)
        self._write(connection_options(self._settings))

    def joined(self, group: str, instance: str, member_id: str) -> None:
        """Note that the member is in the group, under this id."""
        self._write([group, instance, member_id])

    def left(self, group: str, instance: str) -> None:
        """Note that the member is in the group no more."""
        self._write([group, instance, ""])

    def _write(self, line: object) -> None:
        """Write a line, if the process runs: without it, groups exclude a killed member after the session timeout."""
        if self._process is not None and self._process.stdin is not None:
            with suppress(OSError, ValueError):  # it was killed, or is closed
                self._process.stdin.write(json.dumps(line).encode() + b"\n")

    def close(self) -> None:
        """End the process. The members have left, or their groups exclude them after the session timeout."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
