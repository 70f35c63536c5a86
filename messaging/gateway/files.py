"""Looks up the files that a message names: in the archive, or in messages that are not recorded yet."""

from collections.abc import Iterable

from messaging.gateway.access import ROSTER_DROPPED, Access
from messaging.gateway.history import History
from messaging.gateway.lookups import Lookups
from messaging.gateway.owned_partitions import OwnedPartitions
from messaging.gateway.requests import SendRequest
from messaging.gateway.rosters import Rosters
from rookery.v1.archive_pb2 import FILE_STATE_COMPLETE, StoredFile
from rookery.v1.files_pb2 import FileInfo, FileRef
from rookery.v1.groups_pb2 import Span
from shared.contract.chats import is_group
from shared.contract.errors import Code, Refusal

Files = tuple[FileInfo, ...]


class FileLookups:
    """Looks up the files that messages name; one for each gateway."""

    def __init__(
        self, history: History, lookups: Lookups, rosters: Rosters, access: Access, partitions: OwnedPartitions
    ) -> None:
        self._history = history
        self._lookups = lookups
        self._rosters = rosters
        self._access = access
        self._partitions = partitions

    async def find(self, user_id: int, request: SendRequest) -> Files | Refusal:
        """The files of the user's message, in its order. A Refusal of the first one that is not complete, or that the
        user may not read; a retryable one if the archive does not answer or is behind, or if the user asks for too many
        chats that were never theirs. Raises Unavailable."""
        answer = await self._history.find_files(user_id, request.files)
        if isinstance(answer, Refusal):
            return answer
        stored = {each.file.file_id: each for each in answer}
        files: list[FileInfo] = []
        for index, ref in enumerate(request.files):
            field, found = f"send.files[{index}]", stored.get(ref.file_id)
            file = await self._find_in_tail(user_id, ref, field) if found is None else _complete(found, field)
            if isinstance(file, Refusal):
                return file
            files.append(file)
        return tuple(files)

    async def _find_in_tail(self, user_id: int, ref: FileRef, field: str) -> FileInfo | Refusal:
        """The file of a message of the tail, which the archive may not have recorded."""
        if not ref.message_id:
            return _no_such_file(field)
        spans = await self._spans(user_id, ref.chat_id, field)
        if isinstance(spans, Refusal):
            return spans
        target = await self._lookups.find_target(user_id, ref.chat_id, ref.message_id, field, spans)
        if isinstance(target, Refusal):
            return target if target.retryable else _no_such_file(field)
        tail = self._partitions.tail_of(user_id)
        files = () if tail is None else tail.files_of(ref.message_id)
        file = next((each for each in files if each.file_id == ref.file_id), None)
        if file is None:
            return _no_such_file(field)
        # A deletion does not reach the partitions in which a group has only former members: history decides.
        recorded = await self._history.find_message(user_id, ref.chat_id, ref.message_id)
        if isinstance(recorded, Refusal):
            return recorded
        is_deleted = recorded.HasField("message") and not recorded.message.message.files
        return _no_such_file(field) if is_deleted else file

    async def _spans(self, user_id: int, chat_id: str, field: str) -> Iterable[Span] | Refusal:
        """The spans of the user in a group: of a channel, the tail does not know which users its messages reach. A
        Refusal if the user never was a member: the archive answers nothing about such a group."""
        if not is_group(chat_id):
            return ()
        if refusal := await self._access.find_roster([user_id], chat_id, field, is_personal=True):
            return refusal if refusal.retryable else _no_such_file(field)
        roster = self._rosters.cached(chat_id)
        return ROSTER_DROPPED if roster is None else roster.spans(user_id)


def _complete(stored: StoredFile, field: str) -> FileInfo | Refusal:
    if stored.state == FILE_STATE_COMPLETE:
        return stored.file
    return Refusal(Code.INVALID, "Only a complete file can be sent.", field)


def _no_such_file(field: str) -> Refusal:
    return Refusal(Code.NOT_FOUND, "There is no such file that you may read.", field)
