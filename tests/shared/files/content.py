"""Contents of files, as bytes and as streams."""

import random
from collections.abc import AsyncIterator, Sequence

import trio

from shared.files.protocol import FileStore, Part


def content_of(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


class Stream:
    """Yields a content in chunks of a request's body. It is no generator, which would have to be closed."""

    def __init__(self, content: bytes, chunk: int = 60_000) -> None:
        self._chunks = iter([content[at : at + chunk] for at in range(0, len(content), chunk)])

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        await trio.lowlevel.checkpoint()
        for chunk in self._chunks:
            return chunk
        raise StopAsyncIteration


async def write(files: FileStore, key: str, upload_id: str, number: int, content: bytes) -> Part:
    return await files.write_part(key, upload_id, number, Stream(content), len(content))


async def store(files: FileStore, key: str, contents: Sequence[bytes]) -> None:
    """Upload the parts of a file, and finish it."""
    upload_id = await files.begin(key)
    parts = [await write(files, key, upload_id, number + 1, content) for number, content in enumerate(contents)]
    await files.finish(key, upload_id, parts)


async def read(files: FileStore, key: str, start: int = 0, end: int | None = None) -> bytes:
    async with files.read(key, start, end) as chunks:
        return b"".join([chunk async for chunk in chunks])
