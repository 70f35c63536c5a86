"""Logs: one JSON object a line on stderr, from structlog and from the standard library's logging alike.

Every line has `time` (RFC 3339, UTC), `level`, `event` and `logger`; the text in `exception` is a traceback. Passwords,
tokens and the content of messages are never given to a logger.
"""

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

NOISY_LOGGERS = ("asyncio", "h2", "hpack", "httpcore", "httpx", "hypercorn", "purerpc", "trio-websocket")
"""Libraries that log each connection, stream or frame: heard from warning upwards only."""

_FIRST_FIELDS = ("time", "level", "event", "logger")


def configure_logs(level: str = "info", *, stream: TextIO | None = None) -> None:
    """Log from `level` (debug, info, warning or error) upwards, to `stream` or stderr. May be called again."""
    number = logging.getLevelNamesMapping()[level.upper()]
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_formatter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    for name in NOISY_LOGGERS:
        logging.getLogger(name).setLevel(max(number, logging.WARNING))
    structlog.configure(
        processors=[*_shared_processors(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # so that a second call, and a test that captures, reaches every logger
    )


def _shared_processors() -> list[Processor]:
    """What is added to an event, whoever logs it."""
    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
    ]


def _formatter() -> logging.Formatter:
    """Renders both kinds of records; those of the standard library get what structlog's already have."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_shared_processors(), structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.StackInfoRenderer(),
            _order_fields,
            structlog.processors.JSONRenderer(),
        ],
    )


def _order_fields(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """The fields that every line has come first, for people who read the raw lines."""
    return {**{name: event[name] for name in _FIRST_FIELDS}, **event}
