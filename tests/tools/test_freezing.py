"""A frozen process does nothing more."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tools.launch.freezing import STOPPED, freeze, thread_states

THREADS = 8

BUSY = f"""
import threading
for _ in range({THREADS}):
    threading.Thread(target=lambda: all(True for _ in iter(int, 1)), daemon=True).start()
print(flush=True)
threading.Event().wait()
"""


@pytest.fixture
def busy() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        process.kill()


def test_every_thread_stands_still_once_a_process_is_frozen(busy: subprocess.Popen[bytes]) -> None:
    for _ in range(20):
        freeze(busy.pid)
        assert thread_states(busy.pid) == [STOPPED] * (THREADS + 1)
        busy.send_signal(signal.SIGCONT)
