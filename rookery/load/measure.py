"""The counters of a run, and the report on them. No I/O.

A latency counts from when its message *should* have been sent: a server that delays the sender can't hide it.
"""

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

MAX_MESSAGES = 5_000_000
"""Bound of a run's messages: 60 MB of memory, a quarter of an hour at 5,000 a second."""

NEVER = math.nan


@dataclass(frozen=True, slots=True)
class Latencies:
    """Percentiles of durations in milliseconds; NaN without any duration."""

    count: int
    p50: float
    p99: float
    max: float


def summarize(seconds: Sequence[float]) -> Latencies:
    """Compute percentiles by nearest rank."""
    ordered = sorted(seconds)
    if not ordered:
        return Latencies(0, NEVER, NEVER, NEVER)

    def percentile(percent: int) -> float:
        return ordered[math.ceil(len(ordered) * percent / 100) - 1] * 1000

    return Latencies(len(ordered), percentile(50), percentile(99), ordered[-1] * 1000)


class Schedule:
    """An open loop: message k is due at `start + k / rate`, independent of earlier messages."""

    def __init__(self, start: float, rate: float) -> None:
        self._start = start
        self._rate = rate

    def due(self, number: int) -> float:
        """Return when the message is due, on the clock of `start`."""
        return self._start + number / self._rate

    def due_by(self, now: float) -> int:
        """Return the number of messages that are due."""
        return max(0, math.floor((now - self._start) * self._rate) + 1)


@dataclass(slots=True)
class Record:
    """The times of each message, by its number, in seconds on one clock."""

    intended: "array[float]" = field(default_factory=lambda: array("d"))
    accepted: "array[float]" = field(default_factory=lambda: array("d"))
    delivered: "array[float]" = field(default_factory=lambda: array("d"))
    late: "array[float]" = field(default_factory=lambda: array("d"))
    """The delay of the generator itself."""
    refused: Counter[str] = field(default_factory=Counter)
    """By code."""
    errors: Counter[str] = field(default_factory=Counter)
    """Ended sessions and undecodable frames, by kind."""
    duplicates: int = 0
    heads: int = 0
    """Heads of the channel, in all sessions."""

    def sent(self, intended: float, now: float) -> int:
        """Count a message; return its number."""
        self.intended.append(intended)
        self.accepted.append(NEVER)
        self.delivered.append(NEVER)
        self.late.append(now - intended)
        return len(self.intended) - 1

    def accept(self, number: int, now: float) -> None:
        self.accepted[number] = now

    def deliver(self, number: int, now: float) -> None:
        if math.isnan(self.delivered[number]):
            self.delivered[number] = now
        else:
            self.duplicates += 1

    @property
    def accepted_count(self) -> int:
        return len(self.accepted) - sum(map(math.isnan, self.accepted))

    @property
    def lost(self) -> int:
        """Accepted messages that are not delivered yet."""
        pairs = zip(self.accepted, self.delivered, strict=True)
        return sum(not math.isnan(accepted) and math.isnan(delivered) for accepted, delivered in pairs)

    @property
    def unanswered(self) -> int:
        """Messages that are neither accepted nor refused yet."""
        return sum(map(math.isnan, self.accepted)) - self.refused.total()

    def report(self, begin: float, end: float) -> "Report":
        """Report on the messages that were due between two moments."""
        numbers = [number for number, at in enumerate(self.intended) if begin <= at < end]

        def since_intended(times: "array[float]") -> list[float]:
            return [times[number] - self.intended[number] for number in numbers if not math.isnan(times[number])]

        in_window = sum(begin <= at < end for at in self.delivered)
        return Report(
            sent=len(numbers),
            accepted=summarize(since_intended(self.accepted)),
            delivered=summarize(since_intended(self.delivered)),
            delivered_per_second=in_window / (end - begin),
            delivered_in_window=in_window,
            lost=self.lost,
            unanswered=self.unanswered,
            duplicates=self.duplicates,
            heads=self.heads,
            refused=dict(self.refused),
            errors=dict(self.errors),
            generator_late=summarize([self.late[number] for number in numbers]),
        )


@dataclass
class GroupRecord(Record):
    """The times of messages to a group, each of which has several recipients."""

    recipients: int = 1
    missing: "array[int]" = field(default_factory=lambda: array("I"))
    """The number of recipients that each message has not reached. `delivered` is the time of the last delivery."""
    each: "array[float]" = field(default_factory=lambda: array("d"))
    """The time of each delivery."""
    each_number: "array[int]" = field(default_factory=lambda: array("I"))
    """The message of each delivery."""

    def sent(self, intended: float, now: float) -> int:
        self.missing.append(self.recipients)
        return super().sent(intended, now)

    def deliver(self, number: int, now: float) -> None:
        if not self.missing[number]:
            self.duplicates += 1
            return
        self.missing[number] -= 1
        self.each.append(now)
        self.each_number.append(number)
        if not self.missing[number]:
            self.delivered[number] = now

    @property
    def lost(self) -> int:
        pairs = zip(self.accepted, self.missing, strict=True)
        return sum(missing for accepted, missing in pairs if not math.isnan(accepted))

    def report(self, begin: float, end: float) -> "Report":
        report = super().report(begin, end)
        intended = self.intended
        pairs = zip(self.each_number, self.each, strict=True)
        to_each = [at - intended[number] for number, at in pairs if begin <= intended[number] < end]
        in_window = sum(begin <= at < end for at in self.each)
        return replace(
            report,
            last=report.delivered,
            delivered=summarize(to_each),
            delivered_in_window=in_window,
            delivered_per_second=in_window / (end - begin),
        )


@dataclass(frozen=True, slots=True)
class Report:
    """The messages of a run. Latencies count from the moment when a message was due."""

    sent: int
    accepted: Latencies
    delivered: Latencies
    """To each recipient."""
    delivered_per_second: float
    delivered_in_window: int
    lost: int
    """Deliveries of accepted messages that did not come within the run."""
    unanswered: int
    """Neither accepted nor refused."""
    duplicates: int
    """Deliveries beyond one for each recipient."""
    heads: int
    """Heads of the channel that reached a session, of the whole run."""
    refused: dict[str, int]
    errors: dict[str, int]
    generator_late: Latencies
    """The delay of the generator: if it is large, the latencies measure the generator rather than the server."""
    last: Latencies | None = None
    """In a group, to the last recipient of each message."""
