"""The store of files' bytes, under keys. A key is written once; its bytes are readable in whole or not at all.

Small bytes are written by `put`. Larger ones are uploaded in numbered parts, in any order, by any process, over days:

    upload_id = await files.begin(key)
    parts = [await files.write_part(key, upload_id, number, content, size), ...]
    await files.finish(key, upload_id, parts)

Every method raises Unavailable if the engine does not answer, and Full if it has no room. ValueError is a mistake of
the caller, and has no effect.
"""

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import Protocol

from shared.contract.errors import Unavailable

MIN_PART_BYTES = 5 << 20
"""Least size of each part but the last: the limit of S3."""

MAX_PART_BYTES = 64 << 20
"""Most bytes of one part, and of one `put`."""

PART_BYTES = 8 << 20
"""The size of the parts in which Rookery uploads a file; the last one may be smaller."""

MAX_PARTS = 10_000
"""Numbers of parts are 1 to this: the limit of S3."""

CHUNK_BYTES = 256 << 10
"""Most bytes of a chunk that is read: a reader's memory is a few chunks."""

MAX_NAME_BYTES = 255
"""Most bytes of the name that people see of a file, which is not its key: the limit of file systems."""

MAX_LISTED = 1_000
"""Most entries of one listing."""


class NotFound(Exception):
    """The store has no such key, upload or part."""


class Full(Unavailable):
    """The store has no room. Retries fail until somebody makes room."""


class Damaged(Unavailable):
    """The stored bytes are not the written ones. Retries fail."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stored part of an upload. The checksum is the store's own."""

    number: int
    size: int
    checksum: str


@dataclass(frozen=True, slots=True)
class Stored:
    """The bytes of a key, and when they became readable, in milliseconds since 1970."""

    key: str
    size: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload that is neither finished nor cancelled, and when it began, in milliseconds since 1970."""

    key: str
    upload_id: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class Opened(AsyncIterator[bytes]):
    """Bytes that are read, in chunks of at most CHUNK_BYTES. If it ends, it has yielded all `size` of them."""

    size: int
    chunks: AsyncIterator[bytes]

    def __anext__(self) -> Awaitable[bytes]:
        return self.chunks.__anext__()


class FileStore(Protocol):
    """Bytes under keys. `shared/files/keys.py` says which keys there are."""

    async def begin(self, key: str) -> str:
        """Begin an upload and return its id. Further uploads of the key may exist."""
        ...

    async def write_part(self, key: str, upload_id: str, number: int, content: AsyncIterator[bytes], size: int) -> Part:
        """Store a part of exactly `size` bytes, in place of an earlier part of this number. It is durable when this
        returns. Raises ValueError if the content has another size, and NotFound without the upload. Whatever is raised,
        also Cancelled, the part is stored in whole or not at all."""
        ...

    async def parts(self, key: str, upload_id: str) -> Sequence[Part]:
        """Return the stored parts, by number. Raises NotFound."""
        ...

    async def finish(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        """Join these parts, and end the upload: the bytes are durable, and readable at once, when this returns. A retry
        after success changes nothing. If the key has bytes, either those or these are stored. Raises NotFound without
        the upload or one of the parts."""
        ...

    async def cancel(self, key: str, upload_id: str) -> None:
        """End the upload and delete its parts. Without the upload it does nothing."""
        ...

    async def put(self, key: str, content: bytes) -> None:
        """Store the bytes, durably. If the key has bytes, either those or these are stored."""
        ...

    async def size(self, key: str) -> int | None:
        """Return the number of bytes; None without the key."""
        ...

    def read(self, key: str, start: int = 0, end: int | None = None) -> AbstractAsyncContextManager[Opened]:
        """Open the bytes from `start` to before `end`, by default to the last one. Positions behind the last byte are
        allowed. Raises NotFound, also from the iterator if the key is deleted meanwhile, and Damaged."""
        ...

    async def delete(self, keys: Collection[str]) -> None:
        """Delete the bytes of these keys. Keys without bytes are ignored."""
        ...

    async def keys(self, prefix: str = "", after: str = "", limit: int = MAX_LISTED) -> Sequence[Stored]:
        """Return the first `limit` keys above `after` that begin with the prefix, in ascending order. There may be
        more if there are `limit` of them."""
        ...

    async def uploads(self, before_ms: int, after: str = "", limit: int = MAX_LISTED) -> Sequence[Upload]:
        """Return the first `limit` uploads that began before this moment, of keys above `after`, in ascending order of
        the keys. There may be more if there are `limit` of them."""
        ...

    def signed_url(self, key: str, seconds: int, *, disposition: str, media_type: str) -> str | None:
        """Return a URL at which anybody can read the bytes for some seconds, with these values of the headers
        Content-Disposition and Content-Type. None if the store, or its settings, have no such URLs."""
        ...


async def hash_stored(
    store: FileStore, key: str, take: Callable[[bytes], Awaitable[None]] | None = None
) -> tuple[int, bytes]:
    """Return the number and the SHA-256 of the bytes of a key that must exist. Each chunk is passed to `take` before
    it is hashed. Raises Unavailable, also if the bytes are gone."""
    size, digest = 0, hashlib.sha256()
    try:
        async with store.read(key) as chunks:
            async for chunk in chunks:
                size += len(chunk)
                if take is not None:
                    await take(chunk)
                digest.update(chunk)  # a quarter of a millisecond, in the turn, if `take` has waited for one
    except NotFound:
        raise Unavailable(f"the bytes of {key} are gone") from None
    return size, digest.digest()


def check_part(number: int, size: int) -> None:
    """Raise ValueError unless a part may have this number and size."""
    if not 1 <= number <= MAX_PARTS:
        raise ValueError(f"part {number}: parts are numbered 1 to {MAX_PARTS}")
    if not 1 <= size <= MAX_PART_BYTES:
        raise ValueError(f"a part of {size} bytes: 1 to {MAX_PART_BYTES} are allowed")


def ordered(parts: Sequence[Part]) -> list[Part]:
    """Return the parts by number. Raises ValueError if they can't be joined."""
    parts = sorted(parts, key=lambda part: part.number)
    if not parts or len({part.number for part in parts}) < len(parts):
        raise ValueError("an upload is finished with one part or more, each number once")
    for part in parts:
        check_part(part.number, part.size)
    for part in parts[:-1]:
        if part.size < MIN_PART_BYTES:
            raise ValueError(f"part {part.number} has {part.size} bytes: all but the last need {MIN_PART_BYTES}")
    return parts


def check_put(content: bytes) -> None:
    """Raise ValueError for more than MAX_PART_BYTES."""
    if len(content) > MAX_PART_BYTES:
        raise ValueError(f"{len(content)} bytes: {MAX_PART_BYTES} at most")


def check_range(start: int, end: int | None) -> None:
    """Raise ValueError unless 0 <= start <= end."""
    if start < 0 or (end is not None and end < start):
        raise ValueError(f"no range: {start} to {end}")


def checked(content: AsyncIterator[bytes], size: int) -> AbstractAsyncContextManager[AsyncGenerator[bytes, None]]:
    """Open the content, joined to chunks of about CHUNK_BYTES. The iterator raises ValueError unless they have exactly
    `size` bytes in all; it never yields more."""
    return aclosing(_checked(content, size))


async def _checked(content: AsyncIterator[bytes], size: int) -> AsyncGenerator[bytes, None]:
    waiting: list[bytes] = []
    waiting_bytes, left = 0, size
    async for chunk in content:
        left -= len(chunk)
        if left < 0:
            raise ValueError(f"the content has more than the {size} bytes of the part")
        waiting.append(chunk)
        waiting_bytes += len(chunk)
        if waiting_bytes >= CHUNK_BYTES and left:
            yield b"".join(waiting)
            waiting, waiting_bytes = [], 0
    if left:
        raise ValueError(f"the content has {size - left} bytes instead of the {size} of the part")
    yield b"".join(waiting)
