"""The gateway's queries of the archive: for messages that are no longer in the gateway's tail."""

from collections.abc import Collection, Sequence
from typing import Protocol

from messaging.gateway.tail import Tail
from rookery.v1.archive_pb2 import (
    FindSentRequest,
    GetChatRequest,
    GetFilesRequest,
    GetGroupRequest,
    GetMessageRequest,
    GetMessageResponse,
    Group,
    ListVersionsRequest,
    StoredFile,
)
from rookery.v1.files_pb2 import FileRef
from rookery.v1.session_pb2 import Event
from shared.archive import ARCHIVE_GROUP, ArchiveClient
from shared.backplane import Backplane
from shared.contract.errors import Code, Refusal
from shared.rpc import Balancer, Channel

QUERY_TIMEOUT = 3.0
"""Seconds for a query, all attempts included: the session's next frames wait for the answer."""


class History(Protocol):
    """The archive, as a gateway uses it."""

    async def find_message(self, user_id: int, chat_id: str, message_id: int) -> GetMessageResponse | Refusal:
        """The message of the user's chat, and its state, if it is recorded; a retryable Refusal if the archive does not
        answer."""
        ...

    async def has_message(self, user_id: int, chat_id: str) -> bool | Refusal:
        """Whether a message of the user's chat is recorded; a retryable Refusal if the archive does not answer."""
        ...

    async def find_own_change(self, user_id: int, chat_id: str, kind: str) -> Event | Refusal | None:
        """The recorded change of the chat itself of a private kind, by its name, that is the user's newest; a retryable
        Refusal if the archive does not answer."""
        ...

    async def find_versions(self, user_id: int, chat_id: str, message_id: int, kind: str) -> Sequence[Event] | Refusal:
        """The recorded changes of this kind, by its name, of a message, as ListVersions returns them; a retryable
        Refusal if the archive does not answer."""
        ...

    async def find_sent(self, user_id: int, chat_id: str, client_id: str) -> Event | Refusal | None:
        """The recorded message or change that the user sent with this client id; a retryable Refusal if the archive
        does not answer."""
        ...

    async def find_group(self, chat_id: str, user_ids: Collection[int] = ()) -> Group | Refusal | None:
        """The group as after its newest recorded control change, a channel with the members that GetGroupRequest names:
        of these users, MAX_LOOKED_UP at most. A retryable Refusal if the archive does not answer."""
        ...

    async def find_files(self, user_id: int, files: Sequence[FileRef]) -> Sequence[StoredFile] | Refusal:
        """The files that the user may read, as GetFiles returns them; a retryable Refusal if the archive does not
        answer."""
        ...


class RecordedOffsets:
    """By partition, the offset up to which history was complete when the log was asked for it last."""

    def __init__(self, backplane: Backplane) -> None:
        self._backplane = backplane
        self._offsets: dict[int, int] = {}

    async def update(self, partition: int, tail: Tail) -> None:
        """Ask the log, unless history is known to reach the tail. Raises Unavailable."""
        if not self.reach(partition, tail):
            self._offsets[partition] = await self._backplane.committed_offset(ARCHIVE_GROUP, partition)

    def reach(self, partition: int, tail: Tail) -> bool:
        """Whether every event of the partition from before its tail is in history, as far as is known."""
        return self._offsets.get(partition, 0) >= tail.complete_from


class ArchiveHistory:
    """A History over gRPC."""

    def __init__(self, channel: Channel | Balancer) -> None:
        self._archive = ArchiveClient(channel, timeout=QUERY_TIMEOUT)

    async def find_message(self, user_id: int, chat_id: str, message_id: int) -> GetMessageResponse | Refusal:
        request = GetMessageRequest(user_id=user_id, chat_id=chat_id, message_id=message_id)
        answer = await self._archive.get_message(request)
        return _unanswered(answer) if isinstance(answer, Refusal) else answer

    async def has_message(self, user_id: int, chat_id: str) -> bool | Refusal:
        answer = await self._archive.get_chat(GetChatRequest(user_id=user_id, chat_id=chat_id))
        if isinstance(answer, Refusal):
            return False if answer.code is Code.NOT_FOUND else _unanswered(answer)
        return answer.chat.HasField("newest")

    async def find_own_change(self, user_id: int, chat_id: str, kind: str) -> Event | Refusal | None:
        answer = await self._archive.get_chat(GetChatRequest(user_id=user_id, chat_id=chat_id))
        if isinstance(answer, Refusal):
            return None if answer.code is Code.NOT_FOUND else _unanswered(answer)
        return next((event for event in answer.chat.changes if event.change.WhichOneof("body") == kind), None)

    async def find_versions(self, user_id: int, chat_id: str, message_id: int, kind: str) -> Sequence[Event] | Refusal:
        request = ListVersionsRequest(user_id=user_id, chat_id=chat_id, message_id=message_id, kind=kind)
        answer = await self._archive.list_versions(request)
        return _unanswered(answer) if isinstance(answer, Refusal) else answer.changes

    async def find_sent(self, user_id: int, chat_id: str, client_id: str) -> Event | Refusal | None:
        request = FindSentRequest(user_id=user_id, chat_id=chat_id, client_id=client_id)
        answer = await self._archive.find_sent(request)
        if isinstance(answer, Refusal):
            return _unanswered(answer)
        return answer.event if answer.HasField("event") else None

    async def find_group(self, chat_id: str, user_ids: Collection[int] = ()) -> Group | Refusal | None:
        answer = await self._archive.get_group(GetGroupRequest(chat_id=chat_id, user_ids=user_ids))
        if isinstance(answer, Refusal):
            return _unanswered(answer)
        return answer.group if answer.HasField("group") else None

    async def find_files(self, user_id: int, files: Sequence[FileRef]) -> Sequence[StoredFile] | Refusal:
        answer = await self._archive.get_files(GetFilesRequest(user_id=user_id, files=files))
        return _unanswered(answer) if isinstance(answer, Refusal) else answer.files


def _unanswered(refusal: Refusal) -> Refusal:
    """The gateway has validated the ids, so the refusal is about the archive and not about the client."""
    return Refusal(Code.UNAVAILABLE, "History does not answer now.", retry_after_ms=refusal.retry_after_ms or 1_000)
