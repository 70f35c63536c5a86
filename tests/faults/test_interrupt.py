"""`python -m tools.faults` leaves no process behind, however it is stopped."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tools.launch.process import wait_until

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_stops_its_processes(number: signal.Signals) -> None:
    words = [sys.executable, "-m", "tools.faults", "--short", "up-killed"]
    ignoring = lambda: signal.signal(signal.SIGINT, signal.SIG_IGN)  # noqa: E731 - as shells do in the background
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=ignoring) as run:
        assert wait_until(lambda: bool(servers_of(run.pid)))
        servers = servers_of(run.pid)
        run.send_signal(number)
        assert run.wait(60) == 130
        assert run.stderr is not None
        assert run.stderr.read() == "interrupted\n"
    assert wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in servers))


def servers_of(pid: int) -> list[int]:
    """The children of the process that are `rookery up`."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    found = map(int, children.read_text().split()) if children.exists() else ()
    return [child for child in found if b"rookery\0up\0" in Path(f"/proc/{child}/cmdline").read_bytes()]
