"""Uploads: `/v1/files`. A file is reserved, its parts are sent in any order, and then it is completed."""

from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager

import trio
from werkzeug.routing import BaseConverter

from bff.files.completion import ENDED, completed_elsewhere, own_file
from bff.files.models import File, NewFile
from bff.files.parts import bytes_of, parts_of, stored_parts
from bff.http.bodies import Content, StreamedBody, TooSlow, slowest
from bff.http.endpoints import Response, endpoint
from bff.services import Services
from rookery.v1.archive_pb2 import FILE_STATE_UPLOADING, CancelFileRequest, ReserveFileRequest, StoredFile
from rookery.v1.files_pb2 import FileInfo
from shared.accounts.tokens import Claims
from shared.contract.errors import Code, Refusal
from shared.files.keys import file_key, keys_of
from shared.files.protocol import NotFound
from shared.pictures.renditions import as_jpeg
from shared.throttle import HOUR, Throttle, too_many

PART_SECONDS = 600.0
"""Seconds from the head of a request with a part to its response: 8 MiB at 14 KB a second."""

MAX_PARTS_OF_USER = 16
"""Parts of one user that a process receives at once."""

MAX_PARTS = 256
"""Parts that a process receives at once: each needs up to 0.7 MB while the store is slower than its client."""

SLOW_SECONDS = 20.0
"""Seconds for which the client of a part was waited for, after which it may make room for another: a client with half
a megabyte a second has sent its part by then."""

_TOO_MANY = Refusal(Code.UNAVAILABLE, "Too many files are uploaded now: try again soon.")

_UNKNOWN_OUTCOME = (Code.UNAVAILABLE, Code.TIMED_OUT, Code.INTERNAL)
"""Refusals after which a file may be reserved all the same."""


class FileId(BaseConverter):
    """A file's id in a path. `links` is none: its path has a meaning of its own, and other methods."""

    regex = "(?!links$)[^/]+"


class Uploads:
    """Reserve, upload, complete and cancel files."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._archive = services.archive
        self._files = services.files
        self._receiving: dict[int, dict[trio.CancelScope, StreamedBody]] = {}
        """The parts that are received, by user, the oldest first."""
        self._reservations = Throttle(period=HOUR)

    @endpoint("POST", "/v1/files", File, status=201)
    async def reserve_file(self, claims: Claims, body: NewFile) -> Response | Refusal:
        """Reserve a file, to upload its content in parts. A retry with the same `client_file_id` returns the first file
        with 200, complete or not."""
        limits = self._services.live.value
        if body.size > limits.max_file_bytes:
            return Refusal(Code.TOO_LARGE, f"A file may have {limits.max_file_bytes} bytes at most.", field="size")
        if body.voice and not body.size:
            return Refusal(Code.INVALID, "A voice message has at least 1 byte.", field="size")
        if wait := self._reservations.take(str(claims.user_id), limits.files_per_hour, trio.current_time()):
            return too_many("new files", wait)
        response = await self._reserve(claims.user_id, body)
        if response == ENDED:
            response = await self._reserve(claims.user_id, body)
        return response

    async def _reserve(self, user_id: int, body: NewFile) -> Response | Refusal:
        """The new file, or the first one with this client_file_id. Refuses ENDED, and frees the id, if the store has
        lost the upload of that, as after a restore of a backup, or by a rule for old ones."""
        limits = self._services.live.value
        file_id = await self._services.ids.next()
        upload_id = await self._files.begin(file_key(file_id)) if body.size else ""
        answer = await self._archive.reserve_file(
            ReserveFileRequest(
                user_id=user_id,
                client_file_id=body.client_file_id,
                file=_reserved(file_id, upload_id, body),
                quota_bytes=limits.max_user_file_bytes,
                max_uploads=limits.max_open_uploads,
            )
        )
        if isinstance(answer, Refusal):
            if answer.code not in _UNKNOWN_OUTCOME:
                await self._cancel(file_id, upload_id)
            return answer
        stored = answer.file
        if stored.file.file_id == file_id:
            return Response(File.of(stored), 201)
        await self._cancel(file_id, upload_id)
        if _differs(stored, body):
            message = "You have another file with this id: choose a new one."
            return Refusal(Code.VERSION_CONFLICT, message, field="client_file_id")
        described = await self._describe(stored)
        if described == ENDED:
            await self._archive.cancel_file(CancelFileRequest(user_id=user_id, file_id=stored.file.file_id))
        return described

    @endpoint("PUT", "/v1/files/<file:file_id>/parts/<number>", status=204, seconds=PART_SECONDS)
    async def write_part(self, claims: Claims, file_id: int, number: int, content: Content) -> Response | Refusal:
        """Upload part `number`, from 1: `part_bytes` each, the last one the rest. A part that is sent again
        replaces the earlier one."""
        stored = await own_file(self._archive, claims.user_id, file_id)
        if isinstance(stored, Refusal):
            return stored
        if stored.state != FILE_STATE_UPLOADING:
            return Refusal(Code.OUT_OF_ORDER, "This file is complete.", field="file_id")
        most = parts_of(stored.file.size)
        if number > most:
            return Refusal(Code.INVALID, f"The parts of this file are numbered 1 to {most}.", field="number")
        size = bytes_of(stored.file.size, number)
        if content.size != size:
            return Refusal(Code.INVALID, f"Part {number} of this file has {size} bytes.", field="body")
        with self._reception(claims.user_id, content.pieces) as refusal:
            if refusal is not None:
                return refusal
            try:
                await self._files.write_part(file_key(file_id), stored.upload_id, number, content.pieces, size)
            except NotFound:
                return ENDED
            except ValueError:
                return Refusal(Code.MALFORMED, f"The body does not have the {size} bytes of its part.", field="body")
            except TooSlow:
                return Refusal(Code.INCOMPLETE, "Too little was received for too long.", field="body")
            return Response()
        return _TOO_MANY  # it was ended for the part of another user

    @endpoint("GET", "/v1/files/<file:file_id>", File)
    async def get_file(self, claims: Claims, file_id: int) -> Response | Refusal:
        """A file of the user; while it is uploaded, with the parts that are stored."""
        stored = await own_file(self._archive, claims.user_id, file_id)
        return stored if isinstance(stored, Refusal) else await self._describe(stored)

    @endpoint("POST", "/v1/files/<file:file_id>/complete", File)
    async def complete_file(self, claims: Claims, file_id: int) -> Response | Refusal:
        """Complete a file whose parts are all uploaded. After `timed_out`, retry: the work goes on. A picture gets
        thumbnails, and loses the data of its camera unless `keep_original` was set."""
        stored = await self._services.complete_file(claims.user_id, file_id)
        return stored if isinstance(stored, Refusal) else Response(File.of(stored))

    @endpoint("DELETE", "/v1/files/<file:file_id>", status=204)
    async def cancel_file(self, claims: Claims, file_id: int) -> Response | Refusal:
        """Cancel an upload. A complete file can't be deleted: it is once no message has it."""
        stored = await own_file(self._archive, claims.user_id, file_id)
        if isinstance(stored, Refusal):
            return Response() if stored.code is Code.NOT_FOUND else stored
        answer = await self._archive.cancel_file(CancelFileRequest(user_id=claims.user_id, file_id=file_id))
        if isinstance(answer, Refusal):
            return answer
        await self._cancel(file_id, stored.upload_id)
        await self._files.delete(keys_of(file_id))
        return Response()

    async def _cancel(self, file_id: int, upload_id: str) -> None:
        """End the upload of a file; an empty one has none."""
        if upload_id:
            await self._files.cancel(file_key(file_id), upload_id)

    async def _describe(self, stored: StoredFile) -> Response | Refusal:
        if stored.state != FILE_STATE_UPLOADING:
            return Response(File.of(stored))
        parts = await stored_parts(self._files, stored)
        if parts is not None:
            return Response(File.of(stored, parts))
        completed = await completed_elsewhere(self._archive, stored.owner_id, stored.file.file_id)
        return completed if isinstance(completed, Refusal) else Response(File.of(completed))

    @contextmanager
    def _reception(self, user_id: int, body: StreamedBody) -> Iterator[Refusal | None]:
        """Count a part while it is received; yield the refusal of one too many. The block ends early if the part makes
        room for that of another user."""
        own = len(self._receiving.get(user_id, ()))
        if own >= MAX_PARTS_OF_USER:
            yield Refusal(Code.RATE_LIMITED, f"You may send {MAX_PARTS_OF_USER} parts at once.", retry_after_ms=1_000)
        elif sum(map(len, self._receiving.values())) >= MAX_PARTS and not self._make_room(own):
            yield _TOO_MANY
        else:
            scope = trio.CancelScope()
            self._receiving.setdefault(user_id, {})[scope] = body
            try:
                with scope:
                    yield None
            finally:
                self._forget(user_id, scope)

    def _make_room(self, own: int) -> bool:
        """End a part for a new one of a user with `own` parts: the oldest of the user with the most, if these are more
        than `own` + 1, else the slowest of users who have more than `own`. Return False, and end none, without one."""
        user_id, scopes = max(self._receiving.items(), key=lambda each: len(each[1]))
        ended = next(iter(scopes))
        if len(scopes) <= own + 1:
            others = {
                body: (other, scope)
                for other, bodies in self._receiving.items()
                for scope, body in bodies.items()
                if len(bodies) > own
            }
            slow = slowest(others, SLOW_SECONDS)
            if slow is None:
                return False
            user_id, ended = others[slow]
        self._forget(user_id, ended)
        ended.cancel()
        return True

    def _forget(self, user_id: int, scope: trio.CancelScope) -> None:
        scopes = self._receiving.get(user_id, {})
        scopes.pop(scope, None)
        if not scopes:
            self._receiving.pop(user_id, None)


def _reserved(file_id: int, upload_id: str, body: NewFile) -> StoredFile:
    file = FileInfo(file_id=file_id, name=body.name, size=body.size)
    if body.voice:
        file.duration_ms, file.waveform = body.voice.duration_ms, b64decode(body.voice.waveform)
    return StoredFile(
        file=file, sha256=bytes.fromhex(body.sha256), upload_id=upload_id, keep_original=body.keep_original
    )


def _differs(stored: StoredFile, body: NewFile) -> bool:
    """Whether a retry means another file than the stored one. The content of a picture that was encoded again is not
    compared."""
    if stored.rendition:
        return stored.file.name not in (body.name, as_jpeg(body.name))
    is_other = (stored.file.name, stored.file.size) != (body.name, body.size)
    checksums = {stored.sha256, bytes.fromhex(body.sha256)} - {b""}
    return is_other or len(checksums) > 1
