"""Files in a bucket of an S3-compatible object store: an object for each key, below the prefix of the settings.

Uploads are S3's own, so that any process continues them. A part is sent as it comes, with nothing kept: if it fails,
the caller sends it again. Everything else is retried here. Deadlines: `timeout_seconds` of the settings for each step
of a transfer, three times that for a small request, and three times FINISH_SECONDS for `finish`.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from xml.etree.ElementTree import Element
from xml.sax.saxutils import escape

import httpx
import trio

from shared.contract.errors import Unavailable
from shared.files.keys import check_key
from shared.files.protocol import (
    MAX_LISTED,
    NotFound,
    Opened,
    Part,
    Stored,
    Upload,
    check_part,
    check_put,
    check_range,
    checked,
    ordered,
)
from shared.files.s3.requests import ATTEMPTS, BehindEnd, Passing, S3Requests, pause
from shared.files.s3.signing import Signer
from shared.net.bodies import body_of
from shared.net.trust import client_context, trust
from shared.settings import FilesSettings

FINISH_SECONDS = 100.0
"""Time in which the object store joins the parts. Amazon's may need minutes for large files, but sends spaces
meanwhile."""

DELETIONS = 8
"""Most concurrent deletions of one call."""


class S3Files:
    """A `FileStore`. Made by `open_s3_files`."""

    def __init__(self, requests: S3Requests, prefix: str, public_url: str) -> None:
        self._requests = requests
        self._prefix = prefix
        self._public_url = public_url

    async def begin(self, key: str) -> str:
        answer = await self._requests.call("POST", self._name(key), {"uploads": ""})
        return _text(answer.xml(), "UploadId")

    async def write_part(self, key: str, upload_id: str, number: int, content: AsyncIterator[bytes], size: int) -> Part:
        check_part(number, size)
        query = {"partNumber": str(number), "uploadId": upload_id}
        async with checked(content, size) as chunks:
            headers = await self._requests.upload(self._name(key), query, chunks, size)
        return Part(number, size, headers.get("etag", "").strip('"'))

    async def parts(self, key: str, upload_id: str) -> Sequence[Part]:
        query = {"uploadId": upload_id}
        pages = self._pages(self._name(key), query, {"part-number-marker": "NextPartNumberMarker"})
        async with aclosing(pages):
            return [
                Part(int(_text(part, "PartNumber")), int(_text(part, "Size")), _text(part, "ETag").strip('"'))
                async for page in pages
                for part in page.iterfind("{*}Part")
            ]

    async def finish(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        parts = ordered(parts)
        listed = (
            f"<Part><PartNumber>{part.number}</PartNumber><ETag>&quot;{escape(part.checksum)}&quot;</ETag></Part>"
            for part in parts
        )
        content = f"<CompleteMultipartUpload>{''.join(listed)}</CompleteMultipartUpload>".encode()
        try:
            await self._requests.call(
                "POST", self._name(key), {"uploadId": upload_id}, content=content, answer_seconds=FINISH_SECONDS
            )
        except NotFound:
            if await self.size(key) != sum(part.size for part in parts):  # else this is a retry
                raise

    async def cancel(self, key: str, upload_id: str) -> None:
        with suppress(NotFound):
            await self._requests.call("DELETE", self._name(key), {"uploadId": upload_id})

    async def put(self, key: str, content: bytes) -> None:
        check_put(content)
        await self._requests.call("PUT", self._name(key), content=content)

    async def size(self, key: str) -> int | None:
        try:
            answer = await self._requests.call("HEAD", self._name(key))
        except NotFound:
            return None
        return int(answer.headers["content-length"])

    @asynccontextmanager
    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[Opened]:
        check_range(start, end)
        if start == end and await self.size(key) is None:
            raise NotFound(f"no {key}")
        asked = _Range(start, end)
        async with aclosing(self._chunks(self._name(key), asked)) as chunks:
            first = await anext(chunks, b"")
            async with aclosing(_joined(first, chunks)) as joined:
                yield Opened(asked.size, joined)

    async def delete(self, keys: Collection[str]) -> None:
        names = iter([self._name(key) for key in keys])
        failures: list[Unavailable] = []

        async def delete_some() -> None:
            for name in names:
                try:
                    with suppress(NotFound):
                        await self._requests.call("DELETE", name)
                except Unavailable as error:
                    failures.append(error)
                    return

        async with trio.open_nursery() as nursery:
            for _ in range(min(DELETIONS, len(keys))):
                nursery.start_soon(delete_some)
        if failures:
            raise failures[0]

    async def keys(self, prefix: str = "", after: str = "", limit: int = MAX_LISTED) -> Sequence[Stored]:
        query = {"list-type": "2", "prefix": self._prefix + prefix, "max-keys": str(min(limit, MAX_LISTED))}
        if after:
            query["start-after"] = self._prefix + after
        found: list[Stored] = []
        async with aclosing(self._pages("", query, {"continuation-token": "NextContinuationToken"})) as pages:
            async for page in pages:  # of as many keys as the store likes
                found += (self._stored(entry) for entry in page.iterfind("{*}Contents"))
                if len(found) >= min(limit, MAX_LISTED):
                    break
        return found[: min(limit, MAX_LISTED)]

    async def uploads(self, before_ms: int, after: str = "", limit: int = MAX_LISTED) -> Sequence[Upload]:
        query = {"uploads": "", "prefix": self._prefix}
        if after:
            query["key-marker"] = self._prefix + after
        markers = {"key-marker": "NextKeyMarker", "upload-id-marker": "NextUploadIdMarker"}
        found: list[Upload] = []
        async with aclosing(self._pages("", query, markers)) as pages:
            async for page in pages:
                wanted = (upload for upload in self._uploads_of(page) if upload.at_ms < before_ms)
                found += (upload for upload in wanted if upload.key > after)  # some stores ignore the marker
                if len(found) >= limit:
                    break
        return sorted(found, key=lambda upload: upload.key)[: min(limit, MAX_LISTED)]

    def signed_url(self, key: str, seconds: int, *, disposition: str, media_type: str) -> str | None:
        name = self._name(key)
        if not self._public_url:
            return None
        query = {"response-content-disposition": disposition, "response-content-type": media_type}
        return self._requests.signed_url(name, query, seconds, self._public_url)

    def _name(self, key: str) -> str:
        check_key(key)
        return self._prefix + key

    def _stored(self, entry: Element) -> Stored:
        key = _text(entry, "Key").removeprefix(self._prefix)
        return Stored(key, int(_text(entry, "Size")), _milliseconds(_text(entry, "LastModified")))

    def _uploads_of(self, page: Element) -> Iterator[Upload]:
        for entry in page.iterfind("{*}Upload"):
            key = _text(entry, "Key").removeprefix(self._prefix)
            yield Upload(key, _text(entry, "UploadId"), _milliseconds(_text(entry, "Initiated")))

    async def _pages(
        self, name: str, query: Mapping[str, str], markers: Mapping[str, str]
    ) -> AsyncGenerator[Element, None]:
        """Yield the pages of a listing. `markers` are the parameters of the next page, by elements of this one."""
        at: dict[str, str] = {}
        while True:
            page = (await self._requests.call("GET", name, {**query, **at})).xml()
            yield page
            if page.findtext("{*}IsTruncated") != "true":
                return
            at = {parameter: _text(page, element) for parameter, element in markers.items()}

    async def _chunks(self, name: str, asked: "_Range") -> AsyncGenerator[bytes, None]:
        """Yield the bytes of a range. A lost connection is opened again at the next byte, of the same object."""
        failures = 0
        while asked.end is None or asked.start < asked.end:
            headers = asked.headers()
            try:
                async with self._requests.download(name, headers) as response:
                    if "range" in headers and response.status_code != httpx.codes.PARTIAL_CONTENT:
                        raise Unavailable("the object store ignores ranges")
                    asked.answered(response.headers)
                    async with body_of(response) as chunks:
                        async for chunk in chunks:
                            asked.start += len(chunk)
                            failures = 0
                            yield chunk
                return
            except BehindEnd:
                return
            except Passing:
                failures += 1
                if failures == ATTEMPTS:
                    raise
            await pause(failures)


@dataclass(slots=True)
class _Range:
    """The bytes of an object that are still to be read: from `start` to before `end`, or to the last one."""

    start: int
    end: int | None
    size: int = 0
    """Bytes of the requested range, once the object store has answered."""
    etag: str = ""

    def headers(self) -> dict[str, str]:
        """The headers of the next request."""
        headers = {"if-match": self.etag} if self.etag else {}
        if self.start or self.end is not None:
            headers["range"] = f"bytes={self.start}-{'' if self.end is None else self.end - 1}"
        return headers

    def answered(self, headers: httpx.Headers) -> None:
        """Take the size, and the object, of the first answer."""
        if not self.etag:
            self.etag, self.size = headers["etag"], int(headers["content-length"])


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    if first:
        yield first
    async for chunk in rest:
        yield chunk


def _text(element: Element, name: str) -> str:
    """Return the text of an element below. Raises Unavailable without it."""
    text = element.findtext(f"{{*}}{name}")
    if text is None:
        raise Unavailable(f"this is not an answer of an object store: it has no {name}")
    return text


def _milliseconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000)


@asynccontextmanager
async def open_s3_files(
    settings: FilesSettings, *, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[S3Files]:
    """Open the bucket of the settings, which must exist. Nothing is sent yet. `transport` carries the requests.

    Raises UnusableCertificate if the authorities can't be read."""
    tls = client_context("http/1.1")
    trust(tls, settings.ca_file)
    bucket, _, prefix = settings.url.removeprefix("s3://").partition("/")
    endpoint = settings.endpoint or f"https://s3.{settings.region}.amazonaws.com"
    public_url = f"{settings.public_endpoint}/{bucket}" if settings.public_endpoint else ""
    async with httpx.AsyncClient(
        headers={"accept-encoding": "identity", "user-agent": "rookery"},
        limits=httpx.Limits(max_connections=settings.connections, max_keepalive_connections=settings.connections),
        verify=tls,
        transport=transport,
    ) as http:
        signer = Signer(settings.access_key, settings.secret_key.get_secret_value(), settings.region)
        requests = S3Requests(http, signer, f"{endpoint}/{bucket}", settings.timeout_seconds)
        yield S3Files(requests, f"{prefix}/" if prefix else "", public_url)
