"""Accepts connections, also while the process has no file for another."""

import errno
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import structlog
import trio

from shared.telemetry.logs import Interval

PAUSE = 0.1
"""Seconds without an attempt to accept after one that failed for want of files or memory."""

CAPACITY_ERRORS = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS))

Stream = TypeVar("Stream", bound=trio.abc.AsyncResource)
Handler = Callable[[Stream], Awaitable[object]]

_log = structlog.get_logger(__name__)


async def serve_listeners(
    handler: Handler[Stream],
    listeners: Sequence[trio.abc.Listener[Any]],
    *,
    handler_nursery: trio.Nursery | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Accept until cancelled, and handle each connection in a task of the nursery, by default one of its own.

    As trio's `serve_listeners`, except that an accept that fails for want of files or memory is logged once a minute,
    without a traceback: a peer can cause ten a second.
    """
    failed = Interval()
    async with trio.open_nursery() as nursery:
        for listener in listeners:
            nursery.start_soon(_serve, listener, handler, handler_nursery or nursery, failed)
        task_status.started()


async def _serve(
    listener: trio.abc.Listener[Stream], handler: Handler[Stream], nursery: trio.Nursery, failed: Interval
) -> None:
    async with listener:
        while True:
            try:
                stream = await listener.accept()
            except OSError as error:
                if error.errno not in CAPACITY_ERRORS:
                    raise
                if failed.has_passed():
                    _log.error("accept_failed", reason=error.strerror, retry_seconds=PAUSE)
                await trio.sleep(PAUSE)
            else:
                nursery.start_soon(_handle, stream, handler)


async def _handle(stream: Stream, handler: Handler[Stream]) -> None:
    try:
        await handler(stream)
    finally:
        await trio.aclose_forcefully(stream)
