"""What a verification is to do, within bounds, and who writes to whom."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from rookery.client.keeper import Transport
from rookery.load.run import check_target
from rookery.load.sessions import LoadError

MAX_CLIENTS = 2_000
MAX_MESSAGES = 1_000_000
MAX_SECONDS = 24 * 3600.0
MAX_RATE = 10_000.0
MAX_CROWD = 100_000
MAX_SLOW = 100

TRANSPORTS: Final[tuple[Transport, Transport]] = ("websocket", "grpc")


class VerifyError(Exception):
    """The verification can't be run; the message says why."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do. Without a `rate` (messages a second, of all clients together), send as fast as answers come."""

    urls: tuple[str, ...] = ("http://127.0.0.1:8080",)
    """Where the BFFs are. Clients are spread over them, and go to the next when theirs does not answer."""
    clients: int = 100
    messages: int = 10_000
    rate: float | None = None
    seconds: float = 600.0
    """For how long messages are begun; what was begun is brought to its end after that."""
    settle_seconds: float = 60.0
    """How long each thing at the end may take: the last answers, the last deliveries, the whole history."""
    in_flight: int = 4
    """Messages of each client that wait for their answers at once, if there is no rate."""
    size: int = 100
    """Bytes of each text, at least."""
    slow_clients: int = 0
    """Further clients that are written to and never read."""
    slow_clients_read: bool = False
    """Let the slow clients read after all: what to compare them with."""
    churn: int = 0
    """Sessions that are opened and left again meanwhile."""
    accounts: str = "verify"
    """What the names of the accounts begin with. They are made once and used again."""
    anywhere: bool = False
    """Whether the servers may be on another machine."""
    ca_file: Path | None = None
    """Who vouches for servers with TLS; without it, whom this system trusts."""


def check_plan(plan: Plan) -> None:
    """Raises VerifyError for what is out of bounds."""
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
        ("--slow-clients", plan.slow_clients, 0, MAX_SLOW),
        ("--churn", plan.churn, 0, MAX_CROWD),
    ):
        if math.isnan(value) or not low <= value <= high:
            raise VerifyError(f"{option} must be from {low:g} to {high:g}")
    if not plan.accounts.isascii() or not 3 <= len(plan.accounts) <= 20:
        raise VerifyError("--accounts must have 3 to 20 characters of a-z, 0-9, . _ and -")
    if not plan.urls:
        raise VerifyError("--url must say where the HTTP API is")
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
    """Whom the client writes to in turn: the other half of its pair, and one of the next: not all in one partition."""
    pair, next_pair = number ^ 1, (number + 2) % clients
    return (pair,) if clients == 2 else (pair, next_pair)


def share(number: int, plan: Plan) -> int:
    """How many of the plan's messages this client sends."""
    return plan.messages // plan.clients + (number < plan.messages % plan.clients)
