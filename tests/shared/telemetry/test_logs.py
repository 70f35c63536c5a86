"""Logs are JSON lines with the same fields, whoever logs."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from shared.telemetry.logs import NOISY_LOGGERS, configure_logs


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    """Where the log goes at level info, while the test runs."""
    root = logging.getLogger()
    before = root.handlers, root.level
    levels = {name: logging.getLogger(name).level for name in NOISY_LOGGERS}
    stream = io.StringIO()
    configure_logs("info", stream=stream)
    yield stream
    root.handlers, root.level = before
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_an_event_is_one_line_with_its_fields(stream: io.StringIO) -> None:
    structlog.get_logger("messaging.gateway").info("session opened", session_id="s1", count=3)
    (line,) = lines(stream)
    assert list(line)[:4] == ["time", "level", "event", "logger"]
    assert line | {"time": ""} == {
        "time": "",
        "level": "info",
        "event": "session opened",
        "logger": "messaging.gateway",
        "session_id": "s1",
        "count": 3,
    }
    assert line["time"].endswith("Z")


def test_the_standard_library_logs_the_same_lines(stream: io.StringIO) -> None:
    logging.getLogger("some.library").warning("took %d s", 3, extra={"attempt": 2})
    (line,) = lines(stream)
    assert (line["level"], line["event"], line["logger"], line["attempt"]) == ("warning", "took 3 s", "some.library", 2)
    assert list(line)[:4] == ["time", "level", "event", "logger"]


def test_what_is_below_the_level_is_not_logged(stream: io.StringIO) -> None:
    structlog.get_logger("a").debug("no")
    logging.getLogger("a").debug("no")
    assert stream.getvalue() == ""


@pytest.mark.parametrize("name", NOISY_LOGGERS)
def test_noisy_libraries_are_heard_from_warning(stream: io.StringIO, name: str) -> None:
    logging.getLogger(f"{name}.part").info("a frame")
    logging.getLogger(f"{name}.part").warning("a problem")
    assert [line["event"] for line in lines(stream)] == ["a problem"]


def test_noisy_libraries_obey_a_higher_level(stream: io.StringIO) -> None:
    configure_logs("error", stream=stream)
    logging.getLogger("h2").warning("a problem")
    assert stream.getvalue() == ""


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


def test_anything_can_be_logged_in_one_line(stream: io.StringIO) -> None:
    structlog.get_logger("a").info("a\nb\u2028c\ud800", raw=b"\xff", thing=object)
    assert len(stream.getvalue().splitlines()) == 1
    assert lines(stream)[0]["event"] == "a\nb\u2028c\ud800"


def test_configuring_again_does_not_double_the_lines(stream: io.StringIO) -> None:
    configure_logs("info", stream=stream)
    structlog.get_logger("a").info("once")
    assert len(lines(stream)) == 1


def test_the_context_of_a_task_is_in_its_lines(stream: io.StringIO) -> None:
    with structlog.contextvars.bound_contextvars(session_id="s1"):
        structlog.get_logger("a").info("one")
        logging.getLogger("b").info("two")
    structlog.get_logger("a").info("three")
    assert [line.get("session_id") for line in lines(stream)] == ["s1", "s1", None]
