"""The limit on open files and sockets of this process, and the share of it for connections of clients."""

import resource

SHARE = 0.8
"""Share of the limit for the connections of all listeners together: a fifth is left for logs, stores and the rest,
since a process at its limit can't reach its stores."""

MOST_CONNECTIONS = 50_000
"""Most connections of one listener, even if the process may open more files: at 50 KiB each, 2.5 GB of memory."""

MOST_LISTENERS = 2
"""Listeners that may have `MOST_CONNECTIONS` at once where the number of open files is unlimited."""


def open_files() -> int | None:
    """The limit on open files now; None if there is none."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def allow_most_open_files() -> None:
    """Raise the limit to the system's maximum: the usual 1,024 is for programs that use `select`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_allowed() -> int:
    """The most connections that all listeners of this process together may have."""
    files, most = open_files(), MOST_LISTENERS * MOST_CONNECTIONS
    return most if files is None else min(int(files * SHARE), most)
