"""Health: named and explained checks, the three reports that probes ask for, and a small server that answers them,
and `/metrics`.

`/livez` says that the event loop answers: if not, restart the process. `/readyz` says whether to send it work now: it
has started, is not draining, and every check passes. `/startupz` says that it has started.
"""

import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final, Literal

import h11
import structlog
import trio

from shared.contract.errors import Unavailable
from shared.net.listening import ClientStream, listen, port_of
from shared.net.tls import ServerTls
from shared.telemetry import metrics

Probe = Literal["livez", "readyz", "startupz"]
PROBES: Final[tuple[Probe, ...]] = ("livez", "readyz", "startupz")

Check = Callable[[], Awaitable[object]]
"""Passes by returning; fails by raising, or by taking longer than its deadline."""

CHECK_DEADLINE = 2.0
"""Seconds that a check may take. Shorter than the time-out of a probe should be, so that the report arrives."""

FRESH = 0.5
"""Seconds for which the checks' results are given out again, so that many probes cost the engines no more than one."""

WATCH_INTERVAL = 1.0
"""Seconds between two looks at the checks while someone waits for them to turn."""

MAX_CONNECTIONS = 32
"""Probes answered at once; a connection above that is closed unanswered."""

CONNECTION_DEADLINE = 5.0
"""Seconds that a connection of a probe may last."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How one check went; `reason` is empty if it passed."""

    name: str
    explanation: str
    ok: bool
    reason: str
    milliseconds: float


class Health:
    """The state of one process, and its checks."""

    def __init__(self) -> None:
        self._checks: dict[str, tuple[str, Check, float]] = {}
        self._started = False
        self._draining = False
        self._ready = False
        self._watching: trio.CancelScope | None = None
        self._waiting = trio.lowlevel.ParkingLot()
        self._lock = trio.Lock()
        self._results: list[CheckResult] = []
        self._checked_at = float("-inf")

    def add(self, name: str, explanation: str, check: Check, *, deadline: float = CHECK_DEADLINE) -> None:
        """Have /readyz depend on the check, which takes `deadline` seconds at most. A name is used once."""
        if name in self._checks:
            raise ValueError(f"there is a check named {name} already")
        self._checks[name] = explanation, check, deadline

    def started(self) -> None:
        """From now on the process can do its work."""
        self._started = True

    def draining(self) -> None:
        """From now on the process finishes what it has, and wants no new work."""
        self._draining = True
        self._set_ready(False)

    async def ready(self) -> bool:
        """Whether to send it work now, as /readyz says."""
        if self._started and not self._draining:
            results = await self._run_checks()
            self._set_ready(all(result.ok for result in results) and not self._draining)
        return self._ready

    async def turned(self, known: bool) -> bool:
        """Wait until `ready` is not what is known, and return it: at once when the process begins to drain.

        Of all that wait, one looks every WATCH_INTERVAL, for all of them. Nobody looks while nobody waits.
        """
        while self._ready == known:
            if self._watching is None:
                await self._watch()
            else:
                await self._waiting.park()
        return self._ready

    async def _watch(self) -> None:
        """Look again and again, until what is seen is new."""
        try:
            with trio.CancelScope() as self._watching:
                while True:
                    await trio.sleep(WATCH_INTERVAL)
                    await self.ready()
        finally:
            self._watching = None
            self._waiting.unpark()  # if this one was cancelled, another looks on

    def _set_ready(self, ready: bool) -> None:
        if ready == self._ready:
            return
        self._ready = ready
        self._waiting.unpark_all()
        if self._watching is not None:
            self._watching.cancel()

    async def report(self, probe: Probe) -> tuple[int, dict[str, Any]]:
        """The HTTP status, 200 or 503, and the body of the answer."""
        results = [self._started_result()]
        if probe == "livez":
            results = [await _run("event_loop", "the event loop answers", trio.lowlevel.checkpoint, CHECK_DEADLINE)]
        elif probe == "readyz":
            results += [self._draining_result(), *await self._run_checks()]
        ok = all(result.ok for result in results)
        return 200 if ok else 503, {"status": "ok" if ok else "failing", "checks": [asdict(each) for each in results]}

    def _started_result(self) -> CheckResult:
        reason = "" if self._started else "still starting"
        return CheckResult("started", "the process has started", self._started, reason, 0.0)

    def _draining_result(self) -> CheckResult:
        reason = "stopping" if self._draining else ""
        return CheckResult("draining", "the process takes new work", not self._draining, reason, 0.0)

    async def _run_checks(self) -> list[CheckResult]:
        """The results of all checks, run side by side, or those of a moment ago."""
        async with self._lock:
            if trio.current_time() - self._checked_at > FRESH or len(self._results) != len(self._checks):
                results: dict[str, CheckResult] = {}

                async def run(name: str, explanation: str, check: Check, deadline: float) -> None:
                    results[name] = await _run(name, explanation, check, deadline)

                async with trio.open_nursery() as nursery:
                    for name, (explanation, check, deadline) in self._checks.items():
                        nursery.start_soon(run, name, explanation, check, deadline)
                self._results = [results[name] for name in self._checks]
                self._checked_at = trio.current_time()
            return self._results


async def _run(name: str, explanation: str, check: Check, deadline: float) -> CheckResult:
    began = trio.current_time()
    reason = f"no answer within {deadline:g} s"
    with trio.move_on_after(deadline):
        try:
            await check()
            reason = ""
        except Unavailable as error:
            reason = str(error) or "not available"
        except Exception as error:
            reason = type(error).__name__  # its text may hold what a probe must not see
            _log.exception("a health check failed", check=name)
    return CheckResult(name, explanation, not reason, reason, round((trio.current_time() - began) * 1000, 3))


async def serve_health(
    health: Health,
    host: str,
    port: int,
    *,
    tls: ServerTls | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer probes over HTTP/1.1 until cancelled. `task_status.started` gets the port that was bound.

    One request a connection, at most `MAX_CONNECTIONS` at once, each for `CONNECTION_DEADLINE` seconds at most.
    """
    listeners = await listen(host, port, tls=tls)
    task_status.started(port_of(listeners))
    slots = trio.CapacityLimiter(MAX_CONNECTIONS)
    await trio.serve_listeners(partial(_serve_connection, health, slots), listeners)


async def _serve_connection(health: Health, slots: trio.CapacityLimiter, stream: ClientStream) -> None:
    try:
        slots.acquire_nowait()
    except trio.WouldBlock:
        return
    try:
        with trio.move_on_after(CONNECTION_DEADLINE):
            await _answer(health, stream)
    except (trio.BrokenResourceError, h11.LocalProtocolError) as error:
        _log.debug("a probe went away", reason=str(error))
    finally:
        slots.release()


async def _answer(health: Health, stream: ClientStream) -> None:
    connection = h11.Connection(h11.SERVER)
    method = b""
    try:
        request = await _receive_request(connection, stream)
        if request is None:
            return
        method = request.method
        status, content_type, content = await _respond(health, request)
    except h11.RemoteProtocolError:
        status, content_type, content = _json(HTTPStatus.BAD_REQUEST, {"status": "not understood"})
    headers = [("Content-Type", content_type), ("Content-Length", str(len(content))), ("Connection", "close")]
    events: list[h11.Event] = [h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase)]
    if method != b"HEAD":
        events.append(h11.Data(content))
    await stream.send_all(b"".join(connection.send(event) or b"" for event in [*events, h11.EndOfMessage()]))


async def _receive_request(connection: h11.Connection, stream: ClientStream) -> h11.Request | None:
    """The head of the request; None if the client closed instead."""
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(bytes(await stream.receive_some()))
    return event if isinstance(event, h11.Request) else None


async def _respond(health: Health, request: h11.Request) -> tuple[int, str, bytes]:
    """Status, content type and content."""
    if request.method not in (b"GET", b"HEAD"):
        return _json(HTTPStatus.METHOD_NOT_ALLOWED, {"status": "only GET and HEAD are answered"})
    path = request.target.partition(b"?")[0].decode()
    if path == "/metrics":
        return HTTPStatus.OK, metrics.CONTENT_TYPE, await metrics.exposition()
    for probe in PROBES:
        if path == f"/{probe}":
            return _json(*await health.report(probe))
    return _json(
        HTTPStatus.NOT_FOUND, {"status": "not found", "paths": [*(f"/{probe}" for probe in PROBES), "/metrics"]}
    )


def _json(status: int, body: dict[str, Any]) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(body).encode()
