"""Counters, gauges and histograms, as plain numbers that only the Trio thread changes."""

from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import KW_ONLY, dataclass, field
from itertools import accumulate
from typing import ClassVar, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric as Family

Role = Literal["bff", "gateway", "archive"]

ROLES: tuple[Role, ...] = ("bff", "gateway", "archive")

Labels = tuple[str, ...]
"""The values of an instrument's labels, in their order."""

Reading = Callable[[], float | Mapping[Labels, float]]
"""Returns a number that another object keeps, or numbers by the values of the labels. It must not wait or raise."""

Readings = Mapping["Counter | Gauge", Reading]


@dataclass(eq=False)
class Instrument(ABC):
    """Base of all instruments."""

    kind: ClassVar[str]

    name: str
    help: str
    _: KW_ONLY
    unit: str = ""
    labels: Labels = ()
    roles: Sequence[Role] = ROLES
    """The roles that expose it."""
    needs: str = ""
    """The engine or the setting without which it has no values."""

    @abstractmethod
    def family(self) -> Family:
        """Return the current values."""


@dataclass(eq=False)
class _Observable(Instrument):
    """An instrument with readings: numbers that other objects keep, read at each request."""

    _readings: list[Reading] = field(init=False, default_factory=list)

    @contextmanager
    def read_from(self, reading: Reading) -> Iterator[None]:
        """Include this reading while the block is open. Values with the same labels are added up."""
        self._readings.append(reading)
        try:
            yield
        finally:
            self._readings.remove(reading)

    def _read(self) -> dict[Labels, float]:
        read: dict[Labels, float] = defaultdict(float)
        for reading in self._readings:
            numbers = reading()
            for labels, number in numbers.items() if isinstance(numbers, Mapping) else [((), numbers)]:
                read[labels] += number
        return read


@dataclass(eq=False)
class Counter(_Observable):
    """A count of events since the start."""

    kind = "counter"

    known: Sequence[str] = field(default=(), kw_only=True)
    """Values of its only label that are exposed as 0 before their first event."""

    def __post_init__(self) -> None:
        self._counts: dict[Labels, float] = {(value,): 0 for value in self.known}

    def inc(self, *labels: str, by: float = 1) -> None:
        """Add one, or `by`."""
        counts = self._counts
        counts[labels] = counts.get(labels, 0) + by

    def count(self, *labels: str) -> float:
        """Return the count without the readings."""
        return self._counts.get(labels, 0)

    def family(self) -> Family:
        family = CounterMetricFamily(self.name, self.help, labels=self.labels)
        counts = self._read()
        for labels, count in self._counts.items():
            counts[labels] += count
        if not self.labels and not self._readings and not self.needs:
            counts[()] += 0
        for labels, count in counts.items():
            family.add_metric(labels, count)
        return family


@dataclass(eq=False)
class Gauge(_Observable):
    """A current amount, from readings alone."""

    kind = "gauge"

    def family(self) -> Family:
        family = GaugeMetricFamily(self.name, self.help, labels=self.labels)
        for labels, number in self._read().items():
            family.add_metric(labels, number)
        return family


@dataclass(eq=False)
class Histogram(Instrument):
    """A distribution of durations in seconds: the count up to each bound, and the sum."""

    kind = "histogram"

    unit: str = field(default="seconds", kw_only=True)
    bounds: Sequence[float] = field(kw_only=True)
    known: Sequence[str] = field(default=(), kw_only=True)
    """Values of its only label that are exposed before their first duration."""

    def __post_init__(self) -> None:
        self._le = [*map(str, self.bounds), "+Inf"]
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}
        if not self.labels:
            self._begin(())
        for value in self.known:
            self._begin((value,))

    def observe(self, seconds: float, *labels: str) -> None:
        """Add one duration."""
        counts = self._counts.get(labels) or self._begin(labels)
        counts[bisect_left(self.bounds, seconds)] += 1
        self._sums[labels] += seconds

    def count(self, *labels: str) -> int:
        """Return the number of durations."""
        return sum(self._counts.get(labels, ()))

    def family(self) -> Family:
        family = HistogramMetricFamily(self.name, self.help, labels=self.labels)
        for labels, counts in self._counts.items():
            buckets: list[tuple[str, float]] = list(zip(self._le, accumulate(counts), strict=True))
            family.add_metric(labels, buckets, self._sums[labels])
        return family

    def _begin(self, labels: Labels) -> list[int]:
        counts = self._counts[labels] = [0] * (len(self.bounds) + 1)
        self._sums[labels] = 0.0
        return counts


@contextmanager
def register_readings(readings: Readings) -> Iterator[None]:
    """Include these readings while the block is open."""
    with ExitStack() as stack:
        for instrument, reading in readings.items():
            stack.enter_context(instrument.read_from(reading))
        yield


def lag_reading(group: str, lag: Callable[[], Mapping[int, int]]) -> Reading:
    """A reading of the lag of a consumer of the group, by partition."""
    return lambda: {(group, str(partition)): records for partition, records in lag().items()}
