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
    """What a channel has, and what it has done since it was opened. Each attempt at a call is a call of its own."""

    servers: int
    """How many it may call: one of `open_channel`, of `open_balancer` all that the names stand for now."""
    servers_ready: int
    """How many of them take calls now."""
    connections: int
    """That are open, with those that only finish what they have."""
    calls_waiting: int
    """That wait for a server, or for their turn at one."""
    calls_begun: int
    """That somebody wanted to make, whether they reached a server or not."""
    calls_ended: Mapping[Status, int]
    """By how they ended. Those that were left by who made them are CANCELLED."""
    retries: int
    """Calls that were made again, those included that no handler had seen."""

    @property
    def calls_under_way(self) -> int:
        """That have begun and not ended; those that wait are among them."""
        return self.calls_begun - sum(self.calls_ended.values())


class Tally:
    """Counts calls."""

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
