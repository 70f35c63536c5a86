"""A clock that a test can step: Python imports this at its start wherever PYTHONPATH has this folder.

The wall clock is off by as many nanoseconds as a file in `TEST_CLOCK_FOLDER` says, whose name is that of the process in
its consumer groups. See `tools/faults/stage.py`, which writes it.
"""

import mmap
import os
import struct
import time
from pathlib import Path

_NANOSECONDS = struct.Struct("<q")


def _install(file: Path) -> None:
    file.touch()
    if file.stat().st_size < _NANOSECONDS.size:
        os.truncate(file, _NANOSECONDS.size)
    with file.open("rb") as opened:
        memory = mmap.mmap(opened.fileno(), _NANOSECONDS.size, access=mmap.ACCESS_READ)
    real_ns = time.time_ns

    def stepped_ns() -> int:
        return real_ns() + int(_NANOSECONDS.unpack(memory)[0])

    time.time_ns = stepped_ns
    time.time = lambda: stepped_ns() / 1e9


if "TEST_CLOCK_FOLDER" in os.environ:
    _install(Path(os.environ["TEST_CLOCK_FOLDER"]) / os.environ.get("ROOKERY_KAFKA__INSTANCE", "alone"))
