"""Runs the roles of a command as a process: until SIGINT or SIGTERM, then drains them within a deadline."""

import platform
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from importlib.metadata import version

import click
import structlog
import trio

from shared.background import open_background
from shared.configuration.live import OnChange
from shared.configuration.model import LiveConfiguration
from shared.contract.addresses import SECURE, connectable_host
from shared.garbage import collect_garbage
from shared.net.open_files import allow_most_open_files
from shared.settings import Settings
from shared.telemetry.health import Health
from shared.telemetry.logs import configure_logs, parse_levels, set_levels
from shared.telemetry.metrics.event_loop import measure_event_loop

Serving = AbstractAsyncContextManager[Sequence[str]]
"""Serves its roles while it is open. It is entered once they are ready, and yields the lines to print."""

_log = structlog.get_logger(__name__)


async def serve(settings: Settings, role: str, serving: Serving) -> int:
    """Serve, as `role`, until SIGINT or SIGTERM, and return the exit code. A second signal or the deadline ends the
    drain; before the roles are ready, the first signal ends the process."""
    configure_logs(settings.log_level, role=role)
    allow_most_open_files()
    stop, is_ready = trio.Event(), trio.Event()
    with trio.CancelScope() as process_scope:
        async with open_background() as nursery:
            await nursery.start(_watch_signals, stop, is_ready, process_scope, settings.stop_deadline)
            async with _export_traces(settings, role), serving as lines:
                is_ready.set()
                nursery.start_soon(collect_garbage)
                nursery.start_soon(measure_event_loop)
                for line in lines:
                    click.echo(line)  # on stdout, while the logs are on stderr
                sys.stdout.flush()
                _log.info("started", version=version("rookery"), python=platform.python_version())
                await stop.wait()
    in_time = not (process_scope.cancelled_caught and is_ready.is_set())
    _log.info("stopped", in_time=in_time)
    return 0 if in_time else 1


@asynccontextmanager
async def started(*health: Health) -> AsyncIterator[None]:
    """Mark the roles as started when the block begins, and as draining when it ends."""
    for each in health:
        each.mark_started()
    try:
        yield
    finally:
        for each in health:
            each.mark_draining()


def apply_log_levels(settings: Settings) -> OnChange:
    """Return a function that applies the log levels of the live configuration, or else of the settings."""

    def apply(live: LiveConfiguration) -> None:
        set_levels(live.log_level or settings.log_level, parse_levels(live.log_levels))

    return apply


def url(scheme: str, host: str, port: int, *, secure: bool) -> str:
    """The URL of a listener for a person to open, such as http://127.0.0.1:8080, or https://…"""
    return f"{scheme}{'s' if secure else ''}://{connectable_host(host)}:{port}"


def grpc_address(host: str, port: int, *, secure: bool) -> str:
    """The address of a gRPC listener, in the form that clients accept."""
    return f"{SECURE if secure else ''}{connectable_host(host)}:{port}"


def _export_traces(settings: Settings, role: str) -> AbstractAsyncContextManager[None]:
    """Export traces to the collector, if the settings name one."""
    if not settings.traces.endpoint:
        return nullcontext()
    from shared.telemetry.collector import open_collector

    return open_collector(settings, role)


async def _watch_signals(
    stop: trio.Event,
    is_ready: trio.Event,
    process_scope: trio.CancelScope,
    deadline: float,
    *,
    task_status: trio.TaskStatus[None],
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            if stop.is_set() or not is_ready.is_set():
                process_scope.cancel()
                return
            _log.info("stopping", signal=signal.Signals(number).name, deadline_seconds=deadline)
            process_scope.deadline = trio.current_time() + deadline
            stop.set()
