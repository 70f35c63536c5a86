"""The queries of files: FileQueries is a part of the query service."""

# The generated base class calls every request `input_message`:
# pyright: reportIncompatibleMethodOverride=false

from collections.abc import Mapping, Sequence, Set

from messaging.archive.checks import MAX_LIMIT, check_bytes, check_chat, check_range, is_possible, unless_unavailable
from messaging.archive.pages import newest_of
from messaging.archive.reader import open_reader
from messaging.archive.store.files import Exceeded
from messaging.archive.store.protocol import ChatStore
from messaging.archive.watermark import Watermark
from rookery.v1.archive_grpc import ArchiveServiceServicer
from rookery.v1.archive_pb2 import (
    FILE_CLASS_LINKS,
    FILE_CLASS_MEDIA,
    FILE_STATE_BLOCKED,
    FILE_STATE_COMPLETE,
    FILE_STATE_UPLOADING,
    CancelFileRequest,
    CancelFileResponse,
    CompleteFileRequest,
    CompleteFileResponse,
    GetFilesRequest,
    GetFilesResponse,
    GetReportedFileRequest,
    GetReportedFileResponse,
    ListChatFilesRequest,
    ListChatFilesResponse,
    ReserveFileRequest,
    ReserveFileResponse,
    StoredFile,
)
from rookery.v1.files_pb2 import FileRef
from shared.contract.chats import MAX_CLIENT_ID, is_chat, no_such_chat
from shared.contract.errors import Code, Refusal
from shared.contract.ids import MAX_ID, wall_clock_ms
from shared.files.protocol import MAX_NAME_BYTES


class FileQueries(ArchiveServiceServicer):
    """The methods of ArchiveService for files."""

    def __init__(self, chats: ChatStore, watermark: Watermark) -> None:
        self._chats = chats
        self._watermark = watermark

    async def ReserveFile(self, request: ReserveFileRequest) -> ReserveFileResponse | Refusal:
        file = request.file.file
        refusal = (
            check_range("user_id", request.user_id, 1, MAX_ID)
            or check_bytes("client_file_id", request.client_file_id, MAX_CLIENT_ID)
            or check_range("file_id", file.file_id, 1, MAX_ID)
            or check_bytes("name", file.name, MAX_NAME_BYTES)
            or check_range("size", file.size, 0, MAX_ID)
        )
        if refusal:
            return refusal
        return await unless_unavailable(self._reserve_file(request))

    async def CompleteFile(self, request: CompleteFileRequest) -> CompleteFileResponse | Refusal:
        file = request.file
        refusal = (
            check_range("owner_id", file.owner_id, 1, MAX_ID)
            or check_range("file_id", file.file.file_id, 1, MAX_ID)
            or check_range("state", file.state, FILE_STATE_COMPLETE, FILE_STATE_BLOCKED)
            or check_range("size", file.file.size, 0, MAX_ID)
        )
        if refusal:
            return refusal
        stored = await unless_unavailable(self._chats.files.complete(file, wall_clock_ms()))
        if stored is None:
            return Refusal(Code.NOT_FOUND, "There is no such file among yours.", field="file_id")
        return stored if isinstance(stored, Refusal) else CompleteFileResponse(file=stored)

    async def CancelFile(self, request: CancelFileRequest) -> CancelFileResponse | Refusal:
        refusal = check_range("user_id", request.user_id, 1, MAX_ID) or check_range(
            "file_id", request.file_id, 1, MAX_ID
        )
        if refusal:
            return refusal
        cancel = self._chats.files.cancel(request.user_id, request.file_id, wall_clock_ms())
        is_cancelled = await unless_unavailable(cancel)
        if not is_cancelled:
            return Refusal(Code.OUT_OF_ORDER, "The file is complete: it can't be cancelled.", field="file_id")
        return is_cancelled if isinstance(is_cancelled, Refusal) else CancelFileResponse()

    async def GetFiles(self, request: GetFilesRequest) -> GetFilesResponse | Refusal:
        if refusal := check_range("user_id", request.user_id, 1, MAX_ID):
            return refusal
        if len(request.files) > MAX_LIMIT:
            return Refusal(Code.TOO_LARGE, f"`files` must have at most {MAX_LIMIT} references.", field="files")
        return await unless_unavailable(self._get_files(request))

    async def GetReportedFile(self, request: GetReportedFileRequest) -> GetReportedFileResponse | Refusal:
        ref = request.file
        if not is_chat(ref.chat_id):
            return no_such_chat()
        refusal = check_range("message_id", ref.message_id, 1, MAX_ID) or check_range("file_id", ref.file_id, 1, MAX_ID)
        if refusal:
            return refusal
        return await unless_unavailable(self._get_reported_file(ref))

    async def ListChatFiles(self, request: ListChatFilesRequest) -> ListChatFilesResponse | Refusal:
        refusal = (
            check_chat(request)
            or check_range("before_id", request.before_id, 0, MAX_ID)
            or check_range("limit", request.limit, 1, MAX_LIMIT)
            or check_range("file_class", request.file_class, FILE_CLASS_MEDIA, FILE_CLASS_LINKS)
        )
        if refusal:
            return refusal
        return await unless_unavailable(self._list_chat_files(request))

    async def _reserve_file(self, request: ReserveFileRequest) -> ReserveFileResponse | Refusal:
        file = StoredFile()
        file.CopyFrom(request.file)
        file.owner_id, file.state, file.reserved_at_ms = request.user_id, FILE_STATE_UPLOADING, wall_clock_ms()
        quota_bytes, max_uploads = request.quota_bytes, request.max_uploads
        match await self._chats.files.reserve(
            request.client_file_id, file, quota_bytes=quota_bytes, max_uploads=max_uploads
        ):
            case Exceeded.QUOTA:
                message = f"Your files must have at most {quota_bytes} bytes together."
                return Refusal(Code.TOO_LARGE, message, field="size")
            case Exceeded.UPLOADS:
                message = f"At most {max_uploads} files can be uploaded at once: complete or cancel one first."
                return Refusal(Code.RATE_LIMITED, message, field="client_file_id")
            case stored:
                return ReserveFileResponse(file=stored)

    async def _get_files(self, request: GetFilesRequest) -> GetFilesResponse:
        user_id, refs = request.user_id, request.files
        complete_up_to = await self._watermark.complete_up_to()
        rows = await self._chats.files.rows({ref.file_id for ref in refs})
        known = {file_id: row.file for file_id, row in rows.items() if not row.condemned_ms}
        own = {file_id for file_id, file in known.items() if file.owner_id == user_id}
        complete = {file_id for file_id, file in known.items() if file.state == FILE_STATE_COMPLETE}
        of_others = [ref for ref in refs if ref.file_id in complete - own]
        held, unknown = await self._held(user_id, of_others)
        readable = own | {ref.file_id for ref in of_others if ref.file_id in held.get(_message(ref), ())}
        new = (ref for ref in of_others if ref.message_id > complete_up_to and is_possible(user_id, ref.chat_id))
        return GetFilesResponse(
            files=[known[file_id] for file_id in dict.fromkeys(ref.file_id for ref in refs) if file_id in readable],
            not_recorded=[ref for ref in new if _message(ref) not in held],
            unknown_chat_ids=unknown,
        )

    async def _held(
        self, user_id: int, refs: Sequence[FileRef]
    ) -> tuple[Mapping[tuple[str, int], Set[int]], Sequence[str]]:
        """The files of the recorded messages that the references name, if the user may read these, and the chats that
        are not the user's. Access costs one read of the message, however many other messages use the file."""
        messages: set[tuple[str, int]] = set()
        unknown = []
        for chat_id in {ref.chat_id for ref in refs if ref.chat_id}:
            in_chat = [ref.message_id for ref in refs if ref.chat_id == chat_id]
            reader = await open_reader(self._chats, user_id, chat_id) if is_possible(user_id, chat_id) else None
            if reader is None or isinstance(reader, Refusal):
                unknown.append(chat_id)
            else:
                messages |= {(chat_id, each) for each in in_chat if 0 < each <= MAX_ID and reader.includes(each)}
        return await self._chats.files.held_by(messages) if messages else {}, unknown

    async def _get_reported_file(self, ref: FileRef) -> GetReportedFileResponse | Refusal:
        key = _message(ref)
        row = (await self._chats.files.rows({ref.file_id})).get(ref.file_id)
        is_held = ref.file_id in (await self._chats.files.held_by({key})).get(key, ())
        if row is None or row.condemned_ms or row.file.state != FILE_STATE_COMPLETE or not is_held:
            return Refusal(Code.NOT_FOUND, "The message does not have this file any more.", field="file_id")
        return GetReportedFileResponse(file=row.file)

    async def _list_chat_files(self, request: ListChatFilesRequest) -> ListChatFilesResponse | Refusal:
        reader = await open_reader(self._chats, request.user_id, request.chat_id)
        if isinstance(reader, Refusal):
            return reader
        before_id, limit = request.before_id or MAX_ID, request.limit
        page = newest_of(await reader.messages_with_files(request.file_class, before_id, limit), limit)
        return ListChatFilesResponse(messages=page.messages[::-1], has_older=page.has_older)


def _message(ref: FileRef) -> tuple[str, int]:
    return ref.chat_id, ref.message_id
