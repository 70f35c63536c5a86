"""The result of a run, as text or JSON."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rookery.load.measure import Latencies
from rookery.load.run import Result


def show(result: Result, *, as_json: bool) -> str:
    """Format the result as text, or as JSON with null for NaN, without the users' password."""
    if not as_json:
        return "\n".join(_lines(result))
    values = asdict(result)
    del values["plan"]["password"]
    return json.dumps(_plain(values), indent=2)


def _plain(value: Any) -> Any:
    match value:
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item) for item in value]
        case float() if not math.isfinite(value):
            return None
        case None | bool() | int() | float() | str():
            return value
        case _:
            return str(value)


def _lines(result: Result) -> Iterator[str]:
    plan, report = result.plan, result.report
    pace = f"{plan.rate:g} a second" if plan.rate else f"saturation, {plan.in_flight} in flight each"
    users = f"a group of {plan.group}, {plan.users} online" if plan.group else f"{plan.users} users in pairs"
    if plan.is_channel:
        users = f"a channel of {plan.group:,}, {plan.users:,} online, {plan.senders:,} of them with it open"
    unit = "delivery" if plan.group else "message"
    yield f"{users} over {plan.transport}, {plan.size} bytes, {pace}, {plan.seconds:g} s"
    if result.creation_seconds is not None:
        yield f"created        in {result.creation_seconds:.2f} s, with all members"
    yield f"delivered      {report.delivered_per_second:,.0f} a second, {report.delivered_in_window:,} in all"
    yield f"end to end     {_latencies(report.delivered)}"
    if report.last is not None:
        yield f"to the last    {_latencies(report.last)}, of {report.last.count:,} messages"
    yield f"accepted       {_latencies(report.accepted)}"
    yield f"sent late      {_latencies(report.generator_late)} (by the generator itself)"
    yield f"lost           {report.lost}, unanswered {report.unanswered}, duplicates {report.duplicates}"
    if plan.is_channel:
        yield f"heads          {report.heads:,} at {plan.users - plan.senders:,} sessions"
    if (counted := result.counted) is not None and counted.accepted:
        records, writes = counted.records / counted.accepted, counted.writes / counted.accepted
        yield f"per message    {records:.1f} log records, {writes:.1f} writes of the chat store"
        yield f"rosters        {counted.roster_bytes / 2**20:,.2f} MiB"
    yield f"refused        {_counts(report.refused)}; errors {_counts(report.errors)}"
    if result.server_cpu_us_per_message is not None and result.server_cpu_share is not None:
        share = f"{result.server_cpu_share:.0%} of a core"
        yield f"server CPU     {result.server_cpu_us_per_message:,.0f} µs a {unit}, {share}"
    if result.server_resident_bytes is not None:
        yield f"server memory  {result.server_resident_bytes / 2**20:,.0f} MiB"
    if result.bytes_per_idle_session is not None:
        yield f"idle session   {result.bytes_per_idle_session / 1024:,.1f} KiB each, {plan.idle} opened"
    if result.engine_cpu_us_per_message is not None:
        yield f"engines' CPU   {result.engine_cpu_us_per_message:,.0f} µs a {unit}"
    if (files := result.files) is not None:
        up, down = files.uploaded_per_second / 1e6, files.downloaded_per_second / 1e6
        yield f"files          {up:,.0f} MB/s up, {down:,.0f} MB/s down by {plan.files} users"
        yield f"files failed   {_counts(files.failures)}"
        if files.server_memory_bytes is not None:
            yield f"file memory    {files.server_memory_bytes / 1e6:,.0f} MB at most beside the base"
    yield f"generator CPU  {result.generator_cpu_us_per_message:,.0f} µs a {unit}"


def _latencies(latencies: Latencies) -> str:
    return f"p50 {latencies.p50:.1f} ms, p99 {latencies.p99:.1f} ms, max {latencies.max:.1f} ms"


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items())) or "0"
