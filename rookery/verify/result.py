"""What a verification came to, for people and for programs."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from rookery.load.measure import Latencies
from rookery.verify.judge import Violation
from rookery.verify.plan import Plan

MAX_SHOWN = 20
"""Violations that are shown in full."""


@dataclass(frozen=True, slots=True)
class Result:
    """Latencies and outages are in milliseconds; not a number if there were none."""

    plan: Plan
    seconds: float
    """From the first message to the last answer."""
    sent: int
    accepted: int
    delivered: int
    """Messages that reached their recipient's session."""
    caught_up: int
    """Messages that were read from history after a Gap."""
    archived: int
    """Messages found in history, by each of both members."""
    refused: dict[str, int]
    """Refusals by code; each was retried."""
    unanswered: int
    """Times that a message had no answer in time, and was sent again."""
    retried: int
    """Messages that were refused or unanswered at least once, and sent again until they were accepted."""
    gaps: int
    reconnects: int
    to_accepted: Latencies
    to_delivered: Latencies
    outages: Latencies
    """From losing a session to being live again."""
    longest_pause_ms: float
    """The longest time in which messages waited and none was accepted."""
    churned: int
    churn_failed: int
    violations: tuple[Violation, ...]

    @property
    def exit_code(self) -> int:
        return 1 if self.violations else 0


def show(result: Result, *, as_json: bool) -> str:
    """The result as text; what is not a number is null in JSON."""
    if as_json:
        return msgspec.json.format(msgspec.json.encode(result), indent=2).decode()
    return "\n".join(_lines(result))


def _lines(result: Result) -> Iterator[str]:
    plan = result.plan
    pace = f"{plan.rate:g} a second" if plan.rate else f"as fast as answered, {plan.in_flight} in flight each"
    yield f"{plan.clients} clients on both transports, {pace}, {result.seconds:.1f} s"
    yield f"sent           {result.sent:,}"
    yield f"accepted       {result.accepted:,}, {result.retried:,} of them after a retry"
    yield f"delivered      {result.delivered:,} live, {result.caught_up:,} read after a gap"
    yield f"in history     {result.archived:,}, as both members read it"
    yield f"refused        {_counts(result.refused)}; unanswered {result.unanswered}"
    yield f"reconnects     {result.reconnects:,}; gaps {result.gaps:,}"
    yield f"accepted in    {_latencies(result.to_accepted)}"
    yield f"delivered in   {_latencies(result.to_delivered)}"
    yield f"outage         {_latencies(result.outages)}"
    yield f"longest pause  {result.longest_pause_ms:,.0f} ms without an answer"
    if plan.churn:
        yield f"came and went  {result.churned:,}; {result.churn_failed:,} could not"
    yield f"violations     {len(result.violations):,}{_kinds(result.violations)}"
    for violation in result.violations[:MAX_SHOWN]:
        yield f"  {violation}"
    if len(result.violations) > MAX_SHOWN:
        yield f"  and {len(result.violations) - MAX_SHOWN:,} more"


def _kinds(violations: tuple[Violation, ...]) -> str:
    counts = Counter(str(violation.kind) for violation in violations)
    return f": {_counts(counts)}" if counts else ""


def _latencies(latencies: Latencies) -> str:
    if math.isnan(latencies.p50):
        return "none"
    return f"p50 {latencies.p50:,.1f} ms, p99 {latencies.p99:,.1f} ms, max {latencies.max:,.1f} ms"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items())) or "0"
