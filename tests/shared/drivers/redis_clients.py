"""Helpers for tests with Redis: settings with a prefix of their own, and blocking calls."""

import uuid
from collections.abc import Callable
from typing import TypeVar

import trio
from pydantic import SecretStr

from shared.settings import RedisSettings
from tests.waiting import PATIENCE
from tools.engines.redis import Redis

T = TypeVar("T")


def settings_for(server: Redis, *, timeout_seconds: float = PATIENCE, url: str = "") -> RedisSettings:
    """Settings with a new prefix."""
    return RedisSettings(
        url=SecretStr(url or server.url), prefix=f"{uuid.uuid4().hex}:", timeout_seconds=timeout_seconds
    )


async def blocking(call: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(call)
