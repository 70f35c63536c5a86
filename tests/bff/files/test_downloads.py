"""Links and downloads of files: who receives them, when that ends, conditions, slow clients, and lost bytes."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
import trio
from quart import Response as HttpResponse
from trio.testing import MockClock, wait_all_tasks_blocked

from bff.app import ignore_disconnects, make_app
from bff.files import downloads
from bff.http.endpoints import REQUEST_DEADLINE
from bff.http.server import Server
from rookery.v1.archive_pb2 import (
    FILE_CLASS_LINKS,
    FILE_CLASS_MEDIA,
    FILE_STATE_BLOCKED,
    FILE_STATE_COMPLETE,
    FILE_STATE_UPLOADING,
    GetFilesRequest,
    GetFilesResponse,
    ListChatFilesRequest,
    StoredFile,
)
from rookery.v1.files_pb2 import FileInfo, FileRef
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import first_id_at
from shared.files.keys import file_key
from shared.files.protocol import FileStore, Opened
from tests.bff.conftest import Api, Reply
from tests.bff.http.connections import MEGABYTE, NEVER, Client, connected, serving
from tests.shared.files.content import content_of, store

FILE = 2**62 + 1
CONTENT = content_of(100_000)
THUMBNAIL = b"RIFF of 320"


@dataclass
class Shared:
    """A picture in a message of `chat`, and alice, who reads it there."""

    api: Api
    token: str
    message_id: int = 0

    async def links(self, *wanted: dict[str, Any]) -> Reply:
        place = {"chat_id": "g-7", "message_id": str(self.message_id)}
        files = [{"file_id": str(FILE), **place, **each} for each in wanted]
        return await self.api.call("POST", "/v1/files/links", {"files": files}, token=self.token)

    async def url(self, **wanted: Any) -> str:
        reply = await self.links(wanted)
        return str(reply.body["links"][0]["url"])

    async def get(self, url: str, method: str = "GET", **headers: str) -> Reply:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.api.call(method, url, headers=sent)


@pytest.fixture
async def shared(api: Api, token: str) -> Shared:
    info = FileInfo(
        file_id=FILE, name="Möwe.png", media_type="image/png", size=len(CONTENT), width=9, height=9, thumbnails=[320]
    )
    api.archive.files[FILE] = StoredFile(file=info, state=FILE_STATE_COMPLETE, rendition="picture")
    await store(api.services.files, file_key(FILE, "picture"), [CONTENT])
    await api.services.files.put(file_key(FILE, "320"), THUMBNAIL)
    return Shared(api, token, first_id_at(api.clock() - 60_000))


async def test_a_link_delivers_the_file_without_an_account(shared: Shared) -> None:
    reply = await shared.get(await shared.url())
    assert (reply.status, reply.text) == (200, CONTENT)
    headers = dict(reply.headers)
    max_age = int(headers.pop("cache-control").removeprefix("private, max-age="))
    assert 300 <= max_age < 600
    assert headers == {
        "accept-ranges": "bytes",
        "content-disposition": "inline; filename=\"M_we.png\"; filename*=UTF-8''M%C3%B6we.png",
        "Content-Length": "100000",
        "content-security-policy": "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; "
        "style-src 'unsafe-inline'; frame-ancestors 'none'",
        "content-type": "image/png",
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-resource-policy": "same-origin",
        "etag": f'"{FILE}"',
        "referrer-policy": "no-referrer",
        "x-content-type-options": "nosniff",
    }
    thumbnail = await shared.get(await shared.url(rendition="320", download=True))
    assert (thumbnail.text, thumbnail.headers["Content-Type"]) == (THUMBNAIL, "image/webp")
    assert thumbnail.headers["Content-Disposition"].startswith("attachment; ")


async def test_conditions_and_ranges(shared: Shared) -> None:
    url = await shared.url()
    for headers, status, text, content_range in (
        ({"Range": "bytes=10-19"}, 206, CONTENT[10:20], "bytes 10-19/100000"),
        ({"Range": "bytes=-5"}, 206, CONTENT[-5:], "bytes 99995-99999/100000"),
        ({"Range": "bytes=100000-"}, 416, b"", "bytes */100000"),
        ({"If_None_Match": f'"{FILE}"'}, 304, b"", None),
        ({"If_Match": '"other"'}, 412, b"", None),
    ):
        reply = await shared.get(url, **headers)
        assert (reply.status, reply.text, reply.headers.get("Content-Range")) == (status, text, content_range)
        assert reply.headers["Cache-Control"].startswith("no-store" if status >= 400 else "private, max-age=")
    async with serving(shared.api.app) as server, connected(server) as client:
        for _ in range(2):  # the first response has no body
            await client.send(f"HEAD {url} HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1\r\n\r\n")
            head = await client.until(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert b"content-length: 100000\r\n" in head.lower()


async def test_each_file_has_its_link_or_null(shared: Shared) -> None:
    reply = await shared.links(
        {}, {"file_id": "4"}, {"rendition": "320"}, {"rendition": "800"}, {"rendition": "picture"}
    )
    found = [link and (link["file_id"], link["rendition"]) for link in reply.body["links"]]
    assert found == [(str(FILE), ""), None, (str(FILE), "320"), None, None]
    request = shared.api.archive.requests[0]
    assert isinstance(request, GetFilesRequest)
    assert request.files[0] == FileRef(file_id=FILE, chat_id="g-7", message_id=shared.message_id)
    shared.api.clock.now_ms = int(reply.body["links"][0]["expires_at_ms"]) - 300_000  # the end of this user's window
    again = await shared.links({})
    shared.api.clock.now_ms += 300_000
    later = await shared.links({})
    assert reply.body["links"][0] == again.body["links"][0] != later.body["links"][0]
    for state in (FILE_STATE_UPLOADING, FILE_STATE_BLOCKED):
        shared.api.archive.files[FILE].state = state
        assert (await shared.links({})).body == {"links": [None], "not_recorded": []}


async def test_a_file_that_is_readable_in_one_of_its_messages_has_a_link_for_that_one_only(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    get_files = shared.api.archive.get_files

    async def get_those_of_g_7(request: GetFilesRequest) -> GetFilesResponse | Refusal:
        refs = [ref for ref in request.files if ref.chat_id == "g-7"]
        return await get_files(GetFilesRequest(user_id=request.user_id, files=refs))

    monkeypatch.setattr(shared.api.archive, "get_files", get_those_of_g_7)
    for wanted in ([{}, {"chat_id": "g-8"}, {"rendition": "320"}], [{"chat_id": "g-8"}, {}, {}]):
        reply = await shared.links(*wanted)
        assert [bool(link) for link in reply.body["links"]] == ["chat_id" not in each for each in wanted]
    assert len(shared.api.archive.requests) == 4


@pytest.mark.parametrize(
    ("wanted", "code", "field"),
    [
        ([], "invalid", "files"),
        ([{}] * 101, "invalid", "files"),
        ([{}, {"message_id": "0"}], "invalid", "files[1].message_id"),
        ([{"chat_id": ""}], "invalid", "files[0].chat_id"),
        ([{"file_id": "0"}], "invalid", "files[0].file_id"),
        ([{"message_id": str(each)} for each in range(1, 12)], "invalid", "files[10].file_id"),
        ([{"download": "yes"}], "malformed", "files[0].download"),
        ([{"rendition": "x" * 17}], "invalid", "files[0].rendition"),
        ([{"url": ""}], "malformed", "files[0].url"),
    ],
)
async def test_bad_requests_for_links_name_the_field(
    shared: Shared, wanted: list[dict[str, Any]], code: str, field: str
) -> None:
    reply = await shared.links(*wanted)
    assert (reply.body["code"], reply.body["field"]) == (code, field)
    details = {"files[0].file_id": "The file id must be at least 1."}
    details["files[10].file_id"] = "At most 10 messages of one file in a request."
    assert reply.body["detail"] == details.get(field, reply.body["detail"])


async def test_all_renditions_of_a_file_in_ten_messages_are_requested_at_once(shared: Shared) -> None:
    places = [{"message_id": str(each)} for each in range(1, 11)]
    reply = await shared.links(*(place | {"rendition": each} for place in places for each in ("", "320")))
    assert all(reply.body["links"])
    assert len(shared.api.archive.requests) == 10


async def test_links_in_chats_of_others_count_as_requests_for_unknown_chats(
    shared: Shared, mock_clock: MockClock
) -> None:
    unknown = [f"g-{each}" for each in range(1, 31)]
    shared.api.archive.response = GetFilesResponse(unknown_chat_ids=unknown)
    for _ in range(2):
        assert (await shared.links({"message_id": "1"}, {"message_id": "2"})).body["links"] == [None, None]
    assert (await shared.links({})).refusal == (429, "rate_limited", "")
    shared.api.archive.response = None
    mock_clock.jump(60)
    assert (await shared.links({})).status == 200


async def test_a_link_ends_with_the_access_the_sign_in_and_its_time(shared: Shared) -> None:
    url, archive = await shared.url(), shared.api.archive

    async def assert_ended() -> None:
        for method in ("GET", "HEAD"):
            assert (await shared.get(url, method)).status == 404
        assert (await shared.get(url)).body["detail"] == "This link has expired, or the file is gone."

    url = url.replace("expires=", "expires=1")
    await assert_ended()
    url = await shared.url()
    stored = archive.files.pop(FILE)
    await assert_ended()
    archive.files[FILE] = stored
    archive.response = Refusal(Code.UNAVAILABLE, "away")
    assert (await shared.get(url)).refusal == (503, "unavailable", "")
    archive.response = None
    assert (await shared.get(url)).status == 200
    await shared.api.services.files.delete([file_key(FILE, "picture")])
    await assert_ended()
    await shared.api.services.files.put(file_key(FILE, "picture"), CONTENT)
    await shared.api.call("DELETE", "/v1/tokens/current", token=shared.token)
    await assert_ended()
    await shared.api.sign_in()
    shared.api.clock.now_ms += 600_000
    await assert_ended()


async def test_files_of_a_message_that_is_not_recorded_yet_are_looked_up_again(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sum(downloads.PAUSES) == pytest.approx(3)
    monkeypatch.setattr(downloads, "PAUSES", (0.001, 0.001))
    archive = shared.api.archive
    stored = archive.files.pop(FILE)
    archive.complete_up_to = first_id_at(shared.api.clock() - 40_000)
    for age_ms, look_ups in ((-61_000, 1), (-59_000, 3), (29_000, 3), (31_000, 1), (41_000, 1)):
        not_recorded = [0] if age_ms < 40_000 else []
        shared.message_id = first_id_at(shared.api.clock() - age_ms)
        archive.requests.clear()
        assert (await shared.links({})).body == {"links": [None], "not_recorded": not_recorded}
        assert len(archive.requests) == look_ups

    get_files = archive.get_files

    async def get_and_record(request: GetFilesRequest) -> GetFilesResponse | Refusal:
        answer = await get_files(request)
        if len(archive.requests) == 2:
            archive.files[FILE] = stored
        return answer

    shared.message_id = first_id_at(shared.api.clock())
    archive.requests.clear()
    monkeypatch.setattr(archive, "get_files", get_and_record)
    assert (await shared.get(await shared.url())).text == CONTENT


async def test_a_message_that_is_not_recorded_yet_keeps_no_other_file_from_its_link(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "PAUSES", ())
    shared.api.archive.complete_up_to = shared.message_id
    new = {"message_id": str(shared.message_id + 1)}
    reply = await shared.links({"file_id": "4"}, {"file_id": "5", **new}, {}, {"rendition": "9"}, new)
    assert [bool(link) for link in reply.body["links"]] == [False, False, True, False, True]
    assert reply.body["not_recorded"] == [1]


async def test_an_object_store_may_send_the_file_itself(shared: Shared, monkeypatch: pytest.MonkeyPatch) -> None:
    urls: list[tuple[str, int, str, str]] = []

    def signed_url(key: str, seconds: int, *, disposition: str, media_type: str) -> str:
        urls.append((key, seconds, disposition, media_type))
        return "https://store.example/it"

    monkeypatch.setattr(type(shared.api.services.files), "signed_url", staticmethod(signed_url))
    url, thumbnail = await shared.url(download=True), await shared.url(rendition="320")
    reply = await shared.get(url)
    assert (reply.status, reply.headers["Location"]) == (307, "https://store.example/it")
    disposition = "attachment; filename=\"M_we.png\"; filename*=UTF-8''M%C3%B6we.png"
    assert urls == [(file_key(FILE, "picture"), 60, disposition, "image/png")]
    assert (await shared.get(url, "HEAD")).status == 200
    assert (await shared.get(thumbnail)).text == THUMBNAIL


async def test_the_files_of_a_chat_are_listed_by_class(api: Api, token: str) -> None:
    user_id = int((await api.call("GET", "/v1/me", token=token)).body["user_id"])
    reply = await api.call("GET", "/v1/chats/g-7/files?class=media&before=9&limit=5", token=token)
    assert reply.body == {"messages": [], "has_older": False}
    assert api.archive.requests[-1] == ListChatFilesRequest(
        user_id=user_id, chat_id="g-7", before_id=9, limit=5, file_class=FILE_CLASS_MEDIA
    )
    await api.call("GET", "/v1/chats/g-7/files?class=links", token=token)
    assert api.archive.requests[-1].file_class == FILE_CLASS_LINKS
    for query, code, field in (
        ("", "malformed", "class"),
        ("class=all", "invalid", "class"),
        ("class=other&limit=0", "invalid", "limit"),
    ):
        reply = await api.call("GET", f"/v1/chats/g-7/files?{query}", token=token)
        assert (reply.body["code"], reply.body["field"]) == (code, field)


# ---- over connections


class Endless:
    """A file store in which every file has 5 GB. `read_bytes` counts what was read; `fails_at` is where it fails."""

    def __init__(
        self, fails_at: int = 5_000 * MEGABYTE, size_bytes: int = 5_000 * MEGABYTE, chunk_bytes: int = MEGABYTE
    ) -> None:
        self._chunk_bytes = chunk_bytes
        self.size_bytes = size_bytes
        self.calls: list[str] = []
        self.read_bytes = 0
        self.open = 0
        self._fails_at = fails_at

    async def size(self, key: str) -> int:
        self.calls.append("size")
        return self.size_bytes

    def signed_url(self, key: str, seconds: int, *, disposition: str, media_type: str) -> None: ...

    @asynccontextmanager
    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[Opened]:
        self.calls.append("read")
        end = end or self.size_bytes
        if not self._fails_at:
            raise Unavailable("away")
        self.open += 1
        try:
            async with aclosing(self._chunks(end - start)) as chunks:
                yield Opened(end - start, chunks)
        finally:
            self.open -= 1

    async def _chunks(self, size: int) -> AsyncGenerator[bytes, None]:
        while self.read_bytes < size:
            await trio.lowlevel.checkpoint()
            if self.read_bytes >= self._fails_at:
                raise Unavailable("away")
            self.read_bytes += self._chunk_bytes
            yield bytes(self._chunk_bytes)


def serving_from(shared: Shared, endless: Endless, **limits: Any) -> AbstractAsyncContextManager[Server]:
    """A server of the application, with this file store."""
    services = replace(shared.api.services, files=cast(FileStore, endless))
    return serving(ignore_disconnects(make_app(services, shared.api.web_root)), **limits)


async def test_a_slow_reader_costs_little_memory_and_ends_when_it_stops_reading(
    shared: Shared, mock_clock: MockClock
) -> None:
    endless = Endless(chunk_bytes=8 * MEGABYTE)
    async with (
        serving_from(shared, endless, send_seconds=3.0) as server,
        connected(server, receive_buffer=65_536) as client,
    ):
        await client.get(await shared.url())
        received = 0
        for _ in range(80):  # slower than one chunk in `send_seconds`, by the server's clock
            mock_clock.jump(0.05)
            received += len(await client.stream.receive_some(65_536))
        assert endless.open == 1
        assert endless.read_bytes - received < 16 * MEGABYTE  # most of it in the buffers of the sockets
        while server.connections:
            mock_clock.jump(3.0)
            await wait_all_tasks_blocked(0.01)
        assert endless.open == 0


async def test_bytes_that_end_early_end_the_connection(shared: Shared, caplog: pytest.LogCaptureFixture) -> None:
    endless = Endless(fails_at=2 * MEGABYTE)
    async with serving_from(shared, endless) as server, connected(server) as client:
        await client.get(await shared.url())
        head, _, body = (await client.rest()).partition(b"\r\n\r\n")
        assert b"content-length: 5242880000" in head.lower()
        assert len(body) == 2 * MEGABYTE
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("ended", ["deleted", "signed out"])
async def test_a_download_ends_within_a_minute_of_the_access(shared: Shared, mock_clock: MockClock, ended: str) -> None:
    endless, url, archive = Endless(), await shared.url(), shared.api.archive
    async with serving_from(shared, endless, send_seconds=NEVER) as server, connected(server) as client:
        await client.get(url)
        await client.until(b"\r\n\r\n")
        archive.response = Refusal(Code.UNAVAILABLE, "away")
        mock_clock.jump(downloads.CHECK_SECONDS)
        for _ in range(100):
            assert await client.stream.receive_some(MEGABYTE)
        archive.response = None
        if ended == "deleted":
            archive.files.pop(FILE)
        else:
            await shared.api.call("DELETE", "/v1/tokens/current", token=shared.token)
        mock_clock.jump(downloads.CHECK_SECONDS)
        most = endless.read_bytes + 100 * MEGABYTE
        with suppress(trio.BrokenResourceError):
            while endless.open and endless.read_bytes < most:
                await client.stream.receive_some(MEGABYTE)
        assert endless.open == 0


async def test_an_object_store_that_is_away_is_an_answer_and_no_lost_connection(shared: Shared) -> None:
    async with serving_from(shared, Endless(fails_at=0)) as server, connected(server) as client:
        for headers in ("", "Range: bytes=0-9\r\n"):
            await client.get(await shared.url(), headers)
            assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 503")
            await client.until(b"}")


@pytest.mark.parametrize(
    ("method", "headers", "calls"),
    [
        ("GET", "", ["read"]),
        ("GET", "Range: bytes=0-9\r\n", ["size", "read"]),
        ("GET", f'If-None-Match: "{FILE}"\r\n', ["size"]),
        ("HEAD", "", ["size"]),
    ],
)
async def test_the_usual_request_is_one_to_the_file_store(
    shared: Shared, method: str, headers: str, calls: Sequence[str]
) -> None:
    endless, url = Endless(), await shared.url()
    async with serving_from(shared, endless) as server, connected(server) as client:
        await client.send(f"{method} {url} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
        await client.until(b"\r\n\r\n")
        assert endless.calls == calls


async def test_forty_thumbnails_at_once_are_all_sent(shared: Shared) -> None:
    url, sent = await shared.url(rendition="320"), list[tuple[int, Any]]()

    async def get() -> None:
        reply = await shared.get(url)
        sent.append((reply.status, reply.text))

    async with trio.open_nursery() as nursery:
        for _ in range(40):
            nursery.start_soon(get)
    assert sent == [(200, THUMBNAIL)] * 40


async def begin(client: Client, shared: Shared, url: str) -> None:
    """Begin a download, which waits or is under way then."""
    before = len(shared.api.archive.requests)
    await client.get(url)
    while len(shared.api.archive.requests) == before:
        await wait_all_tasks_blocked(0.01)
    await wait_all_tasks_blocked(0.01)


async def test_a_user_has_few_downloads_at_once_few_that_wait_and_no_others(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    monkeypatch.setattr(downloads, "MAX_DOWNLOADS", 2)
    monkeypatch.setattr(downloads, "MAX_WAITING", 1)
    url, endless = await shared.url(), Endless()
    async with (
        serving_from(shared, endless, send_seconds=NEVER) as server,
        connected(server) as waiting,
        connected(server) as refused,
    ):
        async with connected(server) as one, connected(server) as other:
            for each in (one, other, waiting):
                await begin(each, shared, url)
            assert (await refused.last_get(url)).startswith(b"HTTP/1.1 429")
            assert (await shared.get(url, "HEAD")).status == 200
            assert endless.open == 2
        assert (await waiting.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_a_download_that_waits_for_too_long_or_is_given_up_takes_no_place(
    shared: Shared, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    monkeypatch.setattr(downloads, "MAX_DOWNLOADS", 1)
    monkeypatch.setattr(downloads, "MAX_WAITING", 1)
    url, endless = await shared.url(), Endless()
    async with serving_from(shared, endless, send_seconds=NEVER) as server, connected(server) as last:
        async with connected(server) as one:
            await begin(one, shared, url)
            async with connected(server) as late:
                await begin(late, shared, url)
                mock_clock.jump(REQUEST_DEADLINE)
                assert (await late.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 504")
            async with connected(server) as given_up:
                await begin(given_up, shared, url)
            while server.connections > 2:
                await wait_all_tasks_blocked(0.01)
            await begin(last, shared, url)
            assert endless.open == 1
        assert (await last.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_downloads_that_begin_at_once_are_counted_until_they_end_also_without_a_body(
    shared: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(downloads, "MAX_DOWNLOADS", 2)
    monkeypatch.setattr(downloads, "MAX_WAITING", 0)
    url, waiting, statuses = await shared.url(), [trio.Event() for _ in range(3)], list[int]()
    endless = Endless(size_bytes=MEGABYTE)
    services = replace(shared.api.services, files=cast(FileStore, endless))
    app = shared.api.app = make_app(services, shared.api.web_root)

    async def wait_for_the_others(response: HttpResponse) -> HttpResponse:
        """Before the body is sent."""
        next(event for event in waiting if not event.is_set()).set()
        await waiting[-1].wait()
        return response

    async def get() -> None:
        statuses.append((await shared.get(url)).status)

    app.after_request(wait_for_the_others)
    async with trio.open_nursery() as nursery:  # clients that disconnect
        for _ in range(2):
            nursery.start_soon(get)
        await waiting[1].wait()
        assert endless.open == 2
        nursery.cancel_scope.cancel()
    assert endless.open == 0
    waiting[:] = [trio.Event() for _ in range(3)]
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(get)
    assert sorted(statuses) == [200, 200, 429]
    assert endless.open == 0
