"""Metrics of an archive."""

from collections.abc import Mapping

from messaging.archive.recorder import GROUP, Recorder
from shared.contract.ids import wall_clock_ms
from shared.rpc.server.server import Server
from shared.rpc.server.statistics import server_readings
from shared.telemetry.metrics import Readings, lag_reading
from shared.telemetry.metrics import catalogue as metrics


def archive_readings(recorder: Recorder, server: Server) -> Readings:
    """Metrics from the statistics of the recorder and of the gRPC server."""
    return {
        metrics.RECORDED_EVENTS: lambda: recorder.statistics().events,
        metrics.RECORDED_BATCHES: lambda: recorder.statistics().batches,
        metrics.RECORDER_RETRIES: lambda: recorder.statistics().retries,
        metrics.DEAD_LETTERS: lambda: {(GROUP,): recorder.statistics().dead_letters},
        metrics.CONSUMER_LAG: lag_reading(GROUP, lambda: recorder.statistics().lag),
        metrics.WATERMARK_AGE: lambda: _ages(recorder.statistics().watermarks),
        **server_readings("archive", server.statistics),
    }


def _ages(watermarks: Mapping[int, int]) -> Mapping[tuple[str, ...], float]:
    """The age of each watermark that is known."""
    now_ms = wall_clock_ms()
    return {(str(partition),): max(now_ms - at_ms, 0) / 1000 for partition, at_ms in watermarks.items() if at_ms}
