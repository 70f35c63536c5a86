"""A gateway with signals, on a clock that the test moves."""

from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from messaging.gateway.signals.presences import OFFLINE_SECONDS
from tests.messaging.gateway.signals.world import ALL, GatewayOfUsers, World, elapse


@pytest.fixture
def clock(autojump_clock: trio.testing.MockClock) -> trio.testing.MockClock:
    autojump_clock.autojump_threshold = float("inf")
    return autojump_clock


@pytest.fixture
async def world(clock: trio.testing.MockClock) -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        yield World(nursery)
        nursery.cancel_scope.cancel()


@pytest.fixture
async def gateway(world: World, clock: trio.testing.MockClock) -> GatewayOfUsers:
    """A gateway that has owned all partitions for long."""
    gateway = await world.gateway(ALL)
    await elapse(clock, OFFLINE_SECONDS + 1)
    return gateway
