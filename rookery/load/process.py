"""The CPU and memory of a process, and the process that listens on a port, from Linux's /proc."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LISTENING = "0A"
"""The state of a listening socket in /proc/net/tcp."""


def cpu_seconds(pid: int) -> float:
    """Return the user and system time of all its threads, in steps of 10 ms. Raises OSError if the process is gone."""
    # The name of the program, in brackets, may contain spaces and brackets.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident_bytes(pid: int) -> int:
    """Return the resident memory of the process. Raises OSError if it is gone."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def total(read: Callable[[int], float], pids: Sequence[int]) -> float | None:
    """Return the sum of the readings of the processes; None without a process, or if one is gone."""
    with suppress(OSError):
        return sum(map(read, pids)) if pids else None
    return None


def difference(now: float | None, before: float | None) -> float | None:
    """Return the growth of a total; None if one of them is."""
    return None if now is None or before is None else now - before


def pid_listening_on(port: int) -> int | None:
    """Return the process of this user that listens on the TCP port; None if none is visible."""
    inodes = {
        f"socket:[{fields[9]}]"
        for table in ("/proc/net/tcp", "/proc/net/tcp6")
        for fields in _rows(Path(table))
        if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port
    }
    return next((pid for pid in _pids() if inodes & _open_files(pid)), None) if inodes else None


def _rows(table: Path) -> list[list[str]]:
    with suppress(OSError):
        return [line.split() for line in table.read_text().splitlines()[1:]]
    return []


def _pids() -> list[int]:
    return sorted(int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdecimal())


def _open_files(pid: int) -> set[str]:
    """Return the targets of its descriptors, as far as they are readable."""
    files = set()
    with suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(OSError):
                files.add(os.readlink(descriptor))
    return files
