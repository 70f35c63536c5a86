"""Metrics: OpenTelemetry's instruments, read at `/metrics` in the text format of Prometheus.

Instruments are made from `meter()`. In a process that never called `configure_metrics` they measure nothing and cost
nothing, so that tests and commands need no set-up.
"""

from collections.abc import Callable, Iterable, Mapping

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.metrics import CallbackOptions, Meter, Observation, get_meter, set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.resources import Resource
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST


def configure_metrics() -> None:
    """Have this process measure. Once in its life."""
    resource = Resource.create({"service.name": "rookery"})
    set_meter_provider(MeterProvider([PrometheusMetricReader()], resource=resource))


def meter() -> Meter:
    """What instruments are made from."""
    return get_meter("rookery")


def exposition() -> bytes:
    """Everything that is measured, as it is now: the body of `/metrics`."""
    return generate_latest()


def observe_lag(group: str, lag: Callable[[], Mapping[int, int]]) -> None:
    """Measure how many records of each partition wait in the log for a consumer of the group."""

    def read(_: CallbackOptions) -> Iterable[Observation]:
        for partition, records in lag().items():
            yield Observation(records, {"group": group, "partition": partition})

    meter().create_observable_gauge(
        "rookery.consumer.lag", [read], unit="{record}", description="Records of the log that wait to be read"
    )


def observe_certificate(not_after: Callable[[], float]) -> None:
    """Tell when the certificate of this process ends, in seconds since 1970."""

    def read(_: CallbackOptions) -> Iterable[Observation]:
        yield Observation(not_after())

    meter().create_observable_gauge(
        "rookery.tls.certificate.not_after", [read], unit="s", description="When the certificate ends, in Unix time"
    )
