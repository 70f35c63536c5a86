"""What the BFF says at `/metrics`: its requests, and how sign-ins and registrations end."""

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import ParamSpec

from bff.http.endpoints import Answer
from bff.http.server import Server
from shared.accounts.tokens import PasswordHasher
from shared.contract.errors import Code, Refusal
from shared.telemetry.metrics import Readings
from shared.telemetry.metrics import catalogue as metrics
from shared.telemetry.metrics.instruments import Counter

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""Others are one label together: a client may make up any."""

P = ParamSpec("P")


def bff_readings(server: Server, passwords: PasswordHasher) -> Readings:
    """What there is now."""
    return {
        metrics.HTTP_CONNECTIONS: lambda: server.connections,
        metrics.PASSWORDS_UNDER_WAY: lambda: passwords.under_way,
        metrics.PASSWORDS_WAITING: lambda: passwords.waiting,
    }


def measure_request(method: str, route: str, status: int, seconds: float) -> None:
    """A request has its answer. The route is empty where there is none."""
    metrics.HTTP.observe(seconds, method if method in METHODS else "other", route or "other", str(status))


def counted(
    counter: Counter, results: Mapping[Code, str]
) -> Callable[[Callable[P, Awaitable[Answer | Refusal]]], Callable[P, Awaitable[Answer | Refusal]]]:
    """Count how each call of an endpoint ends: `ok`, what `results` calls the code of its refusal, or else
    `unavailable`. One whose client goes away is not counted."""

    def mark(handler: Callable[P, Awaitable[Answer | Refusal]]) -> Callable[P, Awaitable[Answer | Refusal]]:
        @wraps(handler)
        async def run(*arguments: P.args, **named: P.kwargs) -> Answer | Refusal:
            try:
                answer = await handler(*arguments, **named)
            except Exception:
                counter.inc("unavailable")
                raise
            counter.inc(results.get(answer.code, "unavailable") if isinstance(answer, Refusal) else "ok")
            return answer

        return run

    return mark
