"""Every log event of the product is a snake_case name with fields, and docs/logs.md lists only events that exist."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PRODUCT = ("bff", "messaging", "rookery", "shared")

LEVELS = {"debug", "info", "warning", "error", "exception", "log"}
EVENT = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def loggers(tree: ast.Module) -> set[str]:
    """The names that a module assigns `structlog.get_logger(…)` to."""
    return {
        ast.unparse(target)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("structlog.get_logger(")
        for target in node.targets
    }


def events() -> Iterator[tuple[str, ast.expr, int]]:
    """Every event: its place, the expression of its name, and the number of positional arguments besides the level.

    A helper method `_log(self, event, …)` passes its parameter `event` on, so its calls are the events.
    """
    for package in PRODUCT:
        for file in sorted((ROOT / package).rglob("*.py")):
            tree = ast.parse(file.read_text())
            names = loggers(tree)
            for node in ast.walk(tree):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                receiver, method = ast.unparse(node.func.value), node.func.attr
                if (receiver, method) == ("self", "_log") or (receiver in names and method in LEVELS):
                    arguments = node.args[1:] if method == "log" else node.args
                    if ast.unparse(arguments[0]) != "event":
                        yield f"{file.relative_to(ROOT)}:{node.lineno}", arguments[0], len(arguments)


def test_log_events_are_snake_case_names_whose_values_are_fields() -> None:
    found = list(events())
    assert len(found) > 50
    wrong = [
        f"{place}: {ast.unparse(name)}"
        for place, name, positional in found
        if positional != 1 or not EVENT.fullmatch(str(getattr(name, "value", "")))
    ]
    assert not wrong, "name the event in snake_case, and pass values as keyword arguments:\n" + "\n".join(wrong)


def test_the_guide_to_logs_lists_events_that_exist() -> None:
    text = (ROOT / "docs/logs.md").read_text()
    listed = set(re.findall(r"^\| (?:debug|info|warning|error) \| `([a-z_]+)` \|", text, re.MULTILINE))
    assert len(listed) > 10
    assert listed <= {str(getattr(name, "value", "")) for _, name, _ in events()}
