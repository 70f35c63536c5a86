"""Renders pictures: files in the store, which get renditions there, avatars, and the pictures of link previews.

Each picture is decoded by a process of its own, which starts in a tenth of a second. A file's bytes are streamed from
the store through the process and back, so the memory of this process is some MB for each.
"""

import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Protocol, cast, get_args

import structlog
import trio

from shared.contract.errors import Unavailable
from shared.files.keys import PICTURE, file_key
from shared.files.protocol import MAX_NAME_BYTES, PART_BYTES, FileStore, NotFound, hash_stored
from shared.pictures.media_types import DOCUMENTS, MediaType, picture_type
from shared.pictures.processes import Refused, Response, Worker, open_worker
from shared.pictures.purposes import PREVIEW_BYTES, PREVIEW_EDGE, SQUARES, Purpose
from shared.telemetry.metrics.catalogue import PICTURE_TIME, PICTURES

MAX_PICTURE_BYTES = 100 << 20
"""Larger files are no pictures."""

MAX_AT_ONCE = min(2, os.cpu_count() or 1)
"""Most pictures that are rendered at once: each may take a CPU, and the memory that `worker.py` allows."""

MAX_WAITING = 100
"""Most pictures that wait to be rendered. Further ones are refused."""

CANCEL_SECONDS = 5.0
"""How long the store may take to cancel the upload of a picture that failed. Else the sweep cancels it."""

_log = structlog.get_logger(__name__)


class Digest(Protocol):
    """A hash that bytes are added to."""

    def update(self, data: bytes, /) -> None: ...


@dataclass(frozen=True, slots=True)
class Renditions:
    """The stored renditions of a picture, or of a document, which has thumbnails only. `name`, `media_type`, `size` and
    `sha256` are those of the rendition that is read as the file: PICTURE, or the uploaded bytes if it is empty."""

    name: str
    media_type: str
    size: int
    sha256: bytes
    rendition: str
    width: int
    height: int
    thumbhash: bytes
    thumbnails: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Preview:
    """A small picture: WebP of at most PREVIEW_EDGE and PREVIEW_BYTES."""

    width: int
    height: int
    content: bytes


class Pictures:
    """Renders pictures, MAX_AT_ONCE at a time; one for each role. All methods raise Unavailable."""

    def __init__(self) -> None:
        self._turns = trio.CapacityLimiter(MAX_AT_ONCE)

    async def make_renditions(
        self,
        files: FileStore,
        file_id: int,
        name: str,
        media_type: str,
        size: int,
        *,
        keep_original: bool = False,
        max_bytes: int = MAX_PICTURE_BYTES,
    ) -> Renditions | None:
        """Render a file whose uploaded bytes are stored, and whose media type was found in them. A retry stores the
        same renditions. With `keep_original`, the uploaded bytes stay those that are read as the file.

        A picture that can't be decoded, or would have more than `max_bytes`, loses its metadata all the same if its
        format is parsed: `width` is 0 then. None: the file is no picture or document, or can be neither decoded within
        the limits nor parsed."""
        if media_type not in get_args(MediaType) or not 0 < size <= MAX_PICTURE_BYTES:
            return None
        keeps = keep_original or media_type in DOCUMENTS
        for purpose in (Purpose.ORIGINAL,) if keeps else (Purpose.FILE, Purpose.CLEANED):
            try:
                return await self._make(files, file_id, name, cast(MediaType, media_type), size, purpose, max_bytes)
            except Refused as refused:
                _log.info(
                    "picture_not_rendered",
                    file_id=str(file_id),
                    media_type=media_type,
                    purpose=purpose,
                    reason=str(refused),
                )
        return None

    async def _make(
        self,
        files: FileStore,
        file_id: int,
        name: str,
        media_type: MediaType,
        size: int,
        purpose: Purpose,
        max_bytes: int,
    ) -> Renditions:
        """Render a file in a worker of its own. Raises Refused and Unavailable."""
        rendition = "" if purpose is Purpose.ORIGINAL else PICTURE
        async with self._worker(media_type, purpose) as worker:
            _, sha256 = await hash_stored(files, file_key(file_id), worker.send)
            answer = await worker.answer()
            if rendition:
                if answer.size > max_bytes:
                    raise Refused(f"it would have {answer.size} bytes")
                size, sha256 = await _store(files, file_key(file_id, rendition), worker, answer.size)
            for edge, thumbnail_size in answer.thumbnails:
                await files.put(file_key(file_id, str(edge)), await worker.exactly(thumbnail_size))
        if rendition and answer.media_type != media_type:  # HEIC has become a JPEG
            name, media_type = as_jpeg(name), answer.media_type
        shown = answer.width, answer.height, answer.thumbhash, tuple(edge for edge, _ in answer.thumbnails)
        return Renditions(name, media_type, size, sha256, rendition, *shown)

    async def make_squares(self, content: bytes) -> dict[int, bytes] | None:
        """Return WebP squares of the centre of a picture, by their edges in pixels: SQUARES. None: it is no picture, or
        can't be decoded within the limits."""
        made = await self._render(content, Purpose.AVATAR, SQUARES)
        return made and made[1]

    async def make_preview(self, content: bytes) -> Preview | None:
        """Return a small picture. None: it is no picture, or can't be decoded within the limits."""
        made = await self._render(content, Purpose.PREVIEW, (PREVIEW_EDGE,))
        return made and Preview(made[0].width, made[0].height, made[1][PREVIEW_EDGE][:PREVIEW_BYTES])

    async def _render(
        self, content: bytes, purpose: Purpose, edges: Sequence[int]
    ) -> tuple[Response, dict[int, bytes]] | None:
        media_type = picture_type(content)
        if media_type is None or len(content) > MAX_PICTURE_BYTES:
            return None
        try:
            async with self._worker(media_type, purpose) as worker:
                await worker.send(content)
                answer = await worker.answer()
                made: dict[int, bytes] = {edge: await worker.exactly(size) for edge, size in answer.thumbnails}
                if set(made) != set(edges):
                    raise Refused("the worker made other pictures")
                return answer, made
        except Refused as refused:
            _log.info("picture_not_rendered", purpose=purpose, media_type=media_type, reason=str(refused))
            return None

    @asynccontextmanager
    async def _worker(self, media_type: MediaType, purpose: Purpose) -> AsyncIterator[Worker]:
        """Start a worker, when it is its turn."""
        if self._turns.statistics().tasks_waiting >= MAX_WAITING:
            raise Unavailable(f"{MAX_WAITING} pictures wait to be rendered")
        began, result = trio.current_time(), "unavailable"
        try:
            async with self._turns, open_worker(media_type, purpose) as worker:
                yield worker
            result = "rendered"
        except Refused:
            result = "refused"
            raise
        finally:
            PICTURES.inc(result)
            PICTURE_TIME.observe(trio.current_time() - began)


def as_jpeg(name: str) -> str:
    """Return the name with the extension of JPEG, unless it is too long then."""
    renamed = (name.rpartition(".")[0] or name) + ".jpg"
    return renamed if len(renamed.encode()) <= MAX_NAME_BYTES else name


class _Content(AsyncIterator[bytes]):
    """The next `size` bytes of the worker, which are added to the digest."""

    def __init__(self, worker: Worker, size: int, digest: Digest) -> None:
        self._worker = worker
        self._left = size
        self._digest = digest

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        chunk = await self._worker.some(self._left)
        self._left -= len(chunk)
        self._digest.update(chunk)
        return chunk


async def _store(files: FileStore, key: str, worker: Worker, size: int) -> tuple[int, bytes]:
    """Store the next `size` bytes of the worker: up to PART_BYTES in one `put`, more in parts. Return the size and the
    SHA-256 of the stored bytes. Raises Refused and Unavailable."""
    digest = hashlib.sha256()
    if size <= PART_BYTES:
        content = await worker.exactly(size)
        digest.update(content)
        await files.put(key, content)
    else:
        await _upload(files, key, worker, size, digest)
    if await files.size(key) != size:  # an earlier try stored them, with another version of a codec
        return await hash_stored(files, key)
    return size, digest.digest()


async def _upload(files: FileStore, key: str, worker: Worker, size: int, digest: Digest) -> None:
    upload_id = await files.begin(key)
    try:
        parts = []
        for number, start in enumerate(range(0, size, PART_BYTES), 1):
            part = min(PART_BYTES, size - start)
            parts.append(await files.write_part(key, upload_id, number, _Content(worker, part, digest), part))
        await files.finish(key, upload_id, parts)
    except NotFound:
        raise Unavailable("the upload of a picture was cancelled") from None
    except BaseException:  # trio.Cancelled too: only to cancel the upload; raised again
        with trio.move_on_after(CANCEL_SECONDS, shield=True), suppress(Unavailable):  # it would replace the cause
            await files.cancel(key, upload_id)
        raise
