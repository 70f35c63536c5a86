"""A worker can do nothing but render."""

import signal
import subprocess
import sys

import pytest

ATTEMPTS = {
    "open('/etc/passwd')": "Too many open files",
    "__import__('socket').socket()": "Too many open files",
    "os.fork()": "Resource temporarily unavailable",
    "bytearray(2 << 30)": "MemoryError",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_worker_opens_and_starts_nothing(attempt: str) -> None:
    program = f"import os, socket\nfrom shared.pictures import worker\nworker._give_up_rights()\n{attempt}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={})
    assert ATTEMPTS[attempt] in done.stderr.splitlines()[-1]


def test_a_worker_that_computes_for_ever_ends() -> None:
    program = "from shared.pictures import worker\nworker.CPU_SECONDS = 1\nworker._give_up_rights()\nwhile True: pass"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, env={}, timeout=60).returncode
        == -signal.SIGXCPU
    )
