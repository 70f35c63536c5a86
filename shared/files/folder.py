"""Files in a folder of this machine: the embedded default.

    stored/3fa/1234.file/00001-8388608-1a2b3c4d    the bytes of the key 3fa/1234, in their parts: number, size, CRC-32
    uploads/3fa+1234.18f3c0a2b4d-5e6f.../          an upload: its parts so far
    deleted/                                       folders that are being deleted

Each byte is written once: `finish` makes a folder of hard links to the parts, and renames it, which is atomic. A part
is written under a temporary name beside the others and renamed too, so a late writer never reaches a finished file.

All work is done in worker threads. A file system that hangs, such as one of a network, holds its callers: there is no
deadline. It must have hard links.
"""

import errno
import os
import re
import shutil
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Generator, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, closing, contextmanager, suppress
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice
from pathlib import Path
from secrets import token_hex
from typing import TypeVar, TypeVarTuple

import structlog
import trio

from shared.contract.errors import Unavailable
from shared.contract.ids import wall_clock_ms
from shared.files.keys import check_key
from shared.files.protocol import (
    CHUNK_BYTES,
    MAX_LISTED,
    Damaged,
    Full,
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

Arguments = TypeVarTuple("Arguments")
Result = TypeVar("Result")

THREADS = 8
"""Most concurrent operations of a store; more would only queue for the disk."""

FLUSH_BYTES = 1 << 20
"""Bytes of a part after which the disk begins to write them. Else all of a part are written at its end, and the commits
of other files of the disk wait for that."""

_SUFFIX = ".file"
"""The suffix of the folder with the bytes of a key: no key has a dot, so it is never taken for a part of
a longer key."""

_FULL = (errno.ENOSPC, errno.EDQUOT)

_PART = re.compile(r"(\d{5})-(\d+)-([0-9a-f]{8})")

_log = structlog.get_logger(__name__)

_UPLOAD_ID = re.compile(r"([0-9a-f]+)-[0-9a-f]{16}")
"""The id of an upload: the time of its beginning, in milliseconds since 1970, and a random suffix."""

_UPLOAD = re.compile(rf"([A-Za-z0-9_+-]+)\.({_UPLOAD_ID.pattern})")
"""The name of the folder of an upload."""


@dataclass(frozen=True, slots=True)
class Copied:
    """The number of keys in a copy of a folder, and of their bytes."""

    keys: int
    bytes: int


class FolderFiles:
    """A `FileStore`. Made by `open_folder_files`."""

    def __init__(self, root: Path) -> None:
        self._folder = _Folder(root)
        self._limiter = trio.CapacityLimiter(THREADS)

    async def begin(self, key: str) -> str:
        check_key(key)
        return await self._run(self._folder.begin, key)

    async def write_part(self, key: str, upload_id: str, number: int, content: AsyncIterator[bytes], size: int) -> Part:
        check_key(key)
        check_part(number, size)
        writer = await self._run(_PartWriter, self._folder.upload(key, upload_id), number)
        try:
            async with checked(content, size) as chunks:
                async for chunk in chunks:
                    await self._run(writer.write, chunk)
            return await self._run(writer.keep)
        finally:
            with trio.CancelScope(shield=True):
                await self._run(writer.close)

    async def parts(self, key: str, upload_id: str) -> Sequence[Part]:
        check_key(key)
        return await self._run(_parts, self._folder.upload(key, upload_id))

    async def finish(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        check_key(key)
        await self._run(self._folder.finish, key, upload_id, ordered(parts))

    async def cancel(self, key: str, upload_id: str) -> None:
        check_key(key)
        with suppress(NotFound):
            await self._run(self._folder.remove, [self._folder.upload(key, upload_id)])

    async def put(self, key: str, content: bytes) -> None:
        check_key(key)
        check_put(content)
        await self._run(self._folder.put, key, content)

    async def size(self, key: str) -> int | None:
        check_key(key)
        try:
            return sum(part.size for part in await self._run(_parts, self._folder.stored(key)))
        except NotFound:
            return None

    @asynccontextmanager
    async def read(self, key: str, start: int = 0, end: int | None = None) -> AsyncIterator[Opened]:
        check_key(key)
        check_range(start, end)
        stored = self._folder.stored(key)
        parts = await self._run(_parts, stored)
        size = sum(part.size for part in parts)
        with closing(_read(stored, parts, start, end)) as reader:
            async with aclosing(self._chunks(reader)) as chunks:
                yield Opened(len(range(size)[start:end]), chunks)

    async def delete(self, keys: Collection[str]) -> None:
        for key in keys:
            check_key(key)
        await self._run(self._folder.delete, keys)

    async def keys(self, prefix: str = "", after: str = "", limit: int = MAX_LISTED) -> Sequence[Stored]:
        return await self._run(self._folder.keys, prefix, after, min(limit, MAX_LISTED))

    async def uploads(self, before_ms: int, after: str = "", limit: int = MAX_LISTED) -> Sequence[Upload]:
        return await self._run(self._folder.uploads, before_ms, after, min(limit, MAX_LISTED))

    def signed_url(self, key: str, seconds: int, *, disposition: str, media_type: str) -> None:
        check_key(key)

    async def _chunks(self, reader: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
        while chunk := await self._run(next, reader, b""):
            yield chunk

    async def _run(self, work: Callable[[*Arguments], Result], *arguments: *Arguments) -> Result:
        """Do the work in a thread. A cancelled caller also waits until the thread has finished."""
        try:
            return await trio.to_thread.run_sync(work, *arguments, limiter=self._limiter)
        except OSError as error:
            raise _explained(error) from error


def copy_stored(source: Path, target: Path) -> Copied:
    """Copy the bytes of all keys from a folder to a new one, for a backup or its restore, while others use the source.
    Uploads are not copied, nor keys that are deleted meanwhile. Durable after a sync. Raises OSError."""
    old, new = _Folder(source), _Folder(target)
    keys = size = 0
    for stored in old.walk():
        copy = new.stored(stored.key)
        copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            shutil.copytree(old.stored(stored.key), copy)
        except (FileNotFoundError, shutil.Error):
            if old.stored(stored.key).exists():
                raise
            shutil.rmtree(copy, ignore_errors=True)
        else:
            keys, size = keys + 1, size + stored.size
    return Copied(keys, size)


def count_stored(root: Path) -> Copied:
    """Count the keys of a folder, and their bytes. Raises OSError, and Damaged for a part without all its bytes."""
    folder = _Folder(root)
    keys = size = 0
    for stored in folder.walk():
        path = folder.stored(stored.key)
        for part in _parts(path):
            if (path / _name(part)).stat().st_size != part.size:
                raise Damaged(f"part {part.number} of {stored.key} has not its {part.size} bytes")
        keys, size = keys + 1, size + stored.size
    return Copied(keys, size)


class _Folder:
    """The folder, without Trio. Its methods run in any thread, several at once, and in several processes."""

    def __init__(self, root: Path) -> None:
        self._stored = root / "stored"
        self._uploads = root / "uploads"
        self._deleted = root / "deleted"

    def prepare(self) -> None:
        """Create the folders, and delete the ones that a killed process was deleting."""
        for folder in (self._stored, self._uploads, self._deleted):
            _make(folder)
        for left in self._deleted.iterdir():
            shutil.rmtree(left, ignore_errors=True)

    def stored(self, key: str) -> Path:
        return self._stored / f"{key}{_SUFFIX}"

    def upload(self, key: str, upload_id: str) -> Path:
        if not _UPLOAD_ID.fullmatch(upload_id):
            raise NotFound(f"no upload {upload_id!r} of {key}")
        return self._uploads / f"{key.replace('/', '+')}.{upload_id}"

    def begin(self, key: str) -> str:
        upload_id = f"{wall_clock_ms():x}-{token_hex(8)}"
        self.upload(key, upload_id).mkdir(mode=0o700)
        sync(self._uploads)
        return upload_id

    def finish(self, key: str, upload_id: str, parts: Sequence[Part]) -> None:
        upload, stored = self.upload(key, upload_id), self.stored(key)
        names = [_name(part) for part in parts]
        if not all(map(_PART.fullmatch, names)):
            raise NotFound(f"no such parts of {key}")
        whole = upload / f"whole-{token_hex(8)}"
        try:
            whole.mkdir(mode=0o700)
            for name in names:
                os.link(upload / name, whole / name)
            sync(whole)
            self._place(whole, stored)
        except FileNotFoundError as error:
            if {_name(part) for part in _parts(stored)} != set(names):  # else this is a retry
                raise NotFound(f"no upload {upload_id} of {key} with all of its parts") from error
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # stored already
                raise
        sync(stored.parent)
        self.remove([upload])

    def _place(self, whole: Path, stored: Path) -> None:
        """Rename the whole file, in a folder that `delete` may remove meanwhile. Raises FileNotFoundError if the upload
        has ended."""
        while True:
            _make(stored.parent)
            try:
                os.rename(whole, stored)
            except FileNotFoundError:
                if not whole.exists():
                    raise
            else:
                return

    def put(self, key: str, content: bytes) -> None:
        upload_id = self.begin(key)
        writer = _PartWriter(self.upload(key, upload_id), 1)
        try:
            writer.write(content)
            self.finish(key, upload_id, [writer.keep()])
        finally:
            writer.close()

    def remove(self, folders: Sequence[Path]) -> None:
        """Delete the folders, each at once for readers."""
        for folder in folders:
            condemned = self._deleted / token_hex(8)
            with suppress(FileNotFoundError):
                os.rename(folder, condemned)
                shutil.rmtree(condemned, ignore_errors=True)

    def delete(self, keys: Collection[str]) -> None:
        """Delete the keys, and their folders that have no other key: each user and group has one for its avatars."""
        stored = [self.stored(key) for key in keys]
        self.remove(stored)
        for folder in {path.parent for path in stored} - {self._stored}:
            with suppress(OSError):  # it has other keys, or is deleted already
                folder.rmdir()

    def keys(self, prefix: str, after: str, limit: int) -> list[Stored]:
        return list(islice(self.walk(prefix, after), limit))

    def uploads(self, before_ms: int, after: str, limit: int) -> list[Upload]:
        matches = filter(None, map(_UPLOAD.fullmatch, os.listdir(self._uploads)))
        found = (Upload(match[1].replace("+", "/"), match[2], int(match[3], 16)) for match in matches)
        wanted = (upload for upload in found if upload.at_ms < before_ms and upload.key > after)
        return nsmallest(limit, wanted, key=lambda upload: upload.key)

    def walk(self, prefix: str = "", after: str = "") -> Iterator[Stored]:
        """The keys above `after` that begin with the prefix, in ascending order."""
        return self._walk(self._stored, "", prefix, after) if self._stored.exists() else iter(())

    def _walk(self, folder: Path, base: str, prefix: str, after: str) -> Iterator[Stored]:
        """The keys below a folder, whose keys begin with `base`, in ascending order."""
        for name in _names(folder):
            key = base + name
            if name.endswith("/"):
                if (key.startswith(prefix) or prefix.startswith(key)) and (key > after or after.startswith(key)):
                    yield from self._walk(folder / name, key, prefix, after)
            elif key.startswith(prefix) and key > after:
                with suppress(FileNotFoundError, NotFound):  # deleted meanwhile
                    path = self.stored(key)
                    at_ms = path.stat().st_mtime_ns // 1_000_000
                    yield Stored(key, sum(part.size for part in _parts(path)), at_ms)


class _PartWriter:
    """Writes a part of an upload."""

    def __init__(self, upload: Path, number: int) -> None:
        """Raises NotFound without the upload."""
        self._upload = upload
        self._number = number
        self._temporary = upload / f"part-{token_hex(8)}"
        self._size = 0
        self._flushed = 0
        self._crc = 0
        self._earlier = list(upload.glob(f"{number:05}-*"))
        with _of_upload(upload):
            self._file = open(self._temporary, "xb", buffering=0, opener=_private)  # noqa: SIM115 - see close()

    def write(self, chunk: bytes) -> None:
        left = memoryview(chunk)
        while left:
            left = left[self._file.write(left) :]
        self._size += len(chunk)
        self._crc = zlib.crc32(chunk, self._crc)
        if self._size - self._flushed >= FLUSH_BYTES:
            self._begin_flush()

    def _begin_flush(self) -> None:
        """Start the write of the bytes that are not on the disk yet, without a wait for its end."""
        begin, self._flushed = self._flushed, self._size
        if hasattr(os, "posix_fadvise"):  # not on macOS
            with suppress(OSError):  # a file system may have no use for advice
                os.posix_fadvise(self._file.fileno(), begin, self._flushed - begin, os.POSIX_FADV_DONTNEED)

    def keep(self) -> Part:
        """Make it a part of the upload, durably, and delete the earlier ones of its number. Raises NotFound if the
        upload has ended."""
        part = Part(self._number, self._size, f"{self._crc:08x}")
        path = self._upload / _name(part)
        os.fsync(self._file.fileno())
        with _of_upload(self._upload):
            os.rename(self._temporary, path)
            sync(self._upload)
        for earlier in self._earlier:
            if earlier != path:
                earlier.unlink(missing_ok=True)
        return part

    def close(self) -> None:
        """Close it, and delete it unless it was kept."""
        self._file.close()
        self._temporary.unlink(missing_ok=True)


def _read(stored: Path, parts: Sequence[Part], start: int, end: int | None) -> Generator[bytes, None, None]:
    """Yield a range of the bytes in chunks. A part that is read in whole is compared with its checksum before its last
    chunk is yielded. Raises NotFound if the bytes are deleted meanwhile, and Damaged."""
    offset = 0
    for part in parts:
        first = max(start - offset, 0)
        last = part.size if end is None else min(end - offset, part.size)
        offset += part.size
        if first >= last:
            continue
        try:
            file = open(stored / _name(part), "rb", buffering=0)  # noqa: SIM115 - closed below
        except FileNotFoundError:
            raise NotFound(f"{stored.name} was deleted") from None
        with file:
            file.seek(first)
            left, crc = last - first, 0
            while left:
                size = min(CHUNK_BYTES, left)
                chunk = file.read(size)
                crc = zlib.crc32(chunk, crc)
                left -= len(chunk)
                is_whole = not left and first == 0 and last == part.size
                if len(chunk) < size or (is_whole and f"{crc:08x}" != part.checksum):
                    _log.error("file_damaged", path=str(stored / _name(part)))
                    raise Damaged(f"part {part.number} of {stored.name} is not as it was written")
                yield chunk


def _parts(folder: Path) -> list[Part]:
    """Return the parts in the folder of an upload, or of a key, by number. Raises NotFound.

    Writers of one number at once may leave several parts: each is whole, and any of them counts."""
    try:
        matches = map(_PART.fullmatch, os.listdir(folder))
    except FileNotFoundError:
        raise NotFound(f"no {folder.name}") from None
    parts = {int(match[1]): Part(int(match[1]), int(match[2]), match[3]) for match in matches if match}
    return [parts[number] for number in sorted(parts)]


def _name(part: Part) -> str:
    return f"{part.number:05}-{part.size}-{part.checksum}"


def _names(folder: Path) -> list[str]:
    """Return the last parts of the keys in a folder, in their order; those of folders end with a slash."""
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.is_dir()]
    except FileNotFoundError:  # deleted meanwhile, without a key in it
        return []
    return sorted(name.removesuffix(_SUFFIX) if name.endswith(_SUFFIX) else f"{name}/" for name in names)


@contextmanager
def _of_upload(upload: Path) -> Iterator[None]:
    """Raise NotFound if the block finds no file, since the upload has ended."""
    try:
        yield
    except FileNotFoundError:
        raise NotFound(f"no upload {upload.name}") from None


def _make(folder: Path) -> None:
    """Create a folder and its parents, durably."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync(folder.parent)


def sync(path: Path) -> None:
    """Make a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _explained(error: OSError) -> Unavailable:
    kind = Full if error.errno in _FULL else Unavailable
    return kind(f"the folder of files can't be used: {error}")


@asynccontextmanager
async def open_folder_files(root: Path) -> AsyncIterator[FolderFiles]:
    """Open the folder, and create it if necessary. Raises Unavailable if it can't be used."""
    try:
        await trio.to_thread.run_sync(_Folder(root).prepare)
    except OSError as error:
        raise _explained(error) from error
    yield FolderFiles(root)
