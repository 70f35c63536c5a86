"""Fixtures of the tests of the examples: a running platform, and the built examples."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.examples.chatters import Command, prepare
from tests.needed import needed
from tools.launch.process import Rookery, running


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    commands: dict[str, list[str]] = {}

    def command(language: str) -> list[str]:
        if language not in commands:
            commands[language] = needed(prepare, language, tmp_path_factory.mktemp(language))
        return commands[language]

    return command


@pytest.fixture(scope="module")
def rookery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rookery]:
    """A platform for all tests of a file: each signs up its own users."""
    with running(Rookery(tmp_path_factory.mktemp("rookery") / "data")) as ready:
        yield ready


@pytest.fixture
def own_rookery(tmp_path: Path) -> Iterator[Rookery]:
    """A platform for one test, which may kill it."""
    with running(Rookery(tmp_path / "data")) as ready:
        yield ready
