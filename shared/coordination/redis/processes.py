"""The registry of processes in Redis: a hash with the newest report of each role, which expires without reports."""

from collections.abc import Sequence

import msgspec
import structlog
from msgspec.structs import replace

from shared.coordination.processes import EXPIRY_SECONDS, ProcessReport, sorted_reports
from shared.drivers.redis import RedisClient

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

_PUT = f"""
{_NOW}
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f ', now) .. ARGV[2])
redis.call('PEXPIRE', KEYS[1], {int(EXPIRY_SECONDS * 1000)})
"""
"""Stores a report behind the time of its arrival, by the clock of Redis."""

_ALL = f"""
{_NOW}
local found = {{}}
local stored = redis.call('HGETALL', KEYS[1])
for i = 1, #stored, 2 do
  local seen = tonumber(string.match(stored[i + 1], '^(%d+) '))
  if seen and seen > now - {int(EXPIRY_SECONDS * 1000)} then
    table.insert(found, stored[i + 1])
  else
    redis.call('HDEL', KEYS[1], stored[i])
  end
end
return found
"""

_log = structlog.get_logger(__name__)


class RedisProcessRegistry:
    """A `ProcessRegistry` under the prefix, which must be that of the client's settings."""

    def __init__(self, client: RedisClient, prefix: str) -> None:
        self._client = client
        self._key = f"{prefix}processes"

    async def put(self, report: ProcessReport) -> None:
        await self._client.evaluate(_PUT, [self._key], report.key, msgspec.json.encode(report))

    async def remove(self, report: ProcessReport) -> None:
        await self._client.call("HDEL", self._key, report.key)

    async def all(self) -> Sequence[ProcessReport]:
        texts = await self._client.evaluate(_ALL, [self._key])
        return sorted_reports([report for text in texts if (report := _decode(text))])


def _decode(text: str) -> ProcessReport | None:
    """Return the report; None if a release with other fields wrote it."""
    seen_at_ms, _, encoded = text.partition(" ")
    try:
        report = msgspec.json.decode(encoded, type=ProcessReport)
    except msgspec.MsgspecError as error:
        _log.debug("process_report_not_read", error=str(error))
        return None
    return replace(report, seen_at_ms=int(seen_at_ms))
