"""The gateway's queries of the archive: whether a message exists that is no longer in the gateway's tail."""

from typing import Protocol

from rookery.v1.archive_pb2 import GetMessageRequest
from shared.archive import ArchiveClient
from shared.contract.errors import Code, Refusal
from shared.rpc import Balancer, Channel

QUERY_TIMEOUT = 3.0
"""Seconds for a query, all attempts included: the session's next frames wait for the answer."""


class History(Protocol):
    """The archive, as a gateway uses it."""

    async def has_message(self, user_id: int, chat_id: str, message_id: int) -> bool | Refusal:
        """Whether the user's chat has the message; a retryable Refusal if the archive does not answer."""
        ...


class ArchiveHistory:
    """A History over gRPC."""

    def __init__(self, channel: Channel | Balancer) -> None:
        self._archive = ArchiveClient(channel, timeout=QUERY_TIMEOUT)

    async def has_message(self, user_id: int, chat_id: str, message_id: int) -> bool | Refusal:
        request = GetMessageRequest(user_id=user_id, chat_id=chat_id, message_id=message_id)
        answer = await self._archive.get_message(request)
        if not isinstance(answer, Refusal):
            return True
        if answer.code is Code.NOT_FOUND:
            return False
        # The gateway has validated the ids, so every other refusal is about the archive and not about the client.
        return Refusal(Code.UNAVAILABLE, "History does not answer now.", retry_after_ms=answer.retry_after_ms or 1_000)
