"""Requests to an S3-compatible object store, on httpx: signed, with time-outs and retries; errors become ours."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from random import uniform
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import httpx
import trio

from shared.contract.errors import Unavailable
from shared.files.protocol import Full, NotFound
from shared.files.s3.signing import UNSIGNED, Signer, encode_query
from shared.net.bodies import BytesBody, body_of

ATTEMPTS = 3
"""Attempts of one request. A content that is sent as it comes is sent once."""

BACKOFF_SECONDS = 0.2
"""Mean pause after the first attempt; it doubles with each further one."""

MAX_ANSWER_BYTES = 4 << 20
"""Most bytes of an answer in memory. A listing of 1,000 keys has some 400,000."""

_PASSING_STATUSES = (429, 500, 502, 503, 504)

_PASSING_CODES = ("InternalError", "OperationAborted", "RequestTimeout", "SlowDown")

_NOT_FOUND_CODES = ("InvalidPart", "NoSuchKey", "NoSuchUpload")

_FULL_CODES = ("EntityQuotaExceeded", "QuotaExceeded", "XMinioStorageFull")


class Passing(Unavailable):
    """A failure that may be over at the next attempt."""


class BehindEnd(Exception):
    """A range begins at or behind the end of the object."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer with a short body."""

    headers: httpx.Headers
    body: bytes

    def xml(self) -> Element:
        """Return the root of the document in the body. Raises Unavailable."""
        try:
            # The operator's own store is trusted: the parser's weakness is documents made to exhaust it.
            return ElementTree.fromstring(self.body)  # noqa: S314
        except ElementTree.ParseError as error:
            raise Unavailable(f"this is not an answer of an object store: {error}") from error


class S3Requests:
    """Sends requests about the objects of one bucket, whose names need no encoding in a URL."""

    def __init__(self, http: httpx.AsyncClient, signer: Signer, bucket_url: str, timeout_seconds: float) -> None:
        self._http = http
        self._signer = signer
        self._bucket_url = bucket_url
        self._timeout_seconds = timeout_seconds

    async def call(
        self,
        method: str,
        name: str,
        query: Mapping[str, str] | None = None,
        *,
        content: bytes = b"",
        answer_seconds: float = 0.0,
    ) -> Response:
        """Send a request about an object, or about the bucket if the name is empty, and return the answer.

        It is sent ATTEMPTS times if need be. Each answer may take `answer_seconds`, by default the time-out of the
        settings, and all together ATTEMPTS times as long. Raises NotFound, Full or Unavailable."""
        answer_seconds = answer_seconds or self._timeout_seconds
        failure = Unavailable(f"the object store does not answer in {answer_seconds:g} s")
        with trio.move_on_after(answer_seconds * ATTEMPTS):
            for attempt in range(ATTEMPTS):
                await pause(attempt)
                request = self._request(method, name, query, {}, sha256(content).hexdigest(), answer_seconds)
                request.stream = BytesBody(content)
                request.headers["content-length"] = str(len(content))
                try:
                    async with self._sent(request) as response:
                        body = await _read(response)
                        if method == "POST" and _code(body):  # success is promised early, and may become an error
                            raise _failure(request, 500, _code(body))
                        return Response(response.headers, body)
                except Passing as error:
                    failure = error
        raise failure

    async def upload(
        self, name: str, query: Mapping[str, str], content: AsyncIterator[bytes], size: int
    ) -> httpx.Headers:
        """PUT the content as it comes, once, and return the answer's headers.

        Raises the exceptions of `call` and of the content; then the object store drops the bytes that it has received.
        It may end the request of a content that pauses for long."""
        request = self._request("PUT", name, query, {}, UNSIGNED, self._timeout_seconds)
        request.stream = _Stream(content)
        request.headers["content-length"] = str(size)
        async with self._sent(request) as response:
            await _read(response)
            return response.headers

    @asynccontextmanager
    async def download(self, name: str, headers: Mapping[str, str]) -> AsyncIterator[httpx.Response]:
        """GET an object, once, and yield the answer before its body. Raises the exceptions of `call`, Passing also
        from the block, and BehindEnd."""
        request = self._request("GET", name, None, headers, sha256().hexdigest(), self._timeout_seconds)
        async with self._sent(request) as response:
            yield response

    def signed_url(self, name: str, query: Mapping[str, str], seconds: int, public_url: str) -> str:
        """Return a URL of the object below another URL of the bucket."""
        return self._signer.url(f"{public_url}/{name}", query, seconds, datetime.now(UTC))

    def _request(
        self,
        method: str,
        name: str,
        query: Mapping[str, str] | None,
        headers: Mapping[str, str],
        body_hash: str,
        answer_seconds: float,
    ) -> httpx.Request:
        """Make a request without its body, signed for now."""
        url = f"{self._bucket_url}/{name}" if name else self._bucket_url
        if query:
            url += f"?{encode_query(query)}"
        signature = self._signer.headers(method, url, body_hash, datetime.now(UTC))
        timeout = httpx.Timeout(self._timeout_seconds, read=answer_seconds)
        return self._http.build_request(method, url, headers={**headers, **signature}, timeout=timeout)

    @asynccontextmanager
    async def _sent(self, request: httpx.Request) -> AsyncIterator[httpx.Response]:
        """Send a request, and yield its answer, a success, before the body is read."""
        try:
            response = await self._http.send(request, stream=True)
            try:
                if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                    raise BehindEnd
                if not response.is_success:
                    raise _failure(request, response.status_code, _code(await _read(response)))
                yield response
            finally:
                await response.aclose()
        except httpx.TransportError as error:
            raise Passing(f"the object store does not answer: {error or type(error).__name__}") from error


async def pause(attempt: int) -> None:
    """Wait before an attempt: not before the first one, number 0."""
    if attempt:
        await trio.sleep(uniform(0, 2) * BACKOFF_SECONDS * 2 ** (attempt - 1))  # noqa: S311 - no secret


class _Stream(httpx.AsyncByteStream):
    """A body that is sent as it comes."""

    def __init__(self, content: AsyncIterator[bytes]) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._content


async def _read(response: httpx.Response) -> bytes:
    """Return the body. Raises Unavailable if it has more than MAX_ANSWER_BYTES."""
    body = bytearray()
    async with body_of(response) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise Unavailable(f"an answer of the object store has more than {MAX_ANSWER_BYTES} bytes")
    return bytes(body)


def _code(body: bytes) -> str:
    """Return the code of the error in a body; empty without one."""
    if b"<Error" not in body[:1_000]:
        return ""
    root = Response(httpx.Headers(), body).xml()
    return root.findtext("{*}Code") or root.findtext("Code") or ""


def _failure(request: httpx.Request, status: int, code: str) -> Exception:
    text = f"the object store answers {request.method} with {status} {code}".rstrip()
    if code in _NOT_FOUND_CODES or (status == httpx.codes.NOT_FOUND and not code):  # no code answers HEAD
        return NotFound(text)
    if code in _FULL_CODES or status == httpx.codes.INSUFFICIENT_STORAGE:
        return Full(text)
    if code in _PASSING_CODES or status in _PASSING_STATUSES:
        return Passing(text)
    return Unavailable(text)
