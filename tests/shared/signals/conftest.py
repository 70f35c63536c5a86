"""The engines on which the contract suite runs. A further twin needs a line in ENGINES."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from shared.signals.memory import LocalSignals
from shared.signals.protocol import Signals
from shared.signals.redis import open_redis_signals
from tests.shared.drivers.redis_clients import settings_for

OpenSignals = Callable[[], AbstractAsyncContextManager[Signals]]
"""Opens the signals of one platform. Opening them twice is how two processes share them."""


def memory(request: pytest.FixtureRequest) -> OpenSignals:
    signals = LocalSignals()

    @asynccontextmanager
    async def open_it() -> AsyncIterator[Signals]:
        yield signals

    return open_it


def redis(request: pytest.FixtureRequest) -> OpenSignals:
    settings = settings_for(request.getfixturevalue("redis_server"))
    return lambda: open_redis_signals(settings)


ENGINES = {"memory": memory, "redis": redis}


@pytest.fixture(params=sorted(ENGINES))
def open_signals(request: pytest.FixtureRequest) -> OpenSignals:
    return ENGINES[request.param](request)
