"""Files: uploads in parts and downloads, both of which go on where they stopped, over the HTTP API."""

import base64
import secrets
import sys
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from hashlib import sha256
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec
import trio

from rookery.client.errors import Refused, RookeryError, Unreachable
from rookery.client.http import Api, Content, Repetition, chat_path, decode_json, decode_proto, refused_by
from rookery.v1.archive_pb2 import ListChatFilesResponse
from rookery.v1.files_pb2 import FileInfo, FileRef
from rookery.v1.session_pb2 import Message
from shared.background import open_background
from shared.contract.wire import to_object
from shared.net.bodies import body_of

PARTS_AT_ONCE = 3
"""Parts that are sent at once, and the most that an upload has in memory. The server names their size: 8 MiB."""

ANSWER_SECONDS = 30.0
"""Seconds for an answer to a part, which the server stores first, and to a completion."""

COMPLETE_SECONDS = 600.0
"""Seconds in which the server reads the whole file, has it scanned, and makes the thumbnails of a picture. It answers
`timed_out` every 10 seconds meanwhile."""

CHUNK_BYTES = 1 << 20
"""Bytes of a file that are read at once."""

Progress = Callable[[int], object]
"""Called with the number of bytes that are done. It falls when a part has to be sent again."""


class Voice(msgspec.Struct, frozen=True):
    """The duration and the loudness of a voice message, as its sender states them."""

    duration_ms: int
    waveform: bytes
    """Its loudness over time: at most 64 values."""


class Link(msgspec.Struct, frozen=True):
    """A link by which anybody can read a file, until it expires or its user may not read the file any more."""

    url: str
    """Relative to the base URL of the BFF."""
    expires_at_ms: int
    """Milliseconds since 1970."""


class _Part(msgspec.Struct, frozen=True):
    number: int
    size: int


class _Upload(msgspec.Struct, frozen=True):
    """The state of a file that the user uploads."""

    file_id: int
    size: int
    state: str
    """`uploading`, `complete`, or `blocked` by the virus scanner."""
    part_bytes: int = 0
    parts: Sequence[_Part] = ()


class _Links(msgspec.Struct, frozen=True):
    links: Sequence[Link | None]
    not_recorded: Sequence[int] = ()
    """The places of links that are None while the message may not be recorded yet."""


class Files:
    """Uploads and downloads files. Methods raise Refused, Unreachable and SignedOut.

    Each part of an upload or a download is tried for 30 seconds, and at least 3 times. The completion of an upload may
    take the server 10 minutes."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def upload(
        self,
        content: Path | bytes | AsyncIterable[bytes],
        *,
        name: str = "",
        size: int = 0,
        client_file_id: str = "",
        keep_original: bool = False,
        voice: Voice | None = None,
        reserved: Callable[[int], object] = lambda _: None,
        progress: Progress = lambda _: None,
    ) -> FileInfo:
        """Upload a file, and return it once it can be sent: `send` takes it in `files`.

        All but a path needs a `name`, and chunks need their `size` in all: ValueError if they have another one. The
        server removes metadata of pictures, such as the location, unless it has to `keep_original`.

        After an exception, another call with the same content and the exception's `client_id` as `client_file_id` sends
        only the parts that the server does not have; with an id of your own, also after a restart of the program. To
        give it up, `cancel` it by the file id, with which `reserved` is called: else it counts against the user's
        limits for 7 days. A file that no message has within a day is deleted.
        """
        name = name or (content.name if isinstance(content, Path) else "")
        if not name:
            raise ValueError("a content without a path needs a name")
        client_id = client_file_id or secrets.token_hex(16)
        async with _open_source(content, size) as source:
            body: dict[str, Any] = {
                "client_file_id": client_id,
                "name": name,
                "size": str(source.size),
                "keep_original": keep_original,
            }
            if source.sha256:
                body["sha256"] = source.sha256
            if voice is not None:
                waveform = base64.b64encode(voice.waveform).decode()
                body["voice"] = {"duration_ms": voice.duration_ms, "waveform": waveform}
            answer = await self._api.repeat("POST", "/v1/files", body=body, client_id=client_id)
            upload = decode_json(answer, _Upload)
            reserved(upload.file_id)
            if upload.state == "uploading":
                try:
                    await self._send_parts(upload, source, progress, client_id)
                except ValueError:  # it can never be completed
                    with suppress(RookeryError):  # it would replace the cause; the server ends the upload later
                        await self.cancel(upload.file_id)
                    raise
                answer = await self._complete(upload.file_id, client_id)
                upload = decode_json(answer, _Upload)
        if upload.state == "blocked":
            raise Refused("forbidden", "The virus scanner of the server has blocked this file.", client_id=client_id)
        return decode_proto(answer, FileInfo)

    async def cancel(self, file_id: int) -> None:
        """Delete a file that is not complete, so that it no longer counts against the user's limits. End the task of
        its `upload` first. Raises Refused with `out_of_order` for a complete file."""
        await self._api.request("DELETE", f"/v1/files/{file_id}")

    async def _complete(self, file_id: int, client_id: str) -> bytes:
        """Complete an upload, and return the answer. While the server is at work, `timed_out` is no failure."""
        until = trio.current_time() + COMPLETE_SECONDS
        path = f"/v1/files/{file_id}/complete"
        while True:
            try:
                return await self._api.repeat("POST", path, answer_seconds=ANSWER_SECONDS, client_id=client_id)
            except Refused as refused:
                if refused.code != "timed_out" or trio.current_time() >= until:
                    raise

    async def _send_parts(self, upload: _Upload, source: "_Source", progress: Progress, client_id: str) -> None:
        sent = {part.number: part.size for part in upload.parts}
        done = sum(sent.values())
        stored = frozenset(sent)
        free = trio.Semaphore(PARTS_AT_ONCE)
        failures: list[RookeryError] = []

        def note(number: int, count: int) -> None:
            nonlocal done
            done += count - sent.get(number, 0)
            sent[number] = count
            progress(done)

        async def send(number: int, part: bytes) -> None:
            path = f"/v1/files/{upload.file_id}/parts/{number}"
            content = Content(part, partial(note, number))
            try:
                await self._api.repeat("PUT", path, body=content, answer_seconds=ANSWER_SECONDS, client_id=client_id)
            except RookeryError as error:
                failures.append(error)
            free.release()

        async def wait_for_one() -> None:
            await free.acquire()
            if failures:
                raise failures[0]

        async with open_background() as nursery:
            for number, start in enumerate(range(0, upload.size, upload.part_bytes), 1):
                await wait_for_one()
                part = await source.read(min(upload.part_bytes, upload.size - start))
                if number in stored:
                    free.release()
                else:
                    nursery.start_soon(send, number, part)
            for _ in range(PARTS_AT_ONCE):
                await wait_for_one()
        await source.check_end()

    async def links(
        self, files: Sequence[FileRef | FileInfo], *, rendition: int = 0, download: bool = False
    ) -> Sequence[Link | None]:
        """Return the links of files, at most 100, each in at most 10 messages, in their order; None for one that the
        user may not read, and for one whose message is so new that it may not be recorded: ask again soon.

        `rendition` is one of a picture's `thumbnails`. At a link with `download`, browsers save the file. Raises
        Refused with `unavailable`, and the place in its field, if there is no link, and a message is so new."""
        wanted = [_wanted(file, rendition, download=download) for file in files]
        answer = decode_json(await self._api.request("POST", "/v1/files/links", body={"files": wanted}), _Links)
        if answer.not_recorded and not any(answer.links):
            message, field = "The message is too new: try again soon.", f"files[{answer.not_recorded[0]}].message_id"
            raise Refused("unavailable", message, field=field, retryable=True, retry_after_ms=1_000)
        return answer.links

    @asynccontextmanager
    async def download(
        self, file: FileRef | FileInfo, *, rendition: int = 0, start: int = 0
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Open the bytes of a file, from `start` on, as an iterator of chunks, which goes on after failures.

        A FileInfo is a file that the user has uploaded; `refs_in` returns the files of a message. `rendition` is one of
        a picture's `thumbnails`. The iterator raises Refused with `not_found` if the user may not read the file.
        """
        async with aclosing(self._chunks(ref_of(file), rendition, start)) as chunks:
            yield chunks

    async def save(
        self,
        file: FileRef | FileInfo,
        path: Path,
        *,
        rendition: int = 0,
        progress: Progress = lambda _: None,
    ) -> None:
        """Download a file to a path, which is replaced once all bytes are there. Until then they are beside it, in a
        file from which another call goes on. Raises like `download`, and OSError."""
        ref = ref_of(file)
        target = trio.Path(path)
        unfinished = target.with_name(f".{ref.file_id}-{rendition}.part")
        await unfinished.touch()
        async with await unfinished.open("r+b") as output:
            done = await output.seek(0, SEEK_END)
            try:
                async with self.download(ref, rendition=rendition, start=done) as chunks:
                    async for chunk in chunks:
                        await output.write(chunk)
                        done += len(chunk)
                        progress(done)
            except Refused as refused:
                if not refused.retryable:
                    await unfinished.unlink()
                raise
        await unfinished.replace(target)

    async def of_chat(
        self, chat_id: str, kind: Literal["media", "other", "links"], *, before: int = 0, limit: int = 50
    ) -> ListChatFilesResponse:
        """Return the messages of a chat with pictures and videos, with other files, or with links in the text as it was
        sent, the newest first. The next page is `before` the id of the last message, while this one `has_older`."""
        query: Mapping[str, str | int] = {"class": kind, "limit": limit} | ({"before": before} if before else {})
        return decode_proto(await self._api.request("GET", f"{chat_path(chat_id)}/files", query), ListChatFilesResponse)

    async def _chunks(self, ref: FileRef, rendition: int, position: int) -> AsyncGenerator[bytes, None]:
        repetition = Repetition()
        while True:
            try:
                (link,) = await self.links([ref], rendition=rendition)
                if link is None:
                    raise Refused("not_found", "There is no such file, or you may not read it.", field="file_id")
                headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={position}-"} if position else {})
                async with self._api.stream(link.url, headers) as response, body_of(response) as chunks:
                    if response.status_code == 416:  # no byte is left
                        return
                    if not response.is_success:
                        raise refused_by(response, b"".join([chunk async for chunk in chunks]))
                    known = position if response.status_code == 200 else 0  # the answer begins with these bytes
                    async for chunk in chunks:
                        new = chunk[known:]
                        known -= len(chunk) - len(new)
                        if new:
                            position += len(new)
                            repetition = Repetition()
                            yield new
                return
            except (Unreachable, Refused) as failure:
                await repetition.wait(failure)


def refs_in(message: Message) -> Sequence[FileRef]:
    """Return the files of a message for `download` and `send`: the message is where the user may read them."""
    chat_id, message_id = message.chat_id, message.message_id
    return [FileRef(file_id=file.file_id, chat_id=chat_id, message_id=message_id) for file in message.files]


def ref_of(file: FileRef | FileInfo) -> FileRef:
    """Return the reference of a file, as its owner's without the message."""
    return file if isinstance(file, FileRef) else FileRef(file_id=file.file_id)


class _Source:
    """The content of an upload, from its beginning to its end."""

    def __init__(self, chunks: AsyncIterator[bytes], size: int, sha256: str = "") -> None:
        self.size = size
        self.sha256 = sha256
        """The SHA-256 of the content, as hexadecimal digits; empty if it is not known."""
        self._chunks = chunks
        self._read = bytearray()

    async def read(self, count: int) -> bytes:
        """Return the next bytes. Raises ValueError if there are less."""
        while len(self._read) < count:
            chunk = await anext(self._chunks, None)
            if chunk is None:
                raise ValueError(f"the content has less than {self.size} bytes")
            self._read += chunk
        part = bytes(self._read[:count])
        del self._read[:count]
        return part

    async def check_end(self) -> None:
        """Raise ValueError if a byte is left."""
        if self._read or await anext(self._chunks, None) is not None:
            raise ValueError(f"the content has more than {self.size} bytes")


@asynccontextmanager
async def _open_source(content: Path | bytes | AsyncIterable[bytes], size: int) -> AsyncIterator[_Source]:
    if not isinstance(content, Path | bytes):
        yield _Source(aiter(content), size)
        return
    opened = await trio.open_file(content, "rb") if isinstance(content, Path) else trio.wrap_file(BytesIO(content))
    async with opened as file:
        digest, size = sha256(), 0
        async with aclosing(_chunks_of(file)) as chunks:
            async for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
        await file.seek(0)
        async with aclosing(_chunks_of(file, size)) as chunks:
            yield _Source(chunks, size, digest.hexdigest())


class _Readable(Protocol):
    async def read(self, count: int, /) -> bytes: ...


async def _chunks_of(file: _Readable, count: int = sys.maxsize) -> AsyncGenerator[bytes, None]:
    """Yield the next bytes of a file, at most `count`."""
    while chunk := await file.read(min(CHUNK_BYTES, count)):
        count -= len(chunk)
        yield chunk


def _wanted(file: FileRef | FileInfo, rendition: int, *, download: bool) -> Mapping[str, Any]:
    """Return the request for the link of a file."""
    wanted: dict[str, Any] = to_object(ref_of(file))
    if rendition:
        wanted["rendition"] = str(rendition)
    return wanted | ({"download": True} if download else {})
