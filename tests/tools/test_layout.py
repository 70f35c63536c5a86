"""A module is tested in the file of its name, or where CONTRIBUTING.md says; the BFF lists its modules; and a broad
`except` has a reason."""

import re
from collections.abc import Iterator
from fnmatch import fnmatch

import pytest

import bff
from tools.toolchains import ROOT

PACKAGES = ("bff", "messaging", "rookery", "shared")

GENERATED = ("rookery/v1/*", "shared/rpc/standard/*")

SECTION = (ROOT / "CONTRIBUTING.md").read_text().partition("## Modules that are tested elsewhere")[2]

ROWS = re.findall(r"^\| (`.+\.py`) \| (`.+`) \|$", SECTION, re.MULTILINE)
"""Modules, and the test files that test them."""


BROAD = re.compile(r" *(except\b|.*\bsuppress\()[^#]*\b(Base)?Exception(Group)?\b")
"""A line that catches every exception."""


def modules() -> set[str]:
    """Product modules that people write, as paths from the root."""
    paths = [str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    written = [path for path in paths if not any(fnmatch(path, each) for each in GENERATED)]
    return {path for path in written if not path.endswith("__init__.py")}


def paths_in(cell: str) -> Iterator[str]:
    """Paths of a cell, such as "`a/{b,c}.py`, `d/*.py`", expanded: the latter to the modules without own tests."""
    for path in re.findall(r"`(\S+)`", cell):
        before, _, rest = path.partition("{")
        names, _, after = rest.partition("}")
        if "*" in path:
            yield from (module for module in modules() if fnmatch(module, path) and not has_own_test(module))
        else:
            yield from (f"{before}{name}{after}" for name in names.split(","))


def has_own_test(module: str) -> bool:
    path = ROOT / "tests" / module
    return path.with_name(f"test_{path.name}").exists()


def test_each_module_is_tested_under_its_name_or_where_the_table_says() -> None:
    listed = {module for cell, _ in ROWS for module in paths_in(cell)}
    assert sorted(module for module in modules() - listed if not has_own_test(module)) == []
    assert sorted(listed - modules()) == [], "listed, but no module"
    assert sorted(module for module in listed if has_own_test(module)) == [], "listed without need"


def test_the_table_of_the_bff_names_each_of_its_modules() -> None:
    rows = re.findall(r"^\| (`.+?) \|", bff.__doc__ or "", re.MULTILINE)
    tops = {path.split("/")[1].removesuffix(".py") for path in modules() if path.startswith("bff/")}
    assert sorted(name for row in rows for name in re.findall(r"`(\w+)/?`", row)) == sorted(tops)


def test_the_tests_in_the_table_exist() -> None:
    tests = {path for _, cell in ROWS for path in paths_in(cell)}
    assert [path for path in sorted(tests) if not (ROOT / path).is_file()] == []


@pytest.mark.parametrize(
    ("line", "is_broad"),
    [
        ("except Exception:", True),
        ("except (OSError, BaseException) as error:", True),
        ("except* Exception as group:", True),
        ("with opened(), suppress(OSError, Exception):", True),
        ("except Refused:  # an Exception", False),
        ("with suppress(OSError):", False),
    ],
)
def test_every_form_of_an_except_that_catches_everything_is_found(line: str, is_broad: bool) -> None:
    assert bool(BROAD.match(f"    {line}")) is is_broad


def test_an_except_that_catches_everything_states_its_reason() -> None:
    lines = [
        f"{module}:{number}: {line.strip()}"
        for module in sorted(modules())
        for number, line in enumerate((ROOT / module).read_text().splitlines(), 1)
        if BROAD.match(line)
    ]
    assert len(lines) > 20
    assert [line for line in lines if "  # " not in line] == []
