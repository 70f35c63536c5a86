"""A worker can do nothing but render."""

import signal
import subprocess
import sys

import pytest

LIMITED = "import os, socket; from shared.pictures import worker\nworker._drop_privileges(worker.SMALL_MEMORY_BYTES)"
"""A program that has the privileges of a worker."""

ATTEMPTS = {
    "open('/etc/passwd')": "Too many open files",
    "__import__('socket').socket()": "Too many open files",
    "os.fork()": "Resource temporarily unavailable",
    "bytearray(600 << 20)": "MemoryError",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_worker_opens_and_starts_nothing(attempt: str) -> None:
    program = f"{LIMITED}\n{attempt}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={})
    assert ATTEMPTS[attempt] in done.stderr.splitlines()[-1]


def test_a_worker_that_computes_for_ever_ends() -> None:
    program = LIMITED.replace("\n", "\nworker.CPU_SECONDS = 1\n") + "\nwhile True: pass"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env={}, timeout=60)
    assert done.returncode == -signal.SIGXCPU
