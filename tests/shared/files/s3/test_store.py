"""Faults of the object store: away, frozen, answering 503, forgetting, lost connections, no room; and signed URLs."""

import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

import httpx
import pytest
import trio

from shared.contract.errors import Unavailable
from shared.files.protocol import MIN_PART_BYTES, FileStore, Full, NotFound, Part, Stored
from shared.files.s3 import requests, store
from shared.files.s3.store import open_s3_files
from shared.settings import FilesSettings
from tests.shared.files.conftest import settings_for
from tests.shared.files.content import content_of, read, write
from tests.shared.files.content import store as store_parts
from tests.waiting import PATIENCE
from tools.engines.engine import free_port, running
from tools.engines.moto import Moto

KEY = "3fa/1234"

CONTENT = content_of(MIN_PART_BYTES)

Handle = Callable[[httpx.Request], Awaitable[httpx.Response]]

CALLS: dict[str, Callable[[FileStore], Awaitable[object]]] = {
    "begin": lambda files: files.begin(KEY),
    "write_part": lambda files: write(files, KEY, "id", 1, CONTENT),
    "parts": lambda files: files.parts(KEY, "id"),
    "finish": lambda files: files.finish(KEY, "id", [Part(1, 1, "0")]),
    "cancel": lambda files: files.cancel(KEY, "id"),
    "put": lambda files: files.put(KEY, CONTENT),
    "size": lambda files: files.size(KEY),
    "read": lambda files: read(files, KEY),
    "delete": lambda files: files.delete([KEY, "b"]),
    "keys": lambda files: files.keys(),
    "uploads": lambda files: files.uploads(0),
}


class Between(httpx.AsyncBaseTransport):
    """Handles requests between the store and the real transport, in whose place `handle` may answer."""

    def __init__(self) -> None:
        self.real = httpx.AsyncHTTPTransport(verify=False)  # of plain HTTP: authorities take 20 ms to load
        self.handle: Handle = self.real.handle_async_request
        self.sent: list[str] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(request.method)
        return await self.handle(request)

    async def aclose(self) -> None:
        await self.real.aclose()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BACKOFF_SECONDS", 0.001)


@pytest.fixture
def between() -> Between:
    return Between()


@pytest.fixture
async def files(between: Between, s3_settings: FilesSettings) -> AsyncIterator[FileStore]:
    async with open_s3_files(s3_settings, transport=between) as files:
        yield files


class Body(httpx.AsyncByteStream):
    """A body of which the connection is lost after some bytes, if they are given."""

    def __init__(self, content: bytes, lost_after: int | None = None) -> None:
        self._chunks = iter([content[:lost_after]])
        self._is_lost = lost_after is not None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for chunk in self._chunks:
            return chunk
        if self._is_lost:
            raise httpx.ReadError("lost")
        raise StopAsyncIteration


def answering(status: int, text: str) -> Handle:
    """Reads each request, and answers with this text."""

    async def handle(request: httpx.Request) -> httpx.Response:
        await request.aread()
        return httpx.Response(status, stream=Body(b"" if request.method == "HEAD" else text.encode()))

    return handle


def refusing(status: int, code: str) -> Handle:
    return answering(status, f"<Error><Code>{code}</Code></Error>")


@pytest.mark.parametrize("state", ["away", "frozen"])
async def test_an_object_store_that_is_away_or_frozen_is_unavailable(
    state: str, frozen_moto: Moto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "FINISH_SECONDS", 0.3)
    url = frozen_moto.url if state == "frozen" else f"http://127.0.0.1:{free_port()}"
    async with open_s3_files(settings_for(url)) as files, trio.open_nursery() as nursery:

        async def fails(name: str) -> None:
            with pytest.raises(Unavailable):
                await CALLS[name](files)

        for name in CALLS:
            nursery.start_soon(fails, name)


async def test_an_object_store_that_answers_503_is_unavailable_after_retries(
    between: Between, monkeypatch: pytest.MonkeyPatch, subtests: pytest.Subtests
) -> None:
    monkeypatch.setattr(store, "FINISH_SECONDS", PATIENCE)
    between.handle = refusing(503, "SlowDown")
    async with open_s3_files(settings_for("http://s3", timeout_seconds=PATIENCE), transport=between) as files:
        for name, call in CALLS.items():
            between.sent.clear()
            with subtests.test(name=name):
                with pytest.raises(Unavailable, match="503"):
                    await call(files)
                assert len(between.sent) in ((1,) if name == "write_part" else (3, 6))


@pytest.fixture(scope="session")
def frozen_moto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Moto]:
    with running(Moto(tmp_path_factory.mktemp("frozen"))) as moto:
        moto.freeze()
        yield moto


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [(507, "XMinioStorageFull", Full), (403, "AccessDenied", Unavailable), (404, "NoSuchBucket", Unavailable)],
)
async def test_other_refusals_are_not_retried(
    between: Between, status: int, code: str, error: type[Unavailable], subtests: pytest.Subtests
) -> None:
    between.handle = refusing(status, code)
    async with open_s3_files(settings_for("http://s3"), transport=between) as files:
        for name, call in CALLS.items():
            if name == "size" and status == 404:
                continue  # HEAD has no code: the key is absent
            between.sent.clear()
            with subtests.test(name=name):
                with pytest.raises(Unavailable) as raised:
                    await call(files)
                assert type(raised.value) is error
                assert str(status) in str(raised.value)
                assert len(between.sent) == (2 if name == "delete" else 1)


async def test_failures_that_pass_are_retried(files: FileStore, between: Between) -> None:
    async def fails_at_first(request: httpx.Request) -> httpx.Response:
        if len(between.sent) % 3 == 1:
            return await refusing(503, "SlowDown")(request)
        if len(between.sent) % 3 == 2:
            raise httpx.ReadError("lost")
        return await between.real.handle_async_request(request)

    between.handle = fails_at_first
    await files.put(KEY, CONTENT)
    assert await files.size(KEY) == len(CONTENT)
    assert await read(files, KEY) == CONTENT
    assert between.sent == ["PUT"] * 3 + ["HEAD"] * 3 + ["GET"] * 3


async def test_an_answer_that_is_lost_in_the_middle_of_finish_does_no_harm(files: FileStore, between: Between) -> None:
    """Also an error that comes after the status of success, as Amazon's does."""
    upload_id = await files.begin(KEY)
    parts = [await write(files, KEY, upload_id, number, CONTENT) for number in (1, 2)]
    between.sent.clear()

    async def loses_answers(request: httpx.Request) -> httpx.Response:
        if len(between.sent) == 1:
            return await refusing(200, "InternalError")(request)
        if len(between.sent) == 3:
            return await refusing(404, "NoSuchUpload")(request)
        response = await between.real.handle_async_request(request)
        if len(between.sent) == 2:
            await response.aread()
            await response.aclose()
            raise httpx.ReadError("lost")
        return response

    between.handle = loses_answers
    await files.finish(KEY, upload_id, parts)
    assert between.sent == ["POST", "POST", "POST", "HEAD"]
    assert await read(files, KEY) == 2 * CONTENT


async def test_a_download_whose_connection_is_lost_goes_on_at_the_next_byte(files: FileStore, between: Between) -> None:
    await files.put(KEY, CONTENT)

    async def tears(request: httpx.Request) -> httpx.Response:
        response = await between.real.handle_async_request(request)
        if request.method != "GET" or not response.is_success:
            return response
        body = Body(await response.aread(), lost_after=MIN_PART_BYTES // 3)
        await response.aclose()
        return httpx.Response(response.status_code, headers=response.headers, stream=body)

    between.handle = tears
    assert await read(files, KEY) == CONTENT
    assert await read(files, KEY, 9) == CONTENT[9:]

    async def delete_while_reading() -> None:
        async with files.read(KEY) as chunks:
            async for _ in chunks:
                await files.delete([KEY])

    with pytest.raises(NotFound):
        await delete_while_reading()


async def test_a_listing_of_keys_is_read_to_its_end_or_its_limit_in_pages_of_any_length(between: Between) -> None:
    async def pages(request: httpx.Request) -> httpx.Response:
        at = int(request.url.params.get("continuation-token", "0 /=").removesuffix(" /="))
        keys = [] if at == 1 else [f"{at}a", f"{at}b"]
        stored = "".join(
            f"<Contents><Key>{key}</Key><Size>5</Size><LastModified>1970-01-01T00:00:01Z</LastModified></Contents>"
            for key in keys
        )
        more = f"<NextContinuationToken>{at + 1} /=</NextContinuationToken><IsTruncated>true</IsTruncated>" * (at < 2)
        return await answering(200, f'<ListBucketResult xmlns="http://s3/">{stored}{more}</ListBucketResult>')(request)

    between.handle = pages
    async with open_s3_files(settings_for("http://s3"), transport=between) as files:
        assert await files.keys() == [Stored(key, 5, 1000) for key in ("0a", "0b", "2a", "2b")]
        assert [stored.key for stored in await files.keys(limit=3)] == ["0a", "0b", "2a"]
        assert [stored.key for stored in await files.keys(limit=2)] == ["0a", "0b"]


async def test_listings_of_parts_and_uploads_are_read_to_their_end(between: Between) -> None:
    async def pages(request: httpx.Request) -> httpx.Response:
        at = int(request.url.params.get("part-number-marker", "0"))
        part = f"<Part><PartNumber>{at + 1}</PartNumber><Size>5</Size><ETag>&quot;e{at}&quot;</ETag></Part>"
        more = f"<NextPartNumberMarker>{at + 1}</NextPartNumberMarker><IsTruncated>{str(at < 2).lower()}</IsTruncated>"
        return await answering(200, f'<ListPartsResult xmlns="http://s3/">{part}{more}</ListPartsResult>')(request)

    between.handle = pages
    async with open_s3_files(settings_for("http://s3"), transport=between) as files:
        assert await files.parts(KEY, "id") == [Part(number + 1, 5, f"e{number}") for number in range(3)]


@pytest.mark.parametrize("text", ["", "no xml", "<Other/>", "<ListBucketResult>" + " " * (5 << 20)])
async def test_an_answer_that_is_none_of_an_object_store_is_unavailable(between: Between, text: str) -> None:
    between.handle = answering(200, text)
    async with open_s3_files(settings_for("http://s3"), transport=between) as files:
        with pytest.raises(Unavailable):
            await files.begin(KEY)


async def test_signed_urls_are_readable_by_anybody_with_the_headers_that_they_name(files: FileStore) -> None:
    await store_parts(files, KEY, [CONTENT, b"end"])
    url = files.signed_url(KEY, 300, disposition='attachment; filename="a.bin"', media_type="application/x-test")
    assert url is not None
    assert "secret" not in url
    response = await trio.to_thread.run_sync(urllib.request.urlopen, url)
    with response:
        assert response.headers["content-disposition"] == 'attachment; filename="a.bin"'
        assert response.headers["content-type"] == "application/x-test"
        assert response.read() == CONTENT + b"end"


async def test_without_a_public_endpoint_there_are_no_signed_urls(s3_settings: FilesSettings) -> None:
    async with open_s3_files(s3_settings.model_copy(update={"public_endpoint": ""})) as files:
        assert files.signed_url(KEY, 300, disposition="inline", media_type="text/plain") is None
