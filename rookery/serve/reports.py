"""The statistics of each role of this process, for `shared.coordination.processes`."""

from collections.abc import Callable

from messaging.archive.recorder import Recorder
from messaging.gateway.gateway import Gateway
from shared.coordination.processes import ProcessStats
from shared.telemetry.metrics.catalogue import TRANSPORTS


def gateway_stats(gateway: Gateway) -> Callable[[], ProcessStats]:
    def read() -> ProcessStats:
        sessions = {transport: gateway.registry.count(transport) for transport in TRANSPORTS}
        return ProcessStats(sessions, sorted(gateway.partitions.owned), gateway.log_consumer.lag())

    return read


def archive_stats(recorder: Recorder) -> Callable[[], ProcessStats]:
    return lambda: ProcessStats(lag=dict(recorder.statistics().lag))
