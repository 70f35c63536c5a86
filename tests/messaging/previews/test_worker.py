"""A worker has few privileges, and answers each page whatever happens to another one."""

import subprocess
import sys

import msgspec
import pytest
import trio
from trio.testing import memory_stream_pair

from messaging.previews import worker
from messaging.previews.fetching import Page
from messaging.previews.metadata import Metadata
from messaging.previews.protocol import PageRequest, PageResponse, Setup

ATTEMPTS = {
    "tempfile.TemporaryFile()": "No usable temporary directory",
    "[open('/dev/null') for _ in range(200)]": "Too many open files",
    "bytearray(2 << 30)": "MemoryError",
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_worker_writes_nothing_and_has_limits(attempt: str) -> None:
    program = f"import tempfile\nfrom messaging.previews import worker\nworker.drop_privileges()\nkept = {attempt}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env={})
    assert ATTEMPTS[attempt] in done.stderr.splitlines()[-1]


async def test_a_page_on_which_the_worker_fails_has_no_preview_and_others_have(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fetch(url: str, _: object) -> Page:
        if url == "bad":
            raise RuntimeError("a fault")
        return Page(Metadata("Title"))

    monkeypatch.setattr(worker, "fetch", fetch)
    ours, theirs = memory_stream_pair()
    nursery.start_soon(worker.serve, theirs, theirs)
    for line in (Setup(), PageRequest(1, "bad"), PageRequest(2, "good")):
        await ours.send_all(msgspec.json.encode(line) + b"\n")
    received = b""
    while received.count(b"\n") < 2:
        received += await ours.receive_some()
    found = [msgspec.json.decode(line, type=PageResponse) for line in received.splitlines()]
    assert sorted((each.number, each.title) for each in found) == [(1, ""), (2, "Title")]
    await ours.aclose()
