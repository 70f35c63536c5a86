"""Waiting for what must happen, and saying how long it took; processes that are there for a while."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 300.0
"""Seconds for what must happen: it only ends a run that has failed."""

POLL_SECONDS = 0.2


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Say so at the end of the block, with the seconds that it took."""
    began = time.monotonic()
    yield
    print(f"{what} ({time.monotonic() - began:.1f} s)", flush=True)


def told(what: str, is_so: Callable[[], bool]) -> None:
    """Wait for it, and say so."""
    with timed(what):
        until(what, is_so)


def until(what: str, is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {PATIENCE:g} s: {what}")
        time.sleep(POLL_SECONDS)


@contextmanager
def started(folder: Path, program: str, *words: str) -> Iterator[None]:
    """A process that is there while the block is open; its log is in the folder."""
    with (folder / f"{Path(program).name}.log").open("wb") as log:
        process = subprocess.Popen([program, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        yield
    finally:
        process.kill()
        process.wait()
