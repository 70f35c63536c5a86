"""Offset the wall clock of a process. Python imports this module at its start if PYTHONPATH has its folder.

The offset in nanoseconds is in a file in `TEST_CLOCK_FOLDER` with the process's name in its consumer groups;
`tools/faults/stage.py` writes it.
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
