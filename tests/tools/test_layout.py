"""A module is tested in the file of its name, or where the table in CONTRIBUTING.md says."""

import re
from fnmatch import fnmatch
from pathlib import Path

from tools.toolchains import ROOT

PACKAGES = ("bff", "messaging", "rookery", "shared")

GENERATED = ("rookery/v1/*", "shared/rpc/standard/*")

TABLE = re.findall(r"^\| `(\S+\.py)` \| (.+) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
"""Rows of modules, as glob patterns, and the test files and folders that test them."""


def modules() -> list[str]:
    """Product modules that people write, as paths from the root."""
    found = [str(path.relative_to(ROOT)) for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    return sorted(
        path
        for path in found
        if not path.endswith("__init__.py") and not any(fnmatch(path, each) for each in GENERATED)
    )


def has_own_test(module: str) -> bool:
    path = Path("tests", module)
    return (ROOT / path.with_name(f"test_{path.name}")).exists()


def test_each_module_is_tested_under_its_name_or_where_the_table_says() -> None:
    listed = [pattern for pattern, _ in TABLE]
    untested = [
        module
        for module in modules()
        if not has_own_test(module) and not any(fnmatch(module, pattern) for pattern in listed)
    ]
    assert untested == []


def test_each_row_of_the_table_is_needed_and_names_tests_that_exist() -> None:
    for pattern, tests in TABLE:
        found = [module for module in modules() if fnmatch(module, pattern)]
        assert [module for module in found if not has_own_test(module)], pattern
        named = re.findall(r"`(\S+)`", tests)
        assert named
        assert [name for name in named if not (ROOT / name).exists()] == [], pattern
