"""The options of a verification, their bounds, and the recipients of each client."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from rookery.client.reconnector import Transport
from rookery.load.passwords import new_password
from rookery.load.run import check_target
from rookery.load.sessions import LoadError
from shared.contract.groups import MAX_MEMBERS

MAX_CLIENTS = 2_000
MAX_MESSAGES = 1_000_000
MAX_SECONDS = 24 * 3600.0
MAX_RATE = 10_000.0
MAX_CROWD = 100_000
MAX_SLOW = 100
MAX_GROUPS = 20

LEAST_MEMBERS = 4
"""Fewest members of a group: the owner, an admin, and two members that leave and return."""

GROUP_EVERY = 10
"""One message of a client in this many goes to a group, if the client is in one."""

TRANSPORTS: Final[tuple[Transport, Transport]] = ("websocket", "grpc")


class VerifyError(Exception):
    """The verification can't run. The message is for the person who started it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of a run. Without a `rate` (messages a second, of all clients), send as fast as answers arrive."""

    urls: tuple[str, ...] = ("http://127.0.0.1:8080",)
    """The BFFs. Clients are spread over them, and fail over to the next."""
    clients: int = 100
    messages: int = 10_000
    rate: float | None = None
    seconds: float = 600.0
    """New messages are sent for so long; pending ones are completed after that."""
    settle_seconds: float = 60.0
    """Bound of each step at the end: the last answers, the last deliveries, the whole history."""
    in_flight: int = 4
    """Unanswered messages of each client at once, without a rate."""
    size: int = 100
    """Bytes of each text, at least."""
    changes: float = 20.0
    """Percent of the messages that are edited, deleted or reacted to once they are accepted."""
    files: float = 5.0
    """Percent of the messages that have a file, as far as the files are uploaded in time."""
    slow_clients: int = 0
    """Additional clients that are sent messages and never read."""
    slow_clients_read: bool = False
    """Let the slow clients read, for comparison."""
    churn: int = 0
    """Sessions that are opened and closed during the run."""
    groups: tuple[int, ...] = (10, 200)
    """The first members of each group, at most all clients: a tenth of the messages goes to groups, and users leave and
    join them during the run."""
    channel: int = 60
    """The first members of a channel, which is like a group for half of the clients, who have it open; the others
    follow it, and get its heads. At most all clients; 0 for none."""
    absences: int = 0
    """Times that a client is away for 8 s, and comes back with a position that the server does not hold any more."""
    late_retries: int = 0
    """Accepted messages that are sent again at the end, `late_after` seconds after their acceptance."""
    late_after: float = 330.0
    """More than the platform's `tail_seconds`, which are 300 by default."""
    accounts: str = "verify"
    """The prefix of the account names. Accounts are registered once and reused."""
    password: str = field(default_factory=new_password, repr=False, compare=False)
    """The password of the accounts, which later runs need: they reuse the accounts."""
    anywhere: bool = False
    """Whether the servers may be on another machine."""
    ca_file: Path | None = None
    """The authority of servers with TLS; None: the system's authorities."""


def check_plan(plan: Plan) -> None:
    """Raises VerifyError for a plan out of bounds."""
    if plan.clients % 2 or not 2 <= plan.clients <= MAX_CLIENTS:
        raise VerifyError(
            f"--clients must be an even number from 2 to {MAX_CLIENTS}: they write to each other in pairs"
        )
    for option, value, low, high in (
        ("--messages", plan.messages, 1, MAX_MESSAGES),
        ("--seconds", plan.seconds, 0.1, MAX_SECONDS),
        ("--settle", plan.settle_seconds, 0.1, MAX_SECONDS),
        ("--rate", 1.0 if plan.rate is None else plan.rate, 0.1, MAX_RATE),
        ("--in-flight", plan.in_flight, 1, 64),
        ("--bytes", plan.size, 1, 16_000),
        ("--changes", plan.changes, 0, 100),
        ("--files", plan.files, 0, 100),
        ("--slow-clients", plan.slow_clients, 0, MAX_SLOW),
        ("--churn", plan.churn, 0, MAX_CROWD),
        ("--absences", plan.absences, 0, MAX_CROWD),
        ("--late-retries", plan.late_retries, 0, MAX_CROWD),
        ("--late-after", plan.late_after, 0.1, MAX_SECONDS),
    ):
        if math.isnan(value) or not low <= value <= high:
            raise VerifyError(f"{option} must be from {low:g} to {high:g}")
    if len(plan.groups) > MAX_GROUPS or not all(LEAST_MEMBERS <= size <= MAX_MEMBERS for size in plan.groups):
        raise VerifyError(f"--group must be from {LEAST_MEMBERS} to {MAX_MEMBERS}, and at most {MAX_GROUPS} times")
    if plan.channel and not LEAST_MEMBERS <= plan.channel <= MAX_MEMBERS:
        raise VerifyError(f"--channel must be from {LEAST_MEMBERS} to {MAX_MEMBERS}, or 0")
    if not plan.accounts.isascii() or not 3 <= len(plan.accounts) <= 20:
        raise VerifyError("--accounts must have 3 to 20 characters of a-z, 0-9, . _ and -")
    if not plan.urls:
        raise VerifyError("--url must be the address of the HTTP API")
    for url in plan.urls:
        _check_url(url, plan.anywhere)


def _check_url(url: str, anywhere: bool) -> None:
    if urlsplit(url).scheme not in ("http", "https"):
        raise VerifyError(f"{url!r} is not the URL of an HTTP API")
    try:
        check_target(url, anywhere)
    except LoadError as error:
        raise VerifyError(str(error)) from error


def partners(number: int, clients: int) -> Sequence[int]:
    """Return the recipients of a client: its partner, and a client of the next pair, for messages across partitions."""
    pair, next_pair = number ^ 1, (number + 2) % clients
    return (pair,) if clients == 2 else (pair, next_pair)


def group_sizes(plan: Plan) -> Sequence[tuple[int, bool]]:
    """Return the number of first members of each group, and whether it is the channel, which is the first; none if
    there are too few clients for groups."""
    channels = [(plan.channel, True)] if plan.channel else []
    sizes = [*channels, *((size, False) for size in plan.groups)]
    return [(min(size, plan.clients), is_channel) for size, is_channel in sizes if plan.clients >= LEAST_MEMBERS]


def opens_channels(number: int) -> bool:
    """Whether a client opens the channels that it follows: every second pair of clients, which has both transports."""
    return number % 4 < 2


def share(number: int, plan: Plan) -> int:
    """Return the number of the plan's messages that this client sends."""
    return plan.messages // plan.clients + (number < plan.messages % plan.clients)
