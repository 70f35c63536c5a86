"""The platform that the attacks are against."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tools.launch.process import Rookery, running


@pytest.fixture
def rookery(tmp_path: Path) -> Iterator[Rookery]:
    with running(Rookery(tmp_path / "data")) as ready:
        yield ready
