"""The result of a verification, as text or JSON."""

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from rookery.load.measure import Latencies
from rookery.verify.plan import Plan
from rookery.verify.violations import Violation

MAX_SHOWN = 20
"""Violations that are shown in full."""


@dataclass(frozen=True, slots=True)
class Result:
    """The result of a run. Latencies and outages are in milliseconds; NaN without any."""

    plan: Plan
    seconds: float
    """Time from the first message to the last answer."""
    sent: int
    accepted: int
    delivered: int
    """Messages that arrived in a recipient's session, counted for each recipient."""
    caught_up: int
    """Messages that were read after a Gap, not received in the session."""
    archived: int
    """Messages found in the history of direct chats by both members."""
    in_groups: int
    """Accepted messages to groups."""
    controls: int
    """Accepted control changes of groups."""
    not_members: int
    """Messages to groups that were refused because their sender was no member any more."""
    refused: dict[str, int]
    """Refusals of messages, by code and message; each was retried."""
    not_followed: dict[str, int]
    """Refusals of Follow by code: of a channel that the user has left, or that a gateway can't read now. Each was
    repeated."""
    unanswered: int
    """The number of answers that did not arrive in time."""
    retried: int
    """Messages that were sent again after a refusal or without an answer."""
    changed: int
    """Accepted changes of messages."""
    changes_retried: int
    gaps: int
    reconnects: int
    to_accepted: Latencies
    to_delivered: Latencies
    outages: Latencies
    """Times from the loss of a session until it was live again."""
    longest_pause_ms: float
    """The longest time in which messages waited and none was accepted."""
    files: int
    """Files of accepted messages."""
    files_read: int
    """Readings by users who may read the files, whose bytes were compared."""
    files_tried: int
    """Readings by users who may not."""
    listed: int
    """Entries of chat lists whose unread messages were counted in history too."""
    feeds: int
    """Lists of changes that clients read after Gaps and of opened channels, each compared to all accepted events."""
    heads: int
    """Heads of channels, each compared to the events that its user may read."""
    churned: int
    churn_failed: int
    violations: tuple[Violation, ...]

    @property
    def exit_code(self) -> int:
        return 1 if self.violations else 0


def show(result: Result, *, as_json: bool) -> str:
    """Format the result as text, or as JSON with null for NaN, without the accounts' password."""
    if not as_json:
        return "\n".join(_lines(result))
    values = msgspec.to_builtins(result, enc_hook=str)
    del values["plan"]["password"]
    return msgspec.json.format(msgspec.json.encode(values), indent=2).decode()


def _lines(result: Result) -> Iterator[str]:
    plan = result.plan
    pace = f"{plan.rate:g} a second" if plan.rate else f"as fast as answered, {plan.in_flight} in flight each"
    yield f"{plan.clients} clients on both transports, {pace}, {result.seconds:.1f} s"
    yield f"sent           {result.sent:,}"
    yield f"accepted       {result.accepted:,}, {result.retried:,} of them after a retry"
    yield f"changes        {result.changed:,}, {result.changes_retried:,} of them after a retry"
    yield f"delivered      {result.delivered:,} live, {result.caught_up:,} read after a gap"
    yield f"in history     {result.archived:,}, as both members read it"
    if plan.groups:
        yield (
            f"in groups      {result.in_groups:,} messages, {result.controls:,} control changes; "
            f"{result.not_members:,} refused to former members"
        )
    if plan.files:
        yield (
            f"files          {result.files:,} in messages; {result.files_read:,} read and compared, "
            f"{result.files_tried:,} tried by users who may not"
        )
    yield f"in chat lists  {result.listed:,}, with unread messages compared to history"
    yield f"in feeds       {result.feeds:,} lists of changes, compared to all accepted events"
    if plan.channel:
        yield f"heads          {result.heads:,} of a channel, compared to all accepted events"
        yield f"not followed   {_counts(result.not_followed)}"
    yield f"refused        {_counts(result.refused)}; unanswered {result.unanswered}"
    yield f"reconnects     {result.reconnects:,}; gaps {result.gaps:,}"
    if plan.absences:
        yield f"absences       {plan.absences:,}, which count as gaps, not as reconnects"
    if plan.late_retries:
        yield f"late retries   up to {plan.late_retries:,}, {plan.late_after:g} s after the acceptance"
    yield f"accepted in    {_latencies(result.to_accepted)}"
    yield f"delivered in   {_latencies(result.to_delivered)}"
    yield f"outage         {_latencies(result.outages)}"
    yield f"longest pause  {result.longest_pause_ms:,.0f} ms without an answer"
    if plan.churn:
        yield f"churned        {result.churned:,}; {result.churn_failed:,} failed"
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
