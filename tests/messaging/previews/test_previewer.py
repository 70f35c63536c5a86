"""The previewer with its worker, which fetches from the test's server as its proxy."""

import signal
import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from pydantic import SecretStr

from messaging.previews import previewer as module
from messaging.previews.hosts import HOST_PAGES
from messaging.previews.previewer import FAILURE_SECONDS, MAX_CACHED, Previewer, open_previewer
from messaging.previews.protocol import MAX_LINE_BYTES, Lines
from rookery.v1.session_pb2 import LinkPreview
from shared.settings import PreviewsSettings
from tests.messaging.previews.conftest import PAGE, Server, response
from tests.waiting import PATIENCE

URL = "http://example.com/"


def png(width: int, height: int) -> bytes:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress((b"\0" + b"\x20\x80\xf0" * width) * height)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.fixture
async def previewer(server: Server, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Previewer]:
    monkeypatch.setattr(module, "WAIT_SECONDS", PATIENCE)  # which includes the start of the worker
    settings = PreviewsSettings(proxy=SecretStr(f"http://127.0.0.1:{server.port}"))
    async with open_previewer(settings) as previewer:
        yield previewer


def process_of(previewer: Previewer) -> trio.Process:
    assert previewer._worker is not None
    return previewer._worker.process


async def test_a_preview_has_a_small_picture_and_is_kept(previewer: Previewer, server: Server) -> None:
    server.answers = {URL: response(PAGE), f"{URL}picture.png": response(png(480, 240), "image/png")}
    preview = await previewer.fetch(URL)
    assert preview is not None
    assert (preview.url, preview.title, preview.picture[8:12]) == (URL, "Title", b"WEBP")
    assert (preview.picture_width, preview.picture_height) == (240, 120)
    assert await previewer.fetch(URL) is preview
    assert server.requests == [URL, f"{URL}picture.png"]


async def test_one_page_is_fetched_once_at_a_time(previewer: Previewer, server: Server) -> None:
    server.answers = {URL: response(b"<title>T</title>")}
    found: list[LinkPreview | None] = []

    async def fetch() -> None:
        found.append(await previewer.fetch(URL))

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(fetch)
    assert found == [LinkPreview(url=URL, title="T")] * 5
    assert server.requests == [URL]


async def test_a_page_without_a_preview_is_asked_for_again_after_minutes(
    previewer: Previewer, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await previewer.fetch(URL) is None
    server.answers = {URL: response(b"<title>T</title>")}
    assert await previewer.fetch(URL) is None
    now = trio.current_time()
    monkeypatch.setattr(trio, "current_time", lambda: now + FAILURE_SECONDS + 1)
    assert await previewer.fetch(URL) == LinkPreview(url=URL, title="T")


async def test_a_host_is_asked_for_few_pages_in_a_minute(previewer: Previewer, server: Server) -> None:
    server.answers = {f"{URL}{n}": response(b"<title>T</title>") for n in range(20)}
    found = [await previewer.fetch(f"{URL}{n}") for n in range(HOST_PAGES + 2)]
    assert [preview is not None for preview in found] == [True] * HOST_PAGES + [False] * 2
    server.answers["http://other.example/"] = response(b"<title>T</title>")
    assert await previewer.fetch("http://other.example/")


async def test_a_worker_that_was_killed_or_hangs_is_replaced(
    previewer: Previewer, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = {f"{URL}{n}": response(b"<title>T</title>") for n in range(4)}
    assert await previewer.fetch(f"{URL}0")
    process_of(previewer).kill()
    await process_of(previewer).wait()
    while not previewer._worker or not previewer._worker.is_dead:
        await trio.sleep(0.001)
    assert await previewer.fetch(f"{URL}1")
    hanging = process_of(previewer)
    hanging.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.2)
    assert await previewer.fetch(f"{URL}2") is None
    await hanging.wait()
    monkeypatch.setattr(module, "WAIT_SECONDS", PATIENCE)
    assert await previewer.fetch(f"{URL}3")


async def test_a_worker_that_ends_at_its_start_is_a_page_without_a_preview(
    previewer: Previewer, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_process = trio.lowlevel.open_process

    async def open_dead(*arguments: Any, **options: Any) -> trio.Process:
        process = await open_process(*arguments, **options)
        process.kill()
        await process.wait()
        return process

    with monkeypatch.context() as patch:
        patch.setattr(trio.lowlevel, "open_process", open_dead)
        assert await previewer.fetch(URL) is None
    server.answers = {f"{URL}1": response(b"<title>T</title>")}
    while not previewer._worker or not previewer._worker.is_dead:
        await trio.sleep(0.001)
    assert await previewer.fetch(f"{URL}1")


async def test_results_are_bounded(previewer: Previewer) -> None:
    for n in range(MAX_CACHED + 5):
        previewer._keep(str(n), None)
    assert [*previewer._cache] == [str(n) for n in range(5, MAX_CACHED + 5)]


def test_lines_are_joined_and_bounded() -> None:
    lines = Lines()
    assert [lines.receive(part) for part in (b"a\nb", b"c", b"\n\nd")] == [[b"a"], [], [b"bc", b""]]
    with pytest.raises(ValueError, match="more than"):
        lines.receive(b"x" * MAX_LINE_BYTES)


@pytest.mark.parametrize("proxy", ["https://a:1", "http://a", "http://a:1/x", "socks5://a:1", "http://a b:1"])
def test_settings_name_a_proxy_of_http(proxy: str) -> None:
    with pytest.raises(ValueError, match="proxy"):
        PreviewsSettings.model_validate({"proxy": proxy})
