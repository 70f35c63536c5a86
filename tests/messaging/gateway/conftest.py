"""The gateway's harness as fixtures."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from messaging.gateway.gateway import Gateway
from tests.messaging.gateway.harness import Platform, open_platform

LENIENT = 60.0
"""Seconds; longer than anything here takes on the busiest machine."""


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients here share a thread with their gateway, and stand still when it does: none of them is too late for that.
    A test of a deadline sets its own."""
    for deadline in (
        "transports.connection.GOODBYE_DEADLINE",
        "log_consumer.SETTLE_SECONDS",
        "session.AUTHENTICATE_SECONDS",
        "transports.websocket.CLOSE_DEADLINE",
        "transports.websocket.HANDSHAKE_DEADLINE",
    ):
        monkeypatch.setattr(f"messaging.gateway.{deadline}", LENIENT)


@pytest.fixture
async def platform(tmp_path: Path, lenient: None) -> AsyncIterator[Platform]:
    async with open_platform(tmp_path) as opened:
        yield opened


@pytest.fixture
async def gateway(platform: Platform) -> Gateway:
    return await platform.start_gateway()


@pytest.fixture
def reopen(lenient: None) -> Callable[[Path], AbstractAsyncContextManager[Platform]]:
    """Opens a platform on a folder, again and again: what it kept is still there."""
    return open_platform
