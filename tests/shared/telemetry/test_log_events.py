"""Log events of the product are snake_case names with fields; docs/logs.md lists some that exist, with their level."""

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PRODUCT = ("bff", "messaging", "rookery", "shared")

LEVELS = {"debug", "info", "warning", "error", "exception", "log"}
METHODS = LEVELS | {"_log"}
LISTED = re.compile(r"^\| (debug|info|warning|error) \| `([a-z_]+)` \|", re.MULTILINE)
EVENT = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def loggers(tree: ast.Module) -> set[str]:
    """The names that a module assigns `structlog.get_logger(…)` to."""
    return {
        ast.unparse(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and ast.unparse(node.value.func) == "structlog.get_logger"
        for target in node.targets
    }


@cache
def events() -> Sequence[tuple[str, ast.expr, int, str]]:
    """Every event: its place, the expression of its name, the number of positional arguments besides the level, and the
    method of the logger.

    A helper method `_log(self, event, …)` passes its parameter `event` on, so its calls are the events.
    """
    return list(_events())


def _events() -> Iterator[tuple[str, ast.expr, int, str]]:
    for package in PRODUCT:
        for file in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(file.read_text())
            names = loggers(tree)
            for node in ast.walk(tree):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                if node.func.attr not in METHODS:
                    continue
                receiver, method = ast.unparse(node.func.value), node.func.attr
                if (receiver, method) == ("self", "_log") or (receiver in names and method in LEVELS):
                    arguments = node.args[1:] if method == "log" else node.args
                    if ast.unparse(arguments[0]) != "event":
                        yield f"{file.relative_to(ROOT)}:{node.lineno}", arguments[0], len(arguments), method


def test_log_events_are_snake_case_names_whose_values_are_fields() -> None:
    found = events()
    assert len(found) > 50
    wrong = [
        f"{place}: {ast.unparse(name)}"
        for place, name, positional, _ in found
        if positional != 1 or not EVENT.fullmatch(str(getattr(name, "value", "")))
    ]
    assert not wrong, "name the event in snake_case, and pass values as keyword arguments:\n" + "\n".join(wrong)


def test_the_guide_to_logs_lists_events_that_exist_with_their_levels() -> None:
    text = (ROOT / "docs/logs.md").read_text()
    listed = {event: level for level, event in LISTED.findall(text)}
    assert len(listed) > 10
    logged = [(str(getattr(name, "value", "")), place, method) for place, name, _, method in events()]
    assert listed.keys() <= {event for event, _, _ in logged}
    wrong = [
        f"{place}: {event} as {method}"
        for event, place, method in logged
        if event in listed and method not in (listed[event], "log", "_log", "exception")
    ]
    assert not wrong, "docs/logs.md lists these with another level:\n" + "\n".join(wrong)
