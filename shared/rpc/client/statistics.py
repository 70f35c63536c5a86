"""Counters of a channel, its statistics, and their metrics."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from shared.rpc.status import Status
from shared.telemetry.metrics import Readings
from shared.telemetry.metrics import catalogue as metrics
from shared.telemetry.metrics.instruments import Labels


@dataclass(frozen=True, slots=True)
class ChannelStatistics:
    """A channel's statistics at one moment. Totals are since it was opened; each attempt of a call counts as a call."""

    servers: int
    """The servers that it may call: one for `open_channel`, all that the names resolve to for `open_balancer`."""
    servers_ready: int
    """The servers that accept calls now."""
    connections: int
    """Open connections, including connections that only finish their calls."""
    calls_waiting: int
    """Calls that wait for a server, or for a free slot of one."""
    calls_begun: int
    """Total of calls, whether they reached a server or not."""
    calls_ended: Mapping[Status, int]
    """Totals of ended calls by their status. Calls that their caller left are CANCELLED."""
    retries: int
    """Total of repeated attempts, including attempts of unprocessed calls."""

    @property
    def calls_under_way(self) -> int:
        """Calls that have begun and not ended, waiting calls included."""
        return self.calls_begun - sum(self.calls_ended.values())


class ChannelCounters:
    """The running totals of a channel."""

    def __init__(self) -> None:
        self.waiting = 0
        self.begun = 0
        self.ended = Counter[Status]()
        self.retries = 0


def channel_readings(statistics: Callable[[], ChannelStatistics]) -> Readings:
    """The metrics of a channel to archives; other channels have none."""

    def ended() -> dict[Labels, float]:
        return {(status.name,): calls for status, calls in statistics().calls_ended.items()}

    def servers() -> dict[Labels, float]:
        now = statistics()
        return {("known",): now.servers, ("ready",): now.servers_ready}

    return {
        metrics.RPC_CLIENT_CALLS: ended,
        metrics.RPC_CLIENT_RETRIES: lambda: statistics().retries,
        metrics.RPC_CLIENT_WAITING: lambda: statistics().calls_waiting,
        metrics.RPC_CLIENT_SERVERS: servers,
    }
