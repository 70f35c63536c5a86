"""Metrics are read in Prometheus' text format, and cost nothing where they were not asked for."""

import subprocess
import sys

MEASURE = """
from shared.telemetry import metrics
{configure}
metrics.observe_lag("archive", lambda: {{0: 7, 3: 0}})
print(metrics.exposition().decode())
"""


def measured(configure: str) -> list[str]:
    """What a process of its own says, since instruments are the process's."""
    ran = subprocess.run(
        [sys.executable, "-c", MEASURE.format(configure=configure)], capture_output=True, text=True, check=True
    )
    return ran.stdout.splitlines()


def test_lag_is_told_by_group_and_partition() -> None:
    lines = measured("metrics.configure_metrics()")
    assert [line for line in lines if line.startswith("rookery_consumer_lag{")] == [
        'rookery_consumer_lag{group="archive",otel_scope_name="rookery",otel_scope_schema_url="",otel_scope_version="",'
        f'partition="{partition}"}} {lag}'
        for partition, lag in [(0, 7.0), (3, 0.0)]
    ]


def test_a_process_that_was_not_configured_measures_nothing() -> None:
    assert not any("rookery" in line for line in measured(""))
