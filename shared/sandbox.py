"""Drops the privileges of a process that reads untrusted input: low priority, little memory, first victim of the OOM
killer."""

import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

NOBODY = 65534
"""The user and the group that own nothing, on Linux."""


def drop_privileges(memory_bytes: int, cpu_seconds: int, *, open_files: int = 0, may_start: bool = False) -> None:
    """Limit this process for ever: its memory, as addresses and on Linux only; its CPU; and the files that it may have
    open. It can write no file, and unless it `may_start` some, no process and no thread. Root becomes nobody."""
    os.nice(10)  # chat comes first
    if sys.platform == "linux":
        with suppress(OSError):  # a container without /proc
            Path("/proc/self/oom_score_adj").write_text("1000")  # its parent survives, if memory is short
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
        if os.geteuid() == 0:  # root may exceed limits
            with suppress(OSError):  # a namespace without this user
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))  # SIGXCPU, then SIGKILL
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_files, open_files))
    limits = [resource.RLIMIT_FSIZE, resource.RLIMIT_CORE]
    for limit in limits if may_start else [*limits, resource.RLIMIT_NPROC]:
        resource.setrlimit(limit, (0, 0))
