"""Store live configuration before a process starts."""

import json
from collections.abc import Mapping
from pathlib import Path

import trio

from rookery.serve.engines import open_configuration
from shared.settings import Engine, RedisSettings, Settings

UNLIMITED = {
    "registrations_per_minute": 100_000,
    "sign_ins_per_minute": 10_000,
    "groups_per_hour": 100_000,
    "files_per_hour": 100_000,
    "member_additions_per_minute": 100_000,
    "unknown_chats_per_minute": 100_000,
}
"""Limits for tests, whose users all connect from one address, and make more groups and mistakes than people."""


def configure(environment: Mapping[str, str], live: Mapping[str, float | str]) -> None:
    """Store it in the store of a process with this environment; the process need not run."""
    redis: set[Engine] = {"redis"} if "redis" in environment.get("ROOKERY_ENGINES", "") else set()
    names = {"url": "ROOKERY_REDIS__URL", "prefix": "ROOKERY_REDIS__PREFIX"}
    where = {field: environment[name] for field, name in names.items() if name in environment}
    settings = Settings(
        data=Path(environment["ROOKERY_DATA"]), engines=frozenset(redis), redis=RedisSettings.model_validate(where)
    )
    trio.run(_store, settings, live)


async def _store(settings: Settings, live: Mapping[str, float | str]) -> None:
    async with open_configuration(settings) as configuration:
        for key, value in live.items():
            await configuration.set(key, json.dumps(value))
