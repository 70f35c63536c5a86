"""Logs: one JSON object a line on stderr, from structlog and from the standard library's logging alike.

Every line has `time` (RFC 3339, UTC), `level`, `event`, `logger` and `role`; within a sampled span `trace_id` and
`span_id`; within a session `session_id` and `user_id`. `exception` is a traceback; of a long one the middle is left
out. Values are texts, numbers, booleans, or lists of them, so that each field has one type in an index of the lines.

Levels are those of the standard library's loggers, a tree by the dots in their names: `set_levels` changes them while
the process runs. Passwords, tokens and the content of messages are never passed to a logger.
"""

import functools
import json
import logging
import math
import re
import sys
import time
from bisect import bisect_right
from collections.abc import Callable, Container, Mapping
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Final, Generic, ParamSpec, Protocol, TextIO, TypeVar

import structlog
from opentelemetry import trace
from structlog.typing import EventDict, Processor, WrappedLogger

T = TypeVar("T")
P = ParamSpec("P")

LEVELS: Final = ("debug", "info", "warning", "error")
"""The levels, from the most to the fewest lines."""

NOISY_LOGGERS = ("asyncio", "h2", "hypercorn", "purerpc", "trio-websocket")
"""Libraries that log each connection, stream or frame: at warning, unless a level is set for them."""

INDISCREET_LOGGERS = ("cassandra", "hpack", "httpcore", "httpx", "kafka", "redis", "urllib3")
"""Libraries that log headers and records, with the secrets in them: at warning, and never below info."""

MAX_LEVELS = 32
"""Most loggers that may have a level of their own."""

_LOGGER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*")

_FIRST_FIELDS = ("time", "level", "event", "logger")

_TIME = "%Y-%m-%dT%H:%M:%S.%fZ"
"""With a fraction always: programs that parse the lines expect one format."""

_MAX_EXCEPTION_BYTES = 12 << 10
"""As JSON: container engines split lines of more than 16 KiB, whose parts lose their fields."""

_MAX_EXACT = 2**53
"""Larger whole numbers, such as ids, are logged as texts: a reader that parses numbers as doubles would round them."""


class Interval:
    """Lets one log line through each minute, for events that a peer may cause at any rate."""

    def __init__(self, seconds: float = 60.0) -> None:
        self._seconds = seconds
        self._next = -math.inf

    def has_passed(self) -> bool:
        """Whether the interval has passed since this last returned true."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


class LoggedSession(Protocol):
    """A session as log lines need it; both attributes are read when a line is logged."""

    session_id: str
    user_id: int
    """0 before the session has authenticated."""


_role: ContextVar[str] = ContextVar("role")
_session: ContextVar[LoggedSession] = ContextVar("session")
_own_levels: dict[str, int] = {}
"""The former level of each logger whose level `set_levels` has changed."""


def configure_logs(level: str = "info", *, role: str = "", stream: TextIO | None = None) -> None:
    """Log from `level` (one of LEVELS) upwards, to `stream` or stderr. May be called again.

    `role` is a field of all lines of this process, except in tasks with a role of their own (`with_role`).
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_formatter(role))
    logging.getLogger().handlers = [handler]
    set_levels(level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_shared_processors(role),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG),  # `filter_by_level` does the filtering
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # so that a second call, and a test that captures, reaches every logger
    )


def set_levels(level: str, named: Mapping[str, str] | None = None) -> None:
    """Set the level of all loggers; then of each named logger, and the loggers below it, its own level."""
    number = _number(level)
    wanted: dict[str, int] = {name: max(number, logging.WARNING) for name in (*NOISY_LOGGERS, *INDISCREET_LOGGERS)}
    for name, its_level in (named or {}).items():
        is_indiscreet = any(f"{name}.".startswith(f"{each}.") for each in INDISCREET_LOGGERS)
        wanted[name] = max(_number(its_level), logging.INFO if is_indiscreet else logging.DEBUG)
    restore_levels(except_for=wanted)
    for name, its_number in wanted.items():
        logger = logging.getLogger(name)
        _own_levels.setdefault(name, logger.level)
        logger.setLevel(its_number)
    logging.getLogger().setLevel(number)


def restore_levels(except_for: Container[str] = ()) -> None:
    """Restore the former level of each logger whose level `set_levels` has changed."""
    for name in [name for name in _own_levels if name not in except_for]:
        logging.getLogger(name).setLevel(_own_levels.pop(name))


def parse_levels(text: str) -> dict[str, str]:
    """Parse a text such as `bff=debug,messaging.gateway=info` into levels by logger. Raises ValueError.

    A logger that does not exist yet is no error.
    """
    levels: dict[str, str] = {}
    for item in filter(None, (item.strip() for item in text.split(","))):
        name, _, level = (part.strip() for part in item.partition("="))
        if not _LOGGER_NAME.fullmatch(name) or level not in LEVELS:
            raise ValueError(f"{item!r} is not a logger and its level, such as bff=debug")
        levels[name] = level
    if len(levels) > MAX_LEVELS:
        raise ValueError(f"more than {MAX_LEVELS} loggers are named")
    return levels


def bind_session(session: LoggedSession) -> None:
    """Add the session's ids to the lines of this task and of the tasks that it starts. For a task that ends with the
    session, since nothing unbinds it."""
    _session.set(session)


def with_role(role: str) -> Callable[[Callable[P, AbstractAsyncContextManager[T]]], Callable[P, "WithRole[T]"]]:
    """Decorate a context manager that opens a role: its log lines, and the lines of its child tasks, name it."""

    def decorate(opening: Callable[P, AbstractAsyncContextManager[T]]) -> Callable[P, WithRole[T]]:
        @functools.wraps(opening)
        def open_with_role(*arguments: P.args, **named: P.kwargs) -> WithRole[T]:
            return WithRole(role, opening(*arguments, **named))

        return open_with_role

    return decorate


class WithRole(Generic[T]):
    """Enters and exits a context manager with a role; the block itself keeps the role of its task."""

    def __init__(self, role: str, opening: AbstractAsyncContextManager[T]) -> None:
        self._role_name = role
        self._opening = opening

    async def __aenter__(self) -> T:
        token = _role.set(self._role_name)
        try:
            return await self._opening.__aenter__()
        finally:
            _role.reset(token)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        token = _role.set(self._role_name)
        try:
            return await self._opening.__aexit__(kind, error, traceback)
        finally:
            _role.reset(token)


def _number(level: str) -> int:
    return logging.getLevelNamesMapping()[level.upper()]


def _shared_processors(role: str) -> list[Processor]:
    """The processors for both kinds of records: they add the context of the task or thread that logs."""

    def add_context(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
        if current_role := _role.get(role):
            event.setdefault("role", current_role)
        session = _session.get(None)
        if session is not None:
            event.setdefault("session_id", session.session_id)
            if session.user_id:
                event.setdefault("user_id", str(session.user_id))
        span = trace.get_current_span()
        if span.is_recording():
            context = span.get_span_context()
            event.setdefault("trace_id", trace.format_trace_id(context.trace_id))
            event.setdefault("span_id", trace.format_span_id(context.span_id))
        return event

    return [
        structlog.contextvars.merge_contextvars,
        add_context,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt=_TIME, utc=True, key="time"),
    ]


def _formatter(role: str) -> logging.Formatter:
    """Render both kinds of records; records of the standard library get the fields that structlog's already have."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*_shared_processors(role), structlog.stdlib.ExtraAdder()],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _shorten_exception,
            structlog.processors.StackInfoRenderer(),
            _flatten,
            _order_fields,
            structlog.processors.JSONRenderer(),
        ],
    )


def _shorten_exception(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Leave out the middle of a long traceback: its begin has the place, its end the error."""
    text = event.get("exception", "")
    if isinstance(text, str) and len(json.dumps(text)) > _MAX_EXCEPTION_BYTES:
        first, last = _fitting(text), _fitting(text[::-1])
        left_out = len(text) - first - last
        event["exception"] = f"{text[:first]}\n[{left_out} characters left out]\n{text[len(text) - last :]}"
    return event


def _fitting(text: str) -> int:
    """The number of leading characters that are at most half of `_MAX_EXCEPTION_BYTES` as JSON."""
    half = _MAX_EXCEPTION_BYTES // 2
    return bisect_right(range(half), half, key=lambda count: len(json.dumps(text[:count]))) - 1


def _flatten(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Turn objects into texts: in an index a field has one type."""
    return {name: _flat(value) for name, value in event.items()}


def _flat(value: Any) -> Any:
    if isinstance(value, list | tuple | set | frozenset):
        return [_scalar(item) for item in value]
    return _scalar(value)


def _scalar(value: Any) -> Any:
    if isinstance(value, int):
        return value if abs(value) <= _MAX_EXACT else str(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str | None):
        return value
    return json.dumps(value, default=repr) if isinstance(value, dict | list | tuple) else repr(value)


def _order_fields(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Put the fields of every line first, for readers of the raw lines."""
    return {**{name: event[name] for name in _FIRST_FIELDS}, **event}
