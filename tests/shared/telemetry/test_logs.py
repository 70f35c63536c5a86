"""Logs are JSON lines with the same fields, whichever library logs."""

import io
import json
import logging
import re
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from shared.telemetry import logs
from shared.telemetry.logs import (
    INDISCREET_LOGGERS,
    LEVELS,
    NOISY_LOGGERS,
    Interval,
    bind_session,
    configure_logs,
    parse_levels,
    set_levels,
    with_role,
)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """The output of the log, at level info, while the test runs."""
    root = logging.getLogger()
    before = root.handlers, root.level
    stream = io.StringIO()
    configure_logs("info", role="up", stream=stream)
    yield stream
    logs.restore_levels()
    root.handlers, root.level = before
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_with_its_fields_also_from_the_standard_library(stream: io.StringIO) -> None:
    configure_logs("info", role="up", stream=stream)  # again: no line is doubled
    with structlog.contextvars.bound_contextvars(session_id="s1"):
        structlog.get_logger("messaging.gateway").info("session_opened", count=3)
        logging.getLogger("some.library").warning("took %d s", 3, extra={"attempt": 2})
    first, second = lines(stream)
    expected = {"level": "info", "event": "session_opened", "logger": "messaging.gateway", "session_id": "s1"}
    assert first == {"time": first["time"], **expected, "count": 3, "role": "up"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", first["time"])
    expected = {"level": "warning", "event": "took 3 s", "logger": "some.library", "session_id": "s1"}
    assert second == {"time": second["time"], **expected, "attempt": 2, "role": "up"}
    assert list(first)[:4] == list(second)[:4] == ["time", "level", "event", "logger"]


def test_an_exception_is_text_in_its_line(stream: io.StringIO) -> None:
    for logger in (structlog.get_logger("a"), logging.getLogger("b")):
        try:
            raise ExceptionGroup("many", [ValueError("one\ntwo")])
        except ExceptionGroup:
            logger.exception("failed")
    for line in lines(stream):
        assert line["level"] == "error"
        assert line["event"] == "failed"
        assert "ValueError: one\n" in line["exception"]


@pytest.mark.parametrize("text", ["boom " * 300, "\U0001f4a5" * 1_000, '"' * 100_000])
def test_a_line_with_a_long_exception_is_shorter_than_the_parts_of_container_logs(
    stream: io.StringIO, text: str
) -> None:
    group = ExceptionGroup("many", [ValueError(f"{number} {text}") for number in range(30)])
    logging.getLogger("a").error("failed", exc_info=group)
    (line,) = lines(stream)
    assert 12 << 10 < len(stream.getvalue()) < 16 << 10
    first, left_out, last = re.split(r"\n\[(\d+) characters left out\]\n", line["exception"])
    whole = "".join(traceback.format_exception(group)).rstrip("\n")
    assert whole.startswith(first)
    assert whole.endswith(last)
    assert len(first) + int(left_out) + len(last) == len(whole)
    assert "many (30 sub-exceptions)" in first
    assert "and 15 more exceptions" in last


def test_anything_can_be_logged_in_one_line(stream: io.StringIO) -> None:
    structlog.get_logger("a").info("a\nb\u2028c\ud800", raw=b"\xff", thing=object)
    assert len(stream.getvalue().splitlines()) == 1
    assert lines(stream)[0]["event"] == "a\nb\u2028c\ud800"


# ---- levels


def logged(stream: io.StringIO, name: str) -> list[str]:
    """The levels at which the logger logs now, by both ways to log."""
    both = []
    for logger in (structlog.get_logger(name), logging.getLogger(name)):
        stream.seek(stream.truncate(0))
        for level in LEVELS:
            getattr(logger, level)("something")
        both.append([line["level"] for line in lines(stream)])
    assert both[0] == both[1]
    return both[0]


def test_levels_change_while_loggers_are_in_use(stream: io.StringIO) -> None:
    logger = structlog.get_logger("bff.app")
    set_levels("error", {"bff": "debug"})
    logger.debug("logged")
    assert [line["event"] for line in lines(stream)] == ["logged"]
    assert logged(stream, "bff.app.part") == list(LEVELS)
    assert logged(stream, "bffs") == ["error"]
    set_levels("warning", {"bff.app": "error"})
    assert logged(stream, "bff") == ["warning", "error"]
    assert logged(stream, "bff.app") == ["error"]
    set_levels("info")
    assert logged(stream, "bff.app") == ["info", "warning", "error"]


@pytest.mark.parametrize("name", NOISY_LOGGERS)
def test_a_noisy_library_logs_warnings_and_above_or_at_the_level_set_for_it(stream: io.StringIO, name: str) -> None:
    part = f"{name}.part"
    for level in ("info", "debug"):
        set_levels(level)
        assert logged(stream, part) == ["warning", "error"]
        set_levels("info", {name: "debug"})
        assert logged(stream, part) == list(LEVELS)
    set_levels("error")
    assert logged(stream, part) == ["error"]


@pytest.mark.parametrize("name", INDISCREET_LOGGERS)
def test_a_library_that_logs_its_payloads_never_debugs(stream: io.StringIO, name: str) -> None:
    assert logged(stream, f"{name}.part") == ["warning", "error"]
    set_levels("debug", {name: "debug", f"{name}.part": "debug"})
    for each in (name, f"{name}.part", f"{name}.part.of.it"):
        assert logged(stream, each) == ["info", "warning", "error"]


def test_the_former_level_of_a_logger_is_restored(stream: io.StringIO) -> None:
    logging.getLogger("kafka.net").setLevel(logging.CRITICAL)
    set_levels("info", {"kafka.net": "info"})
    assert logged(stream, "kafka.net") == ["info", "warning", "error"]
    set_levels("debug")
    assert logging.getLogger("kafka.net").level == logging.CRITICAL
    logging.getLogger("kafka.net").setLevel(logging.NOTSET)


def test_levels_are_read_from_text() -> None:
    assert parse_levels(" bff = debug, messaging.gateway=info,") == {"bff": "debug", "messaging.gateway": "info"}
    assert parse_levels("") == {}
    for wrong in ("bff", "bff=", "=info", "bff=loud", "bff=DEBUG", "b f=info", ".bff=info", "bff=info;x=info"):
        with pytest.raises(ValueError, match="is not a logger and its level"):
            parse_levels(wrong)
    with pytest.raises(ValueError, match="more than 32"):
        parse_levels(",".join(f"logger{number}=info" for number in range(33)))


@given(st.text())
def test_any_text_is_levels_or_refused(text: str) -> None:
    with suppress(ValueError):
        assert set(parse_levels(text).values()) <= set(LEVELS)


# ---- the context of a line


@dataclass
class Identity:
    session_id: str = "s1"
    user_id: int = 0


async def test_a_line_has_the_ids_of_its_tasks_session_alone(stream: io.StringIO) -> None:
    log = structlog.get_logger("a")
    identity = Identity()

    async def part() -> None:
        log.info("before")
        identity.user_id = 7 * 10**18
        log.info("after")
        logging.getLogger("b").info("after")

    async def session() -> None:
        bind_session(identity)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(part)
        log.info("end")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(session)
    log.info("elsewhere")
    known = [(line["event"], line.get("session_id"), line.get("user_id")) for line in lines(stream)]
    user = "7000000000000000000"
    assert known == [
        ("before", "s1", None),
        ("after", "s1", user),
        ("after", "s1", user),
        ("end", "s1", user),
        ("elsewhere", None, None),
    ]


async def test_a_role_is_that_of_the_tasks_that_it_starts_and_not_of_the_block(stream: io.StringIO) -> None:
    log = structlog.get_logger("a")

    async def task(go: trio.Event) -> None:
        await go.wait()
        log.info("task")

    @with_role("gateway")
    @asynccontextmanager
    async def opened(go: trio.Event) -> AsyncIterator[int]:
        log.info("opening")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task, go)
            try:
                yield 5
            finally:
                log.info("closing")

    go = trio.Event()
    async with opened(go) as value:
        assert value == 5
        log.info("block")
        go.set()
        await trio.testing.wait_all_tasks_blocked()
    roles = [(line["event"], line["role"]) for line in lines(stream)]
    assert roles == [("opening", "gateway"), ("block", "up"), ("task", "gateway"), ("closing", "gateway")]


def test_a_line_names_the_span_that_records(stream: io.StringIO) -> None:
    log = structlog.get_logger("a")
    with TracerProvider().get_tracer("test").start_as_current_span("outer") as span:
        log.info("recorded")
        logging.getLogger("b").info("recorded")
    with TracerProvider(sampler=ALWAYS_OFF).get_tracer("test").start_as_current_span("outer"):
        log.info("not sampled")
    log.info("no span")
    context = span.get_span_context()
    ids = (trace.format_trace_id(context.trace_id), trace.format_span_id(context.span_id))
    assert [(line.get("trace_id"), line.get("span_id")) for line in lines(stream)] == [ids, ids, *[(None, None)] * 2]


def test_nested_values_and_numbers_that_a_double_rounds_are_text(stream: io.StringIO) -> None:
    structlog.get_logger("a").info(
        "odd", thing={"a": {1: 2}}, many=[1, {"b": 2}, (3,)], some={7}, big=2**60, infinite=float("inf"), yes=True
    )
    (line,) = lines(stream)
    assert line["thing"] == '{"a": {"1": 2}}'
    assert line["many"] == [1, '{"b": 2}', "[3]"]
    assert (line["some"], line["big"], line["infinite"], line["yes"]) == ([7], str(2**60), "inf", True)


def test_an_interval_lets_one_event_through_each_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((0.0, 0.1, 59.9, 60.0, 60.1, 500.0))
    monkeypatch.setattr("shared.telemetry.logs.time.monotonic", lambda: next(times))
    interval = Interval()
    assert [interval.has_passed() for _ in range(6)] == [True, False, False, True, False, True]
