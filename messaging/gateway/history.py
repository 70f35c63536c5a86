"""Queries the archive for messages that are older than the tail."""

from typing import Protocol

from rookery.v1.archive_grpc import ArchiveServiceStub
from rookery.v1.archive_pb2 import GetMessageRequest
from shared.contract.errors import Code, Refusal
from shared.rpc import Balancer, Channel, RpcError, Status, call_unary

QUERY_DEADLINE = 3.0
"""Seconds, all attempts: a session's next frames wait behind the answer."""

ATTEMPTS = 3
"""Archives queried at the most: one may be stopping, or hang."""

ATTEMPT_TIMEOUT = 1.0
"""Seconds after which another archive is queried. The last attempt gets the remaining time."""


class History(Protocol):
    """Queries that the archive answers."""

    async def has_message(self, user_id: int, chat_id: str, message_id: int) -> bool | Refusal:
        """Whether the user's chat has the message; a retryable Refusal if the archive is unavailable."""
        ...


class ArchiveHistory:
    """Queries the archive's gRPC service."""

    def __init__(self, channel: Channel | Balancer) -> None:
        self._stub = ArchiveServiceStub(channel)

    async def has_message(self, user_id: int, chat_id: str, message_id: int) -> bool | Refusal:
        request = GetMessageRequest(user_id=user_id, chat_id=chat_id, message_id=message_id)
        try:
            await call_unary(
                self._stub.GetMessage,
                request,
                timeout=QUERY_DEADLINE,
                attempts=ATTEMPTS,
                attempt_timeout=ATTEMPT_TIMEOUT,
            )
        except RpcError as error:
            if error.status is Status.NOT_FOUND:
                return False
            return Refusal(Code.UNAVAILABLE, "History does not answer now.", retry_after_ms=1_000)
        return True
