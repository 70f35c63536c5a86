"""The engines that the contract of the backplane is held to. A twin joins by a line in ENGINES."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from shared.backplane import Backplane
from shared.backplane.embedded import open_embedded_log

PARTITIONS = 4

OpenBackplane = Callable[[], AbstractAsyncContextManager[Backplane]]
"""Opens the same backplane again each time: what was published before is still there."""


def embedded(folder: Path) -> OpenBackplane:
    return lambda: open_embedded_log(folder / "log.sqlite3", partitions=PARTITIONS, retention_hours=1)


ENGINES = {"embedded": embedded}


@pytest.fixture(params=sorted(ENGINES))
def open_backplane(request: pytest.FixtureRequest, tmp_path: Path) -> OpenBackplane:
    return ENGINES[request.param](tmp_path)


@pytest.fixture
async def backplane(open_backplane: OpenBackplane) -> AsyncIterator[Backplane]:
    async with open_backplane() as opened:
        yield opened
