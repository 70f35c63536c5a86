"""What a gateway asks the archive: whether a message is there that its own tail no longer knows."""

from typing import Protocol

from rookery.v1.archive_grpc import ArchiveServiceStub
from rookery.v1.archive_pb2 import GetMessageRequest
from shared.contract.errors import Code, Refusal
from shared.rpc import Balancer, Channel, RpcError, Status, call_unary

QUERY_DEADLINE = 3.0
"""Seconds, all attempts: a session's next frames wait behind the answer."""

ATTEMPTS = 3
"""Archives asked at most: one may be stopping, or hang."""

ATTEMPT_TIMEOUT = 1.0
"""Seconds after which another archive is asked. The last has what is left."""


class History(Protocol):
    """Answers from the archive."""

    async def has_message(self, user_id: int, chat_id: str, message_id: int) -> bool | Refusal:
        """Whether the user's chat has the message; a retryable Refusal if the archive does not answer."""
        ...


class ArchiveHistory:
    """Asks the archive's query service over gRPC."""

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
