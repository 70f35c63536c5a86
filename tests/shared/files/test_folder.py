"""Faults of the folder: a full disk, a killed process, damage, late writers."""

import errno
import itertools
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shared.contract.errors import Unavailable
from shared.files import folder
from shared.files.folder import Copied, copy_stored, count_stored, open_folder_files
from shared.files.protocol import CHUNK_BYTES, MIN_PART_BYTES, Damaged, Full, NotFound, Part
from tests.shared.files.content import Stream, content_of, read, store, write

KEY = "3fa/1234"

FIRST, LAST = content_of(MIN_PART_BYTES, 1), content_of(70_000, 2)


def found(folder: Path, pattern: str) -> list[Path]:
    return list(folder.glob(pattern))


class Killed(Exception):
    """The process has ended: it makes no further call."""


class Dying:
    """The module `os`, whose calls that change something fail from the nth on."""

    def __init__(self, calls: int, failure: Exception) -> None:
        self.left = calls
        self._failure = failure

    def __getattr__(self, name: str) -> Any:
        original = getattr(os, name)
        if name not in ("fsync", "link", "rename", "open"):
            return original

        def call(*arguments: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left < 0:
                raise self._failure
            return original(*arguments, **named)

        return call


async def test_a_process_that_is_killed_at_any_call_leaves_the_file_whole_or_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for calls in range(100):
        async with open_folder_files(tmp_path / "files") as files:
            key = f"{KEY}-{calls}"
            upload_id = await files.begin(key)
            parts = [await write(files, key, upload_id, 1, FIRST)]
            dying = Dying(calls, Killed())
            monkeypatch.setattr(folder, "os", dying)
            monkeypatch.setattr(shutil, "rmtree", _remove_while(dying))
            try:
                parts.append(await write(files, key, upload_id, 2, LAST))
                await files.finish(key, upload_id, parts)
            except Killed:
                pass
            monkeypatch.undo()
        async with open_folder_files(tmp_path / "files") as files:
            if await files.size(key) is not None:
                assert await read(files, key) == FIRST + LAST
            else:
                assert parts[0] in await files.parts(key, upload_id)
                parts = [parts[0], await write(files, key, upload_id, 2, LAST)]
            await files.finish(key, upload_id, parts)
            assert await read(files, key) == FIRST + LAST
        if dying.left >= 0:
            return
    pytest.fail("it never ended")


async def test_the_disk_begins_to_write_a_large_part_before_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Linux; elsewhere it is written at the end."""
    ranges: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "posix_fadvise", lambda _, begin, size, advice: ranges.append((begin, size)), raising=False)
    monkeypatch.setattr(os, "POSIX_FADV_DONTNEED", 4, raising=False)
    async with open_folder_files(tmp_path) as files:
        upload_id = await files.begin(KEY)
        await write(files, KEY, upload_id, 1, bytes(8 * folder.FLUSH_BYTES + 1))
    assert len(ranges) >= 6
    assert [begin for begin, _ in ranges] == [0, *itertools.accumulate(size for _, size in ranges[:-1])]


async def test_an_upload_is_gone_once_it_is_finished_however_long_its_removal_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a process that is killed in it leaves some of the parts, and a retry finds an incomplete upload."""
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    async with open_folder_files(tmp_path) as files:
        upload_id = await files.begin(KEY)
        parts = [await write(files, KEY, upload_id, 1, LAST)]
        await files.finish(KEY, upload_id, parts)
        with pytest.raises(NotFound):
            await files.parts(KEY, upload_id)
        await files.finish(KEY, upload_id, parts)
        assert await read(files, KEY) == LAST


def _remove_while(dying: Dying) -> Callable[..., None]:
    original = shutil.rmtree

    def remove(path: Path, *, ignore_errors: bool) -> None:
        if dying.left > 0:
            original(path, ignore_errors=ignore_errors)

    return remove


@pytest.mark.parametrize(("number", "error"), [(errno.ENOSPC, Full), (errno.EDQUOT, Full), (errno.EIO, Unavailable)])
async def test_a_disk_that_fails_stores_nothing_half(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Unavailable]
) -> None:
    async with open_folder_files(tmp_path) as files:
        upload_id = await files.begin(KEY)
        part = await write(files, KEY, upload_id, 1, LAST)
        for calls in range(4):
            monkeypatch.setattr(folder, "os", Dying(calls, OSError(number, os.strerror(number))))
            with pytest.raises(Unavailable) as raised:
                await write(files, KEY, upload_id, 2, LAST)
            with pytest.raises(error):
                await files.put("3fa/put", LAST)
            monkeypatch.undo()
            assert type(raised.value) is error
            assert os.strerror(number) in str(raised.value)
            assert await files.size("3fa/put") is None
            assert found(tmp_path, "uploads/*/part-*") == []
        with pytest.raises(ValueError, match="5242880"):
            await files.finish(KEY, upload_id, [part, Part(2, len(LAST), part.checksum)])
        await files.finish(KEY, upload_id, [part])
        assert await read(files, KEY) == LAST


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"\0" + data[1:], lambda data: b""])
async def test_damage_is_found_before_the_last_chunk(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    async with open_folder_files(tmp_path) as files:
        await store(files, KEY, [FIRST, LAST])
        (path,) = found(tmp_path, "stored/3fa/1234.file/00001-*")
        path.write_bytes(damage(FIRST))
        received = 0

        async def receive() -> None:
            nonlocal received
            async with files.read(KEY) as chunks:
                async for chunk in chunks:
                    received += len(chunk)

        with pytest.raises(Damaged):
            await receive()
        assert received <= MIN_PART_BYTES - CHUNK_BYTES
        assert await read(files, KEY, MIN_PART_BYTES) == LAST


async def test_a_late_writer_does_not_reach_a_finished_file(tmp_path: Path) -> None:
    async with open_folder_files(tmp_path) as files:
        upload_id = await files.begin(KEY)
        part = await write(files, KEY, upload_id, 1, LAST)

        class Late(Stream):
            async def __anext__(self) -> bytes:
                if await files.size(KEY) is None:
                    await files.finish(KEY, upload_id, [part])
                return await super().__anext__()

        with pytest.raises(NotFound):
            await files.write_part(KEY, upload_id, 1, Late(FIRST), len(FIRST))
        assert await read(files, KEY) == LAST
        assert len(found(tmp_path, "stored/3fa/1234.file/*")) == 1
        assert found(tmp_path, "uploads/*") == []


async def test_files_are_private_and_what_others_left_does_no_harm(tmp_path: Path) -> None:
    root = tmp_path / "data" / "files"
    for stray in ("deleted/left", "uploads/stray", "stored/3fa"):
        (root / stray / "over").mkdir(parents=True)
    (root / "stored" / ".stray").write_text("")
    async with open_folder_files(root) as files:
        await files.put(KEY, LAST)
        assert [stored.key for stored in await files.keys()] == [KEY]
        assert await files.uploads(1 << 60) == []
    assert found(root, "deleted/*") == []
    (path,) = found(root, "stored/3fa/1234.file/*")
    assert [path.stat().st_mode & 0o077, path.parent.stat().st_mode & 0o077] == [0, 0]


async def test_a_folder_that_can_not_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "files").write_text("")
    with pytest.raises(Unavailable, match="files"):
        async with open_folder_files(tmp_path / "files"):
            pass


async def test_a_copy_leaves_out_what_is_deleted_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_folder_files(tmp_path / "old") as old, open_folder_files(tmp_path / "new") as new:
        for key in ("a/1", "a/2", "b/3"):
            await old.put(key, key.encode())
        copy = shutil.copytree

        def delete_first(source: Path, target: Path) -> None:
            if source.name == "2.file":
                shutil.rmtree(source)
            copy(source, target)

        monkeypatch.setattr(shutil, "copytree", delete_first)
        assert copy_stored(tmp_path / "old", tmp_path / "new") == Copied(2, 6) == count_stored(tmp_path / "new")
        assert [await read(new, key) for key in ("a/1", "b/3")] == [b"a/1", b"b/3"]
        assert [each.key for each in await new.keys()] == ["a/1", "b/3"]


async def test_a_folder_goes_with_its_last_key(tmp_path: Path) -> None:
    async with open_folder_files(tmp_path) as files:
        for key in ("avatars/7/x-96", "avatars/7/y-96", "avatars/8/z-96", "top"):
            await files.put(key, LAST)
        await files.delete(["avatars/7/x-96", "avatars/8/z-96", "avatars/9/never"])
        assert [path.name for path in found(tmp_path, "stored/avatars/*")] == ["7"]
        await files.delete(["avatars/7/y-96", "top"])
        assert found(tmp_path, "stored/avatars/*") == []
        assert await files.keys() == []


async def test_a_folder_may_go_while_a_key_is_placed_in_it_and_while_it_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, listed = folder._make, folder._names
    doomed = tmp_path / "stored" / "3fa"

    def make_in_vain(path: Path) -> None:
        make(path)
        if path == doomed:
            monkeypatch.undo()
            path.rmdir()

    def delete_after(path: Path) -> list[str]:
        names = listed(path)
        monkeypatch.undo()
        shutil.rmtree(doomed)
        return names

    async with open_folder_files(tmp_path) as files:
        monkeypatch.setattr(folder, "_make", make_in_vain)
        await files.put(KEY, LAST)
        assert await read(files, KEY) == LAST
        await files.put("b/3", LAST)
        monkeypatch.setattr(folder, "_names", delete_after)
        assert [each.key for each in await files.keys()] == ["b/3"]
