"""The board of processes in Redis: a hash with the newest report of each, which goes by itself when nobody reports."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import structlog

from shared.coordination.processes import SEEN_SECONDS, ProcessReport, in_order
from shared.drivers.redis import RedisClient

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_PUT = f"""
{_NOW}
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now) .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], {int(SEEN_SECONDS * 1000)})
"""
"""A report stands behind the time at which it came, by the clock of Redis."""

_ALL = f"""
{_NOW}
local found = {{}}
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local seen = tonumber(string.match(stored[i + 1], '^(%d+) '))
  if seen and seen > now - {int(SEEN_SECONDS * 1000)} then
    table.insert(found, stored[i + 1])
  else
    redis.call('HDEL', KEYS[1], stored[i])
  end
end
return found
"""

_log = structlog.get_logger(__name__)


class RedisBoard:
    """A `ProcessBoard` under the prefix, which is that of the client's settings."""

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._key = f"{prefix}processes"

    async def put(self, report: ProcessReport) -> None:
        await self._client.evaluate(_PUT, [self._key], report.key, msgspec.json.encode(report))

    async def remove(self, report: ProcessReport) -> None:
        await self._client.call("HDEL", self._key, report.key)

    async def all(self) -> Sequence[ProcessReport]:
        return in_order([report for text in await self._client.evaluate(_ALL, [self._key]) if (report := _read(text))])


def _read(text: str) -> ProcessReport | None:
    """None for one of a release that says something else."""
    seen_at_ms, _, report = text.partition(" ")
    try:
        fields = msgspec.json.decode(report, type=ProcessReport)
    except msgspec.MsgspecError as error:
        _log.debug("process_report_not_read", error=str(error))
        return None
    return replace(fields, seen_at_ms=int(seen_at_ms))
