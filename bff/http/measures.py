"""Metrics of the BFF: requests, and the results of sign-ins and registrations."""

from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from typing import ParamSpec

from bff.http.endpoints import Response
from bff.http.server import Server
from shared.accounts.tokens import PasswordHasher, TooManyPasswords
from shared.contract.errors import Code, Refusal
from shared.telemetry.metrics import Readings
from shared.telemetry.metrics import catalogue as metrics
from shared.telemetry.metrics.instruments import Counter

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
"""Every other method counts as `other`: a client may invent any number of them."""

P = ParamSpec("P")


def bff_readings(server: Server, passwords: PasswordHasher) -> Readings:
    """Gauges that are read at each scrape."""
    return {
        metrics.HTTP_CONNECTIONS: lambda: server.connections,
        metrics.PASSWORDS_UNDER_WAY: lambda: passwords.under_way,
        metrics.PASSWORDS_WAITING: lambda: passwords.waiting,
    }


def measure_request(method: str, route: str, status: int, seconds: float) -> None:
    """Count a finished request. `route` is empty where no route matched."""
    metrics.HTTP.observe(seconds, method if method in METHODS else "other", route or "other", str(status))


def counted(
    counter: Counter, results: Mapping[Code, str]
) -> Callable[[Callable[P, Awaitable[Response | Refusal]]], Callable[P, Awaitable[Response | Refusal]]]:
    """Count the result of each call of an endpoint: `ok`, the label in `results` for the code of its refusal, else
    `unavailable`. A call that is cancelled, as when its client disconnects, is not counted."""

    def mark(handler: Callable[P, Awaitable[Response | Refusal]]) -> Callable[P, Awaitable[Response | Refusal]]:
        @wraps(handler)
        async def run(*arguments: P.args, **named: P.kwargs) -> Response | Refusal:
            try:
                response = await handler(*arguments, **named)
            except TooManyPasswords:
                counter.inc(results.get(Code.RATE_LIMITED, "unavailable"))
                raise
            except Exception:  # only to count it: it is raised again
                counter.inc("unavailable")
                raise
            counter.inc(results.get(response.code, "unavailable") if isinstance(response, Refusal) else "ok")
            return response

        return run

    return mark
