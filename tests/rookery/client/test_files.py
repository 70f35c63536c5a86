"""Files are uploaded in parts and downloaded, and both go on where they stopped."""

import hashlib
import json
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from trio.testing import MockClock

from rookery.client import FileInfo, FileRef, Files, Message, Refused, Unreachable, Voice, open_api, refs_in
from rookery.client.files import COMPLETE_SECONDS, PARTS_AT_ONCE, Link
from shared.net.listening import listen, port_of

PART_BYTES = 100_000

CONTENT = bytes(range(251)) * 1_400
"""Four parts, of which the last is shorter."""

MINE = FileRef(file_id=5)

SEEN = FileRef(file_id=5, chat_id="d-7-9", message_id=40)


class Body(httpx.AsyncByteStream):
    """A body of one chunk, after which the connection may be lost."""

    def __init__(self, chunk: bytes, *, is_whole: bool) -> None:
        self._chunks = iter([chunk] if chunk else [])
        self._is_whole = is_whole

    def __aiter__(self) -> "Body":
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        if chunk := next(self._chunks, b""):
            return chunk
        if self._is_whole:
            raise StopAsyncIteration
        raise httpx.ReadError("the connection is lost")


class FileServer(httpx.AsyncBaseTransport):
    """An HTTP API with the files of one user. The parts of `failing` fail so often; a download ends with `breaks`."""

    def __init__(self, bff: Any) -> None:
        self._bff = bff
        self.reserved: dict[str, Any] = {}
        self.parts: dict[int, bytes] = {}
        self.failing: dict[int, int] = {}
        self.slow_completions = 0
        """How often a completion times out."""
        self.state = "uploading"
        self.requests: list[str] = []
        self.ranges: list[str] = []
        self.breaks: list[int] = []
        """After how many bytes the first downloads end."""
        self.ignores_ranges = False
        self.ignores_cancellation = False
        self.redirect = ""
        self.wanted: list[dict[str, Any]] = []
        self.not_recorded = 0
        """How many requests for links come before the message is recorded."""
        self.others: list[dict[str, str] | None] = [None]
        """The links of the other files meanwhile."""
        self.at_once = self.most_at_once = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if not path.startswith(("/v1/files", "/files")):
            answer: httpx.Response = await self._bff.transport.handle_async_request(request)
            return answer
        self.requests.append(f"{request.method} {path}")
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await trio.sleep(0.02)
        if path.endswith("/complete") and self.slow_completions:
            self.slow_completions -= 1
            await trio.sleep(10)
            self.at_once -= 1
            return httpx.Response(504, json={"code": "timed_out", "detail": "This took more than 10 seconds."})
        try:
            assert isinstance(request.stream, httpx.AsyncByteStream)
            return self._answer(request.method, path, b"".join([chunk async for chunk in request.stream]), request)
        finally:
            self.at_once -= 1

    def _answer(self, method: str, path: str, body: bytes, request: httpx.Request) -> httpx.Response:
        match method, path.split("/")[2:]:
            case "POST", ["files"]:
                self.reserved = self.reserved or json.loads(body)
                assert self.reserved == json.loads(body)
                return httpx.Response(201, json=self._file())
            case "PUT", ["files", "5", "parts", number]:
                assert request.headers["Content-Length"] == str(len(body))
                if self.failing.get(int(number), 0):
                    self.failing[int(number)] -= 1
                    raise httpx.WriteError("the connection is lost")
                self.parts[int(number)] = body
                return httpx.Response(204)
            case "POST", ["files", "5", "complete"]:
                self.state = "complete" if self.state == "uploading" else self.state
                assert hashlib.sha256(self.content).hexdigest() == self.reserved.get("sha256", self._hash())
                return httpx.Response(200, json=self._file())
            case "DELETE", ["files", "5"]:
                if self.ignores_cancellation:
                    raise httpx.ReadError("the connection is lost")
                self.state = "cancelled"
                return httpx.Response(204)
            case "POST", ["files", "links"]:
                self.wanted = json.loads(body)["files"]
                if self.not_recorded:
                    self.not_recorded -= 1
                    return httpx.Response(200, json={"links": [*self.others, None], "not_recorded": [len(self.others)]})
                known = [{"url": "/files/5/x?signature=1", "expires_at_ms": "1"} if each["file_id"] == "5" else None
                         for each in self.wanted]  # fmt: skip
                return httpx.Response(200, json={"links": known})
            case _:
                return self._download(request.headers.get("Range", ""))

    def _download(self, wanted: str) -> httpx.Response:
        self.ranges.append(wanted)
        if self.redirect:
            return httpx.Response(307, headers={"Location": self.redirect})
        match = re.fullmatch(r"bytes=(\d+)-", wanted)
        start = int(match[1]) if match and not self.ignores_ranges else 0
        if start >= len(CONTENT):
            return httpx.Response(416, json={"code": "invalid"})
        content = CONTENT[start:]
        status = 206 if start else 200
        count = self.breaks.pop(0) if self.breaks else len(content)
        return httpx.Response(status, stream=Body(content[:count], is_whole=count == len(content)))

    def _file(self) -> dict[str, Any]:
        parts = [{"number": number, "size": len(part)} for number, part in self.parts.items()]
        state = {"state": self.state, "part_bytes": PART_BYTES, "parts": parts}
        return {"file_id": "5", "name": "x", "size": self.reserved["size"], "media_type": "image/png", **state}

    @property
    def content(self) -> bytes:
        return b"".join(part for _, part in sorted(self.parts.items()))

    def _hash(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@pytest.fixture
def server(bff: Any) -> FileServer:
    return FileServer(bff)


@pytest.fixture
async def files(server: FileServer) -> AsyncIterator[Files]:
    async with open_api("http://bff", "ada", "correct horse", transport=server) as api:
        await api.sign_in()
        yield Files(api)


async def chunks() -> AsyncGenerator[bytes, None]:
    for start in range(0, len(CONTENT), 70_000):
        yield CONTENT[start : start + 70_000]


async def read(files: Files, start: int = 0) -> bytes:
    async with files.download(SEEN, start=start) as content:
        return b"".join([chunk async for chunk in content])


@pytest.mark.parametrize("kind", ["path", "bytes", "chunks"])
async def test_a_file_is_uploaded_in_parts_of_which_three_are_under_way_at_once(
    files: Files, server: FileServer, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(CONTENT)
    done: list[int] = []
    content: Any = {"path": path, "bytes": CONTENT, "chunks": chunks()}[kind]
    name = "" if kind == "path" else "photo.png"
    voice = Voice(1_500, b"\x01\x02")
    info = await files.upload(content, name=name, size=len(CONTENT), voice=voice, progress=done.append)
    assert info == FileInfo(file_id=5, name="x", size=len(CONTENT), media_type="image/png")
    assert (server.content, server.most_at_once) == (CONTENT, PARTS_AT_ONCE)
    assert server.reserved["voice"] == {"duration_ms": 1_500, "waveform": "AQI="}
    assert (server.reserved["name"], "sha256" in server.reserved) == ("photo.png", kind != "chunks")
    assert (done, done[-1]) == (sorted(done), len(CONTENT))


async def test_an_empty_file_has_no_parts(files: Files, server: FileServer) -> None:
    assert (await files.upload(b"", name="empty")).size == 0
    assert server.parts == {}


async def test_a_part_that_fails_is_sent_again_and_the_progress_falls(
    files: Files, server: FileServer, autojump_clock: MockClock
) -> None:
    server.failing = {2: 3}
    done: list[int] = []
    await files.upload(CONTENT, name="x", progress=done.append)
    assert server.content == CONTENT
    assert server.requests.count("PUT /v1/files/5/parts/2") == 4
    assert done != sorted(done)


async def test_an_upload_that_was_given_up_goes_on_with_the_missing_parts(
    files: Files, server: FileServer, autojump_clock: MockClock
) -> None:
    server.failing = {3: 1_000}
    with pytest.raises(Unreachable) as caught:
        await files.upload(CONTENT, name="x")
    server.failing = {}
    server.requests.clear()
    done: list[int] = []
    await files.upload(CONTENT, name="x", client_file_id=caught.value.client_id, progress=done.append)
    assert server.content == CONTENT
    assert [each[-7:] for each in server.requests if "PUT" in each] == ["parts/3"]
    assert (done[0], done[-1]) == (len(CONTENT) - PART_BYTES, len(CONTENT))
    server.requests.clear()
    await files.upload(CONTENT, name="x", client_file_id=caught.value.client_id)
    assert server.requests == ["POST /v1/files"]


async def test_an_upload_waits_while_the_server_completes_it(
    files: Files, server: FileServer, autojump_clock: MockClock
) -> None:
    server.slow_completions = 12
    assert (await files.upload(CONTENT, name="x")).file_id == 5
    assert server.slow_completions == 0


async def test_an_upload_that_the_server_never_completes_ends_and_its_parts_are_not_sent_again(
    files: Files, server: FileServer, autojump_clock: MockClock
) -> None:
    server.slow_completions = 1_000
    began = trio.current_time()
    with pytest.raises(Refused) as caught:
        await files.upload(CONTENT, name="x")
    assert caught.value.code == "timed_out"
    assert COMPLETE_SECONDS <= trio.current_time() - began < COMPLETE_SECONDS + 60
    server.slow_completions = 0
    server.requests.clear()
    await files.upload(CONTENT, name="x", client_file_id=caught.value.client_id)
    assert server.requests == ["POST /v1/files", "POST /v1/files/5/complete"]


@pytest.mark.parametrize(("size", "problem"), [(len(CONTENT) + 1, "less"), (len(CONTENT) - 1, "more")])
async def test_an_upload_of_chunks_with_another_size_than_stated_is_cancelled(
    files: Files, server: FileServer, size: int, problem: str
) -> None:
    async with aclosing(chunks()) as content:
        with pytest.raises(ValueError, match=f"{problem} than {size} bytes"):
            await files.upload(content, name="x", size=size)
    with pytest.raises(ValueError, match="needs a name"):
        await files.upload(b"x")
    assert server.state == "cancelled"


async def test_an_upload_that_fails_has_its_own_error_although_it_could_not_be_cancelled(
    files: Files, server: FileServer
) -> None:
    server.ignores_cancellation = True
    async with aclosing(chunks()) as content:
        with pytest.raises(ValueError, match="less than"):
            await files.upload(content, name="x", size=len(CONTENT) + 1)
    assert server.requests[-1].startswith("DELETE")


async def test_an_upload_is_given_up_by_the_id_of_its_file(files: Files, server: FileServer) -> None:
    ids: list[int] = []

    def give_up(file_id: int) -> None:
        ids.append(file_id)
        scope.cancel()

    with trio.CancelScope() as scope:
        await files.upload(CONTENT, name="x", reserved=give_up)
    await files.cancel(ids[0])
    assert (ids, server.state, server.requests[-1]) == ([5], "cancelled", "DELETE /v1/files/5")


async def test_a_blocked_file_is_refused(files: Files, server: FileServer) -> None:
    server.state = "blocked"
    with pytest.raises(Refused, match="virus"):
        await files.upload(b"x", name="x")


async def test_a_download_goes_on_after_the_last_byte_that_arrived(
    files: Files, server: FileServer, autojump_clock: MockClock
) -> None:
    server.breaks = [90_000, 60_001]
    assert await read(files) == CONTENT
    assert server.ranges == ["", "bytes=90000-", "bytes=150001-"]
    assert server.wanted == [{"file_id": "5", "chat_id": "d-7-9", "message_id": "40"}]
    server.ignores_ranges = True
    assert await read(files, start=300_000) == CONTENT[300_000:]


async def test_a_redirect_is_followed_to_a_server_elsewhere(
    files: Files, server: FileServer, nursery: trio.Nursery
) -> None:
    requests: list[bytes] = []

    async def store(stream: trio.SocketStream) -> None:
        requests.append(bytes(await stream.receive_some()))
        await stream.send_all(b"HTTP/1.1 206 Partial Content\r\nContent-Length: 5\r\n\r\nbytes")

    listeners = await listen("127.0.0.1", 0)
    nursery.start_soon(trio.serve_listeners, store, listeners)
    server.redirect = f"http://127.0.0.1:{port_of(listeners)}/bucket"
    assert await read(files, start=7) == b"bytes"
    assert requests[0].startswith(b"GET /bucket HTTP/1.1")
    assert (b"range: bytes=7-" in requests[0].lower(), b"authorization" in requests[0].lower()) == (True, False)


async def test_a_download_that_gets_no_further_ends(
    files: Files, server: FileServer, autojump_clock: MockClock
) -> None:
    server.breaks = [70_000, *[0] * 1_000]
    with pytest.raises(Unreachable, match="the connection is lost"):
        await read(files)


async def test_a_file_that_the_user_may_not_read_is_refused_and_leaves_nothing(files: Files, tmp_path: Path) -> None:
    with pytest.raises(Refused) as caught:
        await files.save(FileRef(file_id=6), tmp_path / "x")
    assert caught.value.code == "not_found"
    assert os.listdir(tmp_path) == []
    assert await files.links([FileRef(file_id=6)], rendition=320, download=True) == [None]


async def test_a_file_of_a_message_that_is_not_recorded_yet_is_downloaded_once_it_is(
    files: Files, server: FileServer, autojump_clock: MockClock
) -> None:
    server.not_recorded = 1
    with pytest.raises(Refused, match="too new") as caught:
        await files.links([MINE, SEEN])
    refused = caught.value
    assert (refused.code, refused.field, refused.retryable) == ("unavailable", "files[1].message_id", True)
    server.not_recorded = 5
    assert await read(files) == CONTENT


async def test_a_file_that_is_not_recorded_yet_keeps_no_other_from_its_link(files: Files, server: FileServer) -> None:
    server.not_recorded = 1
    server.others = [None, {"url": "/files/5/x?signature=1", "expires_at_ms": "1"}]
    assert await files.links([MINE, MINE, SEEN]) == [None, Link("/files/5/x?signature=1", 1), None]


async def test_a_file_is_saved_whole_or_not_at_all_and_another_call_goes_on(
    files: Files, server: FileServer, autojump_clock: MockClock, tmp_path: Path
) -> None:
    server.breaks = [PART_BYTES, *[0] * 1_000]
    target = tmp_path / "x"
    with pytest.raises(Unreachable):
        await files.save(MINE, target)
    assert not target.exists()
    server.breaks, server.ranges = [], []
    done: list[int] = []
    await files.save(FileInfo(file_id=5), target, progress=done.append)
    assert (target.read_bytes(), done[-1], server.ranges) == (CONTENT, len(CONTENT), [f"bytes={PART_BYTES}-"])
    assert os.listdir(tmp_path) == [target.name]
    await files.save(MINE, target)


def test_the_files_of_a_message_are_read_in_it() -> None:
    message = Message(message_id=40, chat_id="d-7-9", files=[FileInfo(file_id=5)])
    assert list(refs_in(message)) == [SEEN]
