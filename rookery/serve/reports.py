"""The instance name and the statistics of each role of this process, for `shared.coordination.processes`."""

import os
import socket
from collections.abc import Callable

from messaging.archive.recorder import Recorder
from messaging.gateway.gateway import Gateway
from shared.coordination.processes import ProcessStats
from shared.settings import Settings
from shared.telemetry.metrics.catalogue import TRANSPORTS


def instance_of(settings: Settings) -> str:
    """The name of this process: the setting, which stays the same after a restart, or else a unique name."""
    return settings.kafka.instance or f"{socket.gethostname()}-{os.getpid()}"


def gateway_stats(gateway: Gateway) -> Callable[[], ProcessStats]:
    def read() -> ProcessStats:
        sessions = {transport: gateway.registry.count(transport) for transport in TRANSPORTS}
        return ProcessStats(sessions, sorted(gateway.partitions.owned), gateway.log_consumer.lag())

    return read


def archive_stats(recorder: Recorder) -> Callable[[], ProcessStats]:
    return lambda: ProcessStats(lag=dict(recorder.statistics().lag))
