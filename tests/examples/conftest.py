"""What the tests of the examples share: a running platform, and the examples, built."""

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
    """One for all tests of a file: each makes its own people."""
    with running(Rookery(tmp_path_factory.mktemp("rookery") / "data")) as ready:
        yield ready


@pytest.fixture
def own_rookery(tmp_path: Path) -> Iterator[Rookery]:
    """One for a test alone, that may do with it what it likes."""
    with running(Rookery(tmp_path / "data")) as ready:
        yield ready
