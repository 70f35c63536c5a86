"""The stores that the contract suite runs over."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from shared.configuration import ConfigurationStore
from shared.configuration.sqlite import open_sqlite_configuration


@pytest.fixture(params=["sqlite"])
def open_store(tmp_path: Path) -> Callable[[], AbstractAsyncContextManager[ConfigurationStore]]:
    """Opens the one store of a test. Opening it twice is how two processes share it."""
    return lambda: open_sqlite_configuration(tmp_path / "configuration.db", poll_seconds=0.005)


@pytest.fixture
async def store(
    open_store: Callable[[], AbstractAsyncContextManager[ConfigurationStore]],
) -> AsyncIterator[ConfigurationStore]:
    async with open_store() as store:
        yield store
