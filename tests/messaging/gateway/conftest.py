"""The gateway's harness as fixtures."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from messaging.gateway.gateway import Gateway
from tests.messaging.gateway.harness import ALL, Platform, ScriptedLog, open_platform

LENIENT = 60.0
"""Seconds; longer than anything here takes on the busiest machine."""


@pytest.fixture
def lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    """No deadlines: clients share a thread with their gateway, and stop when it does. A test of a deadline sets it."""
    for deadline in (
        "transports.connection.GOODBYE_DEADLINE",
        "gateway.SETTLE_SECONDS",
        "log_consumer.SETTLE_SECONDS",
        "session.AUTHENTICATE_SECONDS",
        "session.SIGN_IN_SECONDS",
        "sign_in.OWNER_SECONDS",
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
async def log(platform: Platform) -> ScriptedLog:
    """The platform's log, whose consumer is assigned all partitions."""
    log = platform.backplane = ScriptedLog()
    log.assign(ALL, frozenset(), 1)
    return log
