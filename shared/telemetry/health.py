"""Health checks of a process, and the three reports that probes request.

`/livez` passes while the event loop answers; if it fails, restart the process. `/readyz` passes while the process can
take work: it has started, is not draining, and every check passes. `/startupz` passes once the process has started.
"""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import structlog
import trio

from shared.contract.errors import Unavailable

Probe = Literal["livez", "readyz", "startupz"]
PROBES: Final[tuple[Probe, ...]] = ("livez", "readyz", "startupz")

Check = Callable[[], Awaitable[object]]
"""Passes by returning; fails by raising, or by exceeding its deadline. The text of an Unavailable is in the report."""

CHECK_DEADLINE = 2.0
"""Deadline of a check in seconds: shorter than a probe's time-out, so that the report arrives."""

FRESH = 0.5
"""Seconds for which results are reused, so that many probes cost the engines no more than one."""

WATCH_INTERVAL = 1.0
"""Seconds between two runs of the checks while a task waits for a change of readiness."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Result of one check; `reason` is empty if it passed."""

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
        """Make /readyz depend on the check, with a deadline in seconds. Raises ValueError if the name is taken."""
        if name in self._checks:
            raise ValueError(f"there is a check named {name} already")
        self._checks[name] = explanation, check, deadline

    def mark_started(self) -> None:
        """From now on the process can take work."""
        self._started = True

    def mark_draining(self) -> None:
        """From now on the process finishes its work, and takes no more."""
        self._draining = True
        self._set_ready(False)

    async def ready(self) -> bool:
        """Whether the process can take work now: the result of /readyz."""
        if self._started and not self._draining:
            results = await self._run_checks()
            self._set_ready(all(result.ok for result in results) and not self._draining)
        return self._ready

    async def wait_for_change(self, known: bool) -> bool:
        """Wait until `ready` differs from the known value, and return it. Draining is noticed at once.

        One of the waiting tasks runs the checks every WATCH_INTERVAL, for all of them; without one they do not run.
        """
        while self._ready == known:
            if self._watching is None:
                await self._watch()
            else:
                await self._waiting.park()
        return self._ready

    async def _watch(self) -> None:
        """Run the checks at intervals, until `_set_ready` cancels this."""
        try:
            with trio.CancelScope() as self._watching:
                while True:
                    await trio.sleep(WATCH_INTERVAL)
                    await self.ready()
        finally:
            self._watching = None
            self._waiting.unpark()  # if this task was cancelled, another one takes over

    def _set_ready(self, ready: bool) -> None:
        if ready == self._ready:
            return
        self._ready = ready
        self._waiting.unpark_all()
        if self._watching is not None:
            self._watching.cancel()

    async def report(self, probe: Probe) -> tuple[int, dict[str, Any]]:
        """Return the HTTP status, 200 or 503, and the body of the response."""
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
        """Run all checks concurrently and return their results, or the results of the last FRESH seconds."""
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
        except Exception as error:  # a faulty check must not end the probes: it is logged, and counts as failed
            reason = type(error).__name__  # the text may hold data that a probe must not see
            _log.exception("health_check_failed", check=name)
    return CheckResult(name, explanation, not reason, reason, round((trio.current_time() - began) * 1000, 3))
