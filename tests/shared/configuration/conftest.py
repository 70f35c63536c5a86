"""The engines on which the contract suite runs. A further twin needs a line in ENGINES."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from shared.configuration import ConfigurationStore
from shared.configuration.redis import open_redis_configuration
from shared.configuration.sqlite import open_sqlite_configuration
from shared.drivers.redis import open_redis
from tests.shared.drivers.redis_clients import settings_for

OpenStore = Callable[[], AbstractAsyncContextManager[ConfigurationStore]]
"""Opens the one store of a test. Opening it twice is how two processes share it."""


def sqlite(request: pytest.FixtureRequest) -> OpenStore:
    path = request.getfixturevalue("tmp_path") / "configuration.db"
    return lambda: open_sqlite_configuration(path, poll_seconds=0.005)


def redis(request: pytest.FixtureRequest) -> OpenStore:
    settings = settings_for(request.getfixturevalue("redis_server"))

    @asynccontextmanager
    async def open_it() -> AsyncIterator[ConfigurationStore]:
        async with open_redis(settings) as client, open_redis_configuration(client, settings.prefix) as store:
            yield store

    return open_it


ENGINES = {"sqlite": sqlite, "redis": redis}


@pytest.fixture(params=sorted(ENGINES))
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    return ENGINES[request.param](request)


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[ConfigurationStore]:
    async with open_store() as store:
        yield store
