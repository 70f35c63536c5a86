"""The command `rookery`, run in this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rookery.commands.cli import main
from rookery.serve.folder import DataFolder

Invoke = Callable[..., Result]


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest.fixture
def invoke(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run the command with a new data folder."""
    monkeypatch.chdir(folder.path.parent)
    monkeypatch.setenv("ROOKERY_DATA", str(folder.path))

    def run(*arguments: str, stdin: str = "", **environment: str) -> Result:
        return CliRunner().invoke(main, arguments, input=stdin, env=environment)

    return run
