"""How many files and sockets this process may have open, and how many of them may be connections of clients."""

import resource

SHARE = 0.4
"""Of what may be open, what one listener's connections may take: two of them leave a fifth for logs, stores and the
rest, since a process that has used all up can't reach its stores either."""

MOST_CONNECTIONS = 50_000
"""To one listener where any number may be open: their memory is bounded too, at 50 KiB each 2.5 GB."""


def open_files() -> int | None:
    """How many may be open now; None if any number."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if soft == resource.RLIM_INFINITY else soft


def allow_most_open_files() -> None:
    """Have as many as the system allows: its usual limit of 1,024 is for programs that use `select`."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def connections_allowed() -> int:
    """How many connections one listener of this process may have."""
    files = open_files()
    return MOST_CONNECTIONS if files is None else min(int(files * SHARE), MOST_CONNECTIONS)
