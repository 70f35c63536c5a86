"""The gateway's harness as fixtures."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from messaging.gateway.gateway import Gateway
from tests.messaging.gateway.harness import Platform, open_platform


@pytest.fixture
async def platform(tmp_path: Path) -> AsyncIterator[Platform]:
    async with open_platform(tmp_path) as opened:
        yield opened


@pytest.fixture
async def gateway(platform: Platform) -> Gateway:
    return await platform.start_gateway()


@pytest.fixture
def reopen() -> Callable[[Path], AbstractAsyncContextManager[Platform]]:
    """Opens a platform on a folder, again and again: what it kept is still there."""
    return open_platform
