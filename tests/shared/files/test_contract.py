"""The promises of `shared.files.protocol`, on every engine."""

import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import trio

from shared.contract.ids import wall_clock_ms
from shared.files.protocol import CHUNK_BYTES, MIN_PART_BYTES, FileStore, NotFound, Part
from tests.shared.files.conftest import OpenFiles
from tests.shared.files.content import Stream, content_of, read, store, write
from tests.stepping import cancel_at_step, is_below

KEY = "3fa/1234"

FIRST, LAST = content_of(MIN_PART_BYTES, 1), content_of(300_000, 2)

SMALL = content_of(70_000)


async def test_parts_come_in_any_order_from_any_process_and_are_readable_once_finished(open_files: OpenFiles) -> None:
    async with open_files() as ours, open_files() as theirs:
        upload_id = await ours.begin(KEY)
        last = await write(theirs, KEY, upload_id, 7, LAST)
        first = await write(ours, KEY, upload_id, 2, FIRST)
        assert await ours.parts(KEY, upload_id) == await theirs.parts(KEY, upload_id) == [first, last]
        assert (first.number, first.size, last.number, last.size) == (2, len(FIRST), 7, len(LAST))
        assert await ours.size(KEY) is None
        with pytest.raises(NotFound):
            await read(ours, KEY)

        await theirs.finish(KEY, upload_id, [last, first])
        assert await ours.size(KEY) == len(FIRST) + len(LAST)
        assert await read(ours, KEY) == FIRST + LAST


async def test_a_part_replaces_an_earlier_one_of_its_number(files: FileStore) -> None:
    upload_id = await files.begin(KEY)
    former = await write(files, KEY, upload_id, 1, content_of(9, 3))
    part = await write(files, KEY, upload_id, 1, SMALL)
    assert await files.parts(KEY, upload_id) == [part]
    with pytest.raises(NotFound):
        await files.finish(KEY, upload_id, [former])
    await files.finish(KEY, upload_id, [part])
    assert await read(files, KEY) == SMALL


@pytest.mark.parametrize("size", [len(SMALL) - 1, len(SMALL) + 1])
async def test_a_part_of_another_size_is_not_stored(files: FileStore, size: int) -> None:
    upload_id = await files.begin(KEY)
    with pytest.raises(ValueError, match=str(size)):
        await files.write_part(KEY, upload_id, 1, Stream(SMALL), size)
    assert await files.parts(KEY, upload_id) == []


async def test_parts_that_can_not_be_joined_are_refused(files: FileStore) -> None:
    upload_id = await files.begin(KEY)
    part = await write(files, KEY, upload_id, 1, SMALL)
    for parts in ([], [part, part], [part, Part(2, 1, part.checksum)], [Part(10_001, 5, part.checksum)]):
        with pytest.raises(ValueError, match="part"):
            await files.finish(KEY, upload_id, parts)
    for number, size in ((0, 1), (10_001, 1), (1, 0), (1, 65 << 20)):
        with pytest.raises(ValueError, match="part"):
            await files.write_part(KEY, upload_id, number, Stream(b""), size)
    with pytest.raises(NotFound):
        await files.finish(KEY, upload_id, [Part(1, part.size, "../../1")])
    assert await files.size(KEY) is None


async def test_an_upload_ends_when_it_is_finished_or_cancelled(files: FileStore) -> None:
    finished, cancelled = [await files.begin(KEY) for _ in range(2)]
    part = await write(files, KEY, finished, 1, SMALL)
    await write(files, KEY, cancelled, 1, LAST)
    listed = [upload.upload_id for upload in await files.uploads(wall_clock_ms() + 60_000)]
    assert sorted(listed) == sorted([finished, cancelled])
    assert await files.uploads(0) == []

    await files.finish(KEY, finished, [part])
    for _ in range(2):
        await files.cancel(KEY, cancelled)
    assert await files.uploads(wall_clock_ms() + 60_000) == []
    for upload_id in (finished, cancelled, "unknown", "../../x"):
        with pytest.raises(NotFound):
            await write(files, KEY, upload_id, 1, SMALL)
        with pytest.raises(NotFound):
            await files.parts(KEY, upload_id)
    for key, missing in (("3fa/other", part), (KEY, Part(1, 5, part.checksum))):
        with pytest.raises(NotFound):
            await files.finish(key, cancelled, [missing])
    assert await read(files, KEY) == SMALL


async def test_finishing_twice_and_at_once_is_finishing_once(open_files: OpenFiles) -> None:
    async with open_files() as ours, open_files() as theirs:
        for number in range(5):
            key = f"{KEY}-{number}"
            upload_id = await ours.begin(key)
            part = await write(ours, key, upload_id, 1, SMALL)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ours.finish, key, upload_id, [part])
                nursery.start_soon(theirs.finish, key, upload_id, [part])
            await ours.finish(key, upload_id, [part])
            assert await read(theirs, key) == SMALL


@pytest.mark.parametrize(
    ("start", "end"),
    [(0, 1), (5, None), (MIN_PART_BYTES - 3, MIN_PART_BYTES + 3), (MIN_PART_BYTES, 1 << 40), (1 << 40, None), (7, 7)],
)
async def test_ranges(files: FileStore, start: int, end: int | None) -> None:
    await store(files, KEY, [FIRST, LAST])
    expected = (FIRST + LAST)[start:end]
    async with files.read(KEY, start, end) as opened:
        assert opened.size == len(expected)
        assert b"".join([chunk async for chunk in opened]) == expected
    with pytest.raises(NotFound):
        await read(files, "absent", start, end)
    for wrong in ((-1, None), (2, 1)):
        with pytest.raises(ValueError, match="range"):
            await read(files, KEY, *wrong)


async def test_bytes_that_are_put_are_readable(files: FileStore) -> None:
    for content in (b"", b"1", FIRST):
        await files.put(f"{KEY}-{len(content)}", content)
        assert await files.size(f"{KEY}-{len(content)}") == len(content)
        async with files.read(f"{KEY}-{len(content)}") as opened:
            assert opened.size == len(content)
            assert b"".join([chunk async for chunk in opened]) == content
    await files.put(KEY, b"one")
    await files.put(KEY, b"two")
    assert await read(files, KEY) in (b"one", b"two")
    assert await files.uploads(wall_clock_ms() + 60_000) == []


async def test_keys_are_listed_in_ascending_order_page_by_page(files: FileStore) -> None:
    before = wall_clock_ms()
    keys = sorted(["a", "a-b", "a/b", "a/b/c", "a/b-c", "a/x", "a0", "b/1", "b/12", "Z", "_"])
    for key in keys:
        await files.put(key, key.encode())
    await files.begin("a/upload")
    everything = await files.keys()
    assert [(stored.key, stored.size) for stored in everything] == [(key, len(key)) for key in keys]
    assert all(before - 2_000 < stored.at_ms < wall_clock_ms() + 2_000 for stored in everything)
    for after in ["", *keys, "a/", "zz", "A"]:
        for prefix in ("", "a", "a/b", "a/b/", "b/1", "c"):
            expected = [key for key in keys if key > after and key.startswith(prefix)]
            assert [stored.key for stored in await files.keys(prefix, after, 3)] == expected[:3]


async def test_uploads_are_listed_in_the_order_of_their_keys_page_by_page(files: FileStore) -> None:
    keys = ["a/1", "b", "b-2", "b/1", "c"]
    for key in reversed(keys):
        await files.begin(key)
    later_ms = wall_clock_ms() + 60_000
    for after in ("", "a", "b", "b-", "c"):
        listed = await files.uploads(later_ms, after, 2)
        assert [upload.key for upload in listed] == [key for key in keys if key > after][:2]


async def test_deleted_bytes_are_gone_and_their_reader_gets_all_or_an_error(files: FileStore) -> None:
    for key in ("one", "two", "kept"):
        await store(files, key, [FIRST, LAST])
    async with files.read("one") as chunks:
        received = [await anext(chunks)]
        await files.delete(["one", "two", "absent"])
        try:
            received += [chunk async for chunk in chunks]
        except NotFound:
            pass
        else:
            assert b"".join(received) == FIRST + LAST
    assert [await files.size(key) for key in ("one", "two", "kept")] == [None, None, len(FIRST) + len(LAST)]
    await files.delete([])


@pytest.mark.parametrize("key", ["", "..", "a/../b", "/a", "a/", "a//b", "a.file", "a\n", "a\0b", "ä", "a" * 300])
async def test_invalid_keys_are_refused(files: FileStore, key: str) -> None:
    part = Part(1, 1, "00000000")
    calls: list[Callable[[], Awaitable[object]]] = [
        lambda: files.begin(key),
        lambda: write(files, key, "id", 1, b"1"),
        lambda: files.parts(key, "id"),
        lambda: files.finish(key, "id", [part]),
        lambda: files.cancel(key, "id"),
        lambda: files.put(key, b"1"),
        lambda: files.size(key),
        lambda: read(files, key),
        lambda: files.delete(["fine", key]),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="key"):
            await call()
    with pytest.raises(ValueError, match="key"):
        files.signed_url(key, 1, disposition="inline", media_type="text/plain")


async def test_a_caller_that_is_cancelled_at_any_step_leaves_nothing_half(files: FileStore) -> None:
    """Cancelled at each step in turn, until it is done: keys and parts are there in whole or not at all."""

    async def upload() -> None:
        await files.put(f"{step}/put", SMALL)
        await store(files, f"{step}/upload", [SMALL])

    step = 1
    while await cancel_at_step(step, is_below(trio.lowlevel.current_task()), upload):
        step += 1
    keys = [stored.key for stored in await files.keys()]
    assert {f"{step}/put", f"{step}/upload"} <= set(keys)
    assert "1/upload" not in keys
    for key in keys:
        assert await read(files, key) == SMALL
    uploads = await files.uploads(wall_clock_ms() + 60_000)
    assert uploads
    for left in uploads:
        assert [part.size for part in await files.parts(left.key, left.upload_id)] in ([], [len(SMALL)])


async def test_writing_and_reading_hold_a_few_chunks_in_memory(files: FileStore) -> None:
    size = 32 * CHUNK_BYTES
    chunk = bytes(CHUNK_BYTES // 4)

    class Zeros(Stream):
        async def __anext__(self) -> bytes:
            self.left = getattr(self, "left", size) - len(chunk)
            if self.left < 0:
                raise StopAsyncIteration
            return bytes(len(chunk))

    upload_id = await files.begin(KEY)
    tracemalloc.start()
    try:
        part = await files.write_part(KEY, upload_id, 1, Zeros(b""), size)
        await files.finish(KEY, upload_id, [part])
        received = 0
        async with files.read(KEY) as chunks:
            async for read_chunk in chunks:
                assert 0 < len(read_chunk) <= CHUNK_BYTES
                received += len(read_chunk)
        assert received == size
        assert tracemalloc.get_traced_memory()[1] < 8 * CHUNK_BYTES
    finally:
        tracemalloc.stop()


async def test_a_reader_may_stop_early(files: FileStore) -> None:
    await store(files, KEY, [FIRST, LAST])
    async with files.read(KEY) as chunks:
        assert isinstance(chunks, AsyncIterator)
        assert FIRST.startswith(await anext(chunks))
