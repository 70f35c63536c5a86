"""The command `rookery`, run in this process."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner, Result

from rookery.commands.backup import PARTS
from rookery.commands.cli import main
from rookery.serve.folder import DataFolder
from shared.telemetry import logs

Invoke = Callable[..., Result]


@pytest.fixture(autouse=True)
def _own_logs() -> Iterator[None]:
    """Undo a command's configuration of logs, which is for a whole process."""
    root = logging.getLogger()
    before = root.handlers, root.level
    yield
    logs.restore_levels()
    root.handlers, root.level = before
    structlog.reset_defaults()


@pytest.fixture
def folder(tmp_path: Path) -> DataFolder:
    return DataFolder(tmp_path / "data")


@pytest.fixture
def started(folder: DataFolder) -> None:
    """The data folder has every database, as after a start. They are empty: the first command migrates them."""
    folder.path.mkdir()
    for part in PARTS:
        (folder.path / part.name).touch()


@pytest.fixture
def invoke(folder: DataFolder, monkeypatch: pytest.MonkeyPatch) -> Invoke:
    """Run the command with a new data folder."""
    monkeypatch.chdir(folder.path.parent)
    monkeypatch.setenv("ROOKERY_DATA", str(folder.path))

    def run(*arguments: str, stdin: str = "", **environment: str) -> Result:
        return CliRunner().invoke(main, arguments, input=stdin, env=environment)

    return run
