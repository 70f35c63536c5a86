"""Runs what a command serves, as a process should: until SIGINT or SIGTERM, then drains within a deadline."""

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
from shared.contract.addresses import SECURE
from shared.garbage import collect_garbage
from shared.net.open_files import allow_most_open_files
from shared.settings import Settings
from shared.telemetry.health import Health
from shared.telemetry.logs import configure_logs, parse_levels, set_levels
from shared.telemetry.metrics.event_loop import measure_event_loop

Serving = AbstractAsyncContextManager[Sequence[str]]
"""What is served while it is open. It is entered once it is ready, and gives the lines that tell a person so."""

_log = structlog.get_logger(__name__)


async def serve(settings: Settings, role: str, serving: Serving) -> int:
    """Serve, as `role`, until SIGINT or SIGTERM; the exit code. A second signal, or the deadline, ends what still
    drains."""
    configure_logs(settings.log_level, role=role)
    allow_most_open_files()
    with trio.CancelScope() as everything:
        async with open_background() as nursery:
            stop = trio.Event()
            await nursery.start(_watch_signals, stop, everything, settings.stop_deadline)
            async with _tell_traces(settings, role), serving as lines:
                nursery.start_soon(collect_garbage)
                nursery.start_soon(measure_event_loop)
                for line in lines:
                    click.echo(line)  # on stdout, while the logs are on stderr
                sys.stdout.flush()
                _log.info("started", version=version("rookery"), python=platform.python_version())
                await stop.wait()
    _log.info("stopped", in_time=not everything.cancelled_caught)
    return 1 if everything.cancelled_caught else 0


@asynccontextmanager
async def started(*health: Health) -> AsyncIterator[None]:
    """While the block is open, the process does its work; after it, it finishes what it has."""
    for each in health:
        each.mark_started()
    try:
        yield
    finally:
        for each in health:
            each.mark_draining()


def keep_levels(settings: Settings) -> OnChange:
    """Has the process log from the levels of the live configuration on, or else from that of the settings."""

    def follow(live: LiveConfiguration) -> None:
        set_levels(live.log_level or settings.log_level, parse_levels(live.log_levels))

    return follow


def url(scheme: str, host: str, port: int, *, secure: bool) -> str:
    """Where a person can reach what listens on the host and the port, such as http://127.0.0.1:8080, or https://…"""
    return f"{scheme}{'s' if secure else ''}://{shown(host)}:{port}"


def native(host: str, port: int, *, secure: bool) -> str:
    """The same for gRPC, as clients take it."""
    return f"{SECURE if secure else ''}{shown(host)}:{port}"


def shown(host: str) -> str:
    """A host that a person can open, for one that means all of this machine's addresses."""
    return {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}.get(host, f"[{host}]" if ":" in host else host)  # noqa: S104 - compared, not bound


def _tell_traces(settings: Settings, role: str) -> AbstractAsyncContextManager[None]:
    """Tells the collector of traces, if the settings name one."""
    if not settings.traces.endpoint:
        return nullcontext()
    from shared.telemetry.collector import open_collector

    return open_collector(settings, role)


async def _watch_signals(
    stop: trio.Event, everything: trio.CancelScope, deadline: float, *, task_status: trio.TaskStatus[None]
) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            if stop.is_set():
                everything.cancel()
                return
            _log.info("stopping", signal=signal.Signals(number).name, deadline_seconds=deadline)
            everything.deadline = trio.current_time() + deadline
            stop.set()
