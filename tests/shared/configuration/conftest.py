"""The stores that the contract suite runs over."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from shared.configuration import ConfigurationStore
from shared.configuration.redis import open_redis_configuration
from shared.configuration.sqlite import open_sqlite_configuration
from shared.drivers.redis import open_redis
from tests.shared.drivers.redis_clients import settings_for

OpenStore = Callable[[], AbstractAsyncContextManager[ConfigurationStore]]
"""Opens the one store of a test. Opening it twice is how two processes share it."""


@pytest.fixture(params=["sqlite", "redis"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    if request.param == "sqlite":
        return lambda: open_sqlite_configuration(tmp_path / "configuration.db", poll_seconds=0.005)
    settings = settings_for(request.getfixturevalue("redis_server"))

    @asynccontextmanager
    async def open_store() -> AsyncIterator[ConfigurationStore]:
        async with open_redis(settings) as client, open_redis_configuration(client, settings.prefix) as store:
            yield store

    return open_store


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[ConfigurationStore]:
    async with open_store() as store:
        yield store
