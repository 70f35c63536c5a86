"""Fixtures of the tests of the examples: a running platform, and the built examples."""

import pytest

from tests.examples.chatters import Command, prepare
from tests.needed import needed


@pytest.fixture(scope="session")
def command(tmp_path_factory: pytest.TempPathFactory) -> Command:
    commands: dict[str, list[str]] = {}

    def command(language: str) -> list[str]:
        if language not in commands:
            commands[language] = needed(prepare, language, tmp_path_factory.mktemp(language))
        return commands[language]

    return command
