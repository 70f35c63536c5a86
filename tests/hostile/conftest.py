"""The platform that the attacks are against, and a pair of users who chat through them."""

from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import trio
from prometheus_client.parser import text_string_to_metric_families

from tests.system.undisturbed import chatting_pair
from tools.launch.people import PATIENCE
from tools.launch.process import Rookery, running, wait_until

TOKEN = "a-token-for-tests-only"
"""That of the archive."""

COUNTED = (
    "rookery_sessions",
    "rookery_websocket_handshakes",
    "rookery_http_connections",
    "rookery_rpc_server_connections",
    "rookery_rpc_server_calls_under_way",
    "rookery_tasks",
)
"""Gauges of taken slots, and of tasks."""

GROWTH_BYTES = 32 * 1024 * 1024
"""By which an attack may leave the process larger: Python keeps some memory that is free again. What an attack holds,
or unpacks, is several times as much."""

PAUSE = 0.5
"""Seconds between two exchanges of the pair: few, since their messages stay in memory, which is measured."""


@pytest.fixture(scope="package")
def rookery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rookery]:
    data = tmp_path_factory.mktemp("rookery") / "data"
    with running(Rookery(data, settings={"ROOKERY_ARCHIVE_TOKEN": TOKEN})) as ready:
        yield ready


@pytest.fixture
async def chatting(rookery: Rookery) -> AsyncIterator[None]:
    """A pair chats during the test. Afterwards, the process has no more files, slots, tasks and memory than before."""
    async with chatting_pair(rookery, pause=PAUSE):
        before = counts(rookery)
        yield
        assert await trio.to_thread.run_sync(wait_until, lambda: counts_at_most(rookery, before)), (
            before,
            counts(rookery),
        )


def counts(rookery: Rookery) -> dict[str, float]:
    """Open files, taken slots, tasks and bytes of memory of the process, by name."""
    text = httpx.get(f"{rookery.url}/metrics", timeout=PATIENCE).raise_for_status().text
    gauges = {each.name: sum(sample.value for sample in each.samples) for each in text_string_to_metric_families(text)}
    return {"files": rookery.open_files, "bytes": rookery.resident_bytes} | {name: gauges[name] for name in COUNTED}


def counts_at_most(rookery: Rookery, before: dict[str, float]) -> bool:
    allowed = before | {"bytes": before["bytes"] + GROWTH_BYTES}
    return all(value <= allowed[name] for name, value in counts(rookery).items())
