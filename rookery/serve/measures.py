"""Metrics of the engines that do not depend on the engine."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from shared.bridge import BridgeStatistics
from shared.telemetry.metrics import Readings
from shared.telemetry.metrics import catalogue as metrics


def log_readings(statistics: Callable[[], BridgeStatistics]) -> Readings:
    """Pending and acknowledged calls of the log, and the batches in which it acknowledged them."""
    return {
        metrics.PUBLISH_PENDING: lambda: statistics().pending,
        metrics.PUBLISH_BATCHES: lambda: statistics().batches,
        metrics.PUBLISH_CALLS: lambda: statistics().jobs,
    }


def disk_readings(data: Path) -> Readings:
    """Free space and size of the disk of the data folder."""
    usage = partial(shutil.disk_usage, data)
    return {metrics.DATA_FREE: lambda: usage().free, metrics.DATA_SIZE: lambda: usage().total}
