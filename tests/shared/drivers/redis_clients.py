"""Helpers for the tests of everything in Redis: settings for each test, and waiting for a condition."""

import uuid
from collections.abc import Callable
from typing import TypeVar

import trio
from pydantic import SecretStr

from shared.settings import RedisSettings
from tools.engines.redis import Redis

DEADLINE = 60.0
"""Seconds; only ends a test that has failed, on however busy a machine."""

T = TypeVar("T")


def settings_for(server: Redis, *, timeout_seconds: float = DEADLINE, url: str = "") -> RedisSettings:
    """Settings with a new prefix."""
    return RedisSettings(
        url=SecretStr(url or server.url), prefix=f"{uuid.uuid4().hex}:", timeout_seconds=timeout_seconds
    )


async def eventually(condition: Callable[[], bool]) -> None:
    with trio.fail_after(DEADLINE):
        while not condition():
            await trio.sleep(0.005)


async def blocking(call: Callable[[], T]) -> T:
    return await trio.to_thread.run_sync(call)
