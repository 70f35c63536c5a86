"""Wait for conditions and print their durations; run processes during a block."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 300.0
"""Seconds of a wait; only ends a run that has failed."""

POLL_SECONDS = 0.2


@contextmanager
def timed(description: str) -> Iterator[None]:
    """Print the text and the duration of the block."""
    began = time.monotonic()
    yield
    print(f"{description} ({time.monotonic() - began:.1f} s)", flush=True)


def timed_until(description: str, condition: Callable[[], bool]) -> None:
    """Wait for a condition, and print the duration."""
    with timed(description):
        until(description, condition)


def until(description: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE:g} s: {description}")
        time.sleep(POLL_SECONDS)


@contextmanager
def started(folder: Path, program: str, *words: str) -> Iterator[None]:
    """Run a process during the block, with its log in the folder."""
    with (folder / f"{Path(program).name}.log").open("wb") as log:
        process = subprocess.Popen([program, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()
