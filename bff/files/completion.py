"""Completes uploads: joins parts, compares checksums, finds media types and viruses, and renders pictures.

A large file takes longer than a request may. So the work goes on without its caller, and a retry waits for its end.
Every step may be repeated, also by another process: until the archive has the file as complete, nobody can read it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
import trio

from bff.files.parts import bytes_of, parts_of, stored_parts
from bff.files.scanner import Scanner, ScannerAway
from bff.files.sniffing import HEAD_BYTES, sniff
from bff.http.problems import refusal_of_store
from bff.services import ArchiveQueries
from bff.work import FAULT, Work
from rookery.v1.archive_pb2 import (
    FILE_STATE_BLOCKED,
    FILE_STATE_COMPLETE,
    FILE_STATE_UPLOADING,
    CancelFileRequest,
    CompleteFileRequest,
    GetFilesRequest,
    StoredFile,
)
from rookery.v1.files_pb2 import FileRef
from shared.background import open_background
from shared.configuration.live import Live
from shared.contract.errors import Code, Refusal, Unavailable
from shared.files.keys import file_key, keys_of
from shared.files.protocol import FileStore, NotFound, hash_stored
from shared.net.turns import FILES
from shared.pictures.renditions import Pictures

AT_ONCE = 4
"""Files that a process reads at once to compare their checksums; others wait."""

MAX_WAITING = 1_000
"""Files that are completed or wait for it."""

MAX_OF_USER = 8
"""Files of one user that are completed at once, so that the slow pictures of one user do not hold up other users."""

MAX_NAMED = 20
"""Missing parts that a refusal names."""

NO_FILE = Refusal(Code.NOT_FOUND, "You have no such file.", field="file_id")

ENDED = Refusal(Code.NOT_FOUND, "This upload has ended: reserve the file again.", field="file_id")

_BUSY = Refusal(Code.UNAVAILABLE, "Too many files are completed now: try again soon.")

_MANY = Refusal(
    Code.RATE_LIMITED, f"At most {MAX_OF_USER} files of a user are completed at once.", retry_after_ms=1_000
)

_NO_SCANNER = Refusal(Code.UNAVAILABLE, "The virus scanner does not answer: try again soon.")

_GONE = "a file was deleted while it was completed"

_log = structlog.get_logger(__name__)


class Completions:
    """Made by `open_completions`."""

    def __init__(
        self,
        nursery: trio.Nursery,
        archive: ArchiveQueries,
        files: FileStore,
        pictures: Pictures,
        scanner: Scanner | None,
        live: Live,
    ) -> None:
        self._nursery = nursery
        self._archive = archive
        self._files = files
        self._pictures = pictures
        self._scanner = scanner
        self._live = live
        self._work: dict[tuple[int, int], Work[StoredFile]] = {}
        """By the user and the file."""
        self._readers = trio.CapacityLimiter(AT_ONCE)

    async def complete(self, user_id: int, file_id: int) -> StoredFile | Refusal:
        """Complete or block a file of the user, or return it if that is done. The work goes on if the caller is
        cancelled.

        Refuses `not_found`; `out_of_order` if parts are missing; `invalid` for another checksum and `forbidden` for a
        media type that is not allowed, which both end the upload; `rate_limited`; `unavailable`."""
        key = user_id, file_id
        work = self._work.get(key)
        if work is None:
            if len(self._work) >= MAX_WAITING:
                return _BUSY
            if sum(each == user_id for each, _ in self._work) >= MAX_OF_USER:
                return _MANY
            work = self._work[key] = Work()
            self._nursery.start_soon(self._run, key, work)
        await work.done.wait()
        return work.result

    async def _run(self, key: tuple[int, int], work: Work[StoredFile]) -> None:
        try:
            work.result = await self._complete(*key)
        except ScannerAway as error:
            _log.warning("scanner_unavailable", reason=str(error))
            work.result = _NO_SCANNER
        except Unavailable as error:
            work.result = refusal_of_store(error)
        except Exception as error:  # a fault of ours ends this completion, and not the BFF
            _log.error("completion_failed", file_id=str(key[1]), exc_info=error)
            work.result = FAULT
        finally:
            del self._work[key]
            work.done.set()

    async def _complete(self, user_id: int, file_id: int) -> StoredFile | Refusal:
        stored = await own_file(self._archive, user_id, file_id)
        if isinstance(stored, Refusal):
            return stored
        if stored.state == FILE_STATE_UPLOADING:
            completed = await self._join(stored) or await self._examine(stored) or await self._record(stored)
            if completed == ENDED:
                completed = await completed_elsewhere(self._archive, user_id, file_id)
            if isinstance(completed, Refusal):
                return completed
            stored = completed
        if stored.state == FILE_STATE_BLOCKED:
            await self._files.delete(keys_of(file_id))
        elif stored.rendition:
            await self._files.delete([file_key(file_id)])
        return stored

    async def _record(self, stored: StoredFile) -> StoredFile | Refusal:
        """Have the archive store the file as complete. Raises Unavailable."""
        answer = await self._archive.complete_file(CompleteFileRequest(file=stored))
        if not isinstance(answer, Refusal):
            return answer.file
        if answer.code is Code.NOT_FOUND:  # cancelled meanwhile
            await self._files.delete(keys_of(stored.file.file_id))
        return answer

    async def _join(self, stored: StoredFile) -> Refusal | None:
        """Join the parts. Raises Unavailable."""
        file, key = stored.file, file_key(stored.file.file_id)
        if not file.size:
            await self._files.put(key, b"")
            return None
        parts = await stored_parts(self._files, stored)
        if parts is None:
            return ENDED
        sizes = {part.number: part.size for part in parts}
        numbers = range(1, parts_of(file.size) + 1)
        if missing := [number for number in numbers if sizes.get(number) != bytes_of(file.size, number)]:
            named = ", ".join(map(str, missing[:MAX_NAMED]))
            count = f"{len(missing)} parts are missing" if len(missing) > 1 else "A part is missing"
            return Refusal(Code.OUT_OF_ORDER, f"{count}: {named}{', …' * (len(missing) > MAX_NAMED)}.", field="parts")
        if all(part.checksum for part in parts):  # else they are joined already
            try:
                await self._files.finish(key, stored.upload_id, parts)
            except NotFound:  # written again, joined or cancelled at this moment
                return Refusal(Code.UNAVAILABLE, "The upload has changed meanwhile: try again.")
        return None

    async def _examine(self, stored: StoredFile) -> Refusal | None:
        """Set the state, the checksum, the media type and the renditions. Raises Unavailable."""
        file = stored.file
        checksum, head = await self._read(file.file_id)
        if stored.sha256 not in (b"", checksum):
            return await self._reject(stored, Refusal(Code.INVALID, "The content has another checksum.", "sha256"))
        stored.sha256 = checksum
        file.media_type = sniff(head, is_voice=file.duration_ms > 0)
        if not is_allowed(file.media_type, self._live.value.allowed_file_types):
            message = f"Files of the type {file.media_type} can't be sent here."
            return await self._reject(stored, Refusal(Code.FORBIDDEN, message, "media_type"))
        if found := await self._scan(file.file_id):
            _log.warning("file_blocked", file_id=str(file.file_id), user_id=str(stored.owner_id), virus=found)
            stored.state = FILE_STATE_BLOCKED
            return None
        stored.state = FILE_STATE_COMPLETE
        made = await self._pictures.make_renditions(
            self._files,
            file.file_id,
            file.name,
            file.media_type,
            file.size,
            keep_original=stored.keep_original,
            max_bytes=self._live.value.max_file_bytes,
        )
        if made is not None:
            file.name, file.media_type, file.size = made.name, made.media_type, made.size
            file.width, file.height, file.thumbhash = made.width, made.height, made.thumbhash
            file.thumbnails[:] = made.thumbnails
            stored.rendition, stored.sha256 = made.rendition, made.sha256
        return None

    async def _read(self, file_id: int) -> tuple[bytes, bytes]:
        """Return the checksum and the first bytes of a file. Raises Unavailable."""
        head = b""

        async def take(chunk: bytes) -> None:
            nonlocal head
            head = head or chunk[:HEAD_BYTES]
            await FILES.take_piece()

        async with self._readers:
            _, checksum = await hash_stored(self._files, file_key(file_id), take)
        return checksum, head

    async def _scan(self, file_id: int) -> str:
        """Return the name of the virus in a file; empty without one. Raises Unavailable."""
        if self._scanner is None:
            return ""
        try:
            async with self._readers, self._files.read(file_key(file_id)) as chunks:
                return await self._scanner.scan(chunks)
        except NotFound:
            raise Unavailable(_GONE) from None

    async def _reject(self, stored: StoredFile, refusal: Refusal) -> Refusal:
        """Forget a file that can't be completed. Raises Unavailable."""
        file_id = stored.file.file_id
        answer = await self._archive.cancel_file(CancelFileRequest(user_id=stored.owner_id, file_id=file_id))
        if isinstance(answer, Refusal):
            return answer
        await self._files.delete(keys_of(file_id))
        return refusal


async def own_file(archive: ArchiveQueries, user_id: int, file_id: int) -> StoredFile | Refusal:
    """Return a file that the user owns."""
    answer = await archive.get_files(GetFilesRequest(user_id=user_id, files=[FileRef(file_id=file_id)]))
    if isinstance(answer, Refusal):
        return answer
    return next((stored for stored in answer.files if stored.owner_id == user_id), NO_FILE)


async def completed_elsewhere(archive: ArchiveQueries, user_id: int, file_id: int) -> StoredFile | Refusal:
    """Return a file whose parts are gone, if another process has completed it meanwhile; else refuse `ENDED`."""
    stored = await own_file(archive, user_id, file_id)
    if isinstance(stored, Refusal):
        return stored
    return ENDED if stored.state == FILE_STATE_UPLOADING else stored


def is_allowed(media_type: str, allowed: str) -> bool:
    """Whether a media type is in the list of `allowed_file_types`."""
    kind = media_type.partition("/")[0]
    return not {"*", media_type, f"{kind}/*"}.isdisjoint(allowed.split(","))


@asynccontextmanager
async def open_completions(
    archive: ArchiveQueries, files: FileStore, pictures: Pictures, scanner: Scanner | None, live: Live
) -> AsyncIterator[Completions]:
    """Complete uploads while the block is open. A retry completes an upload that runs when the block ends."""
    async with open_background() as nursery:
        yield Completions(nursery, archive, files, pictures, scanner, live)
