"""What engines say at `/metrics`, whichever they are."""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from shared.bridge import BridgeStatistics
from shared.telemetry.metrics import Readings
from shared.telemetry.metrics import catalogue as metrics


def log_readings(statistics: Callable[[], BridgeStatistics]) -> Readings:
    """What the log was given and has answered."""
    return {
        metrics.PUBLISH_PENDING: lambda: statistics().pending,
        metrics.PUBLISH_BATCHES: lambda: statistics().batches,
        metrics.PUBLISH_CALLS: lambda: statistics().jobs,
    }


def disk_readings(data: Path) -> Readings:
    """The room on the disk of the data folder."""
    usage = partial(shutil.disk_usage, data)
    return {metrics.DATA_FREE: lambda: usage().free, metrics.DATA_SIZE: lambda: usage().total}
