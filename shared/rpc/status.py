"""gRPC's statuses, and the error with which a call ends."""

from collections.abc import Sequence
from enum import IntEnum
from typing import TypeVar

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message

Metadata = Sequence[tuple[str, str | bytes]]
"""Pairs of a lower-case name and a value, in order. A value is bytes if its name ends with `-bin`, else printable
ASCII. Names that begin with `grpc-` are reserved for gRPC."""

Detail = TypeVar("Detail", bound=Message)


class Status(IntEnum):
    """gRPC's status codes, with their numbers on the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """The end of a call with another status than OK.

    Raised by a handler to end its call with the status, whose message the client receives, and raised to the caller of
    such a call. UNAVAILABLE and RESOURCE_EXHAUSTED may be retried later. `metadata` and `details` are sent with the
    status; details are messages such as those of google/rpc/error_details.proto, which `detail` returns.

    `unprocessed`: no handler has seen the call, so it is safe to repeat. `retry_after`: the server's pause in seconds
    before a retry (gRPC's `grpc-retry-pushback-ms`), infinite for no retry, None if unset; a handler may set it too.
    """

    def __init__(
        self,
        status: Status,
        message: str,
        metadata: Metadata = (),
        *,
        details: Sequence[Message] = (),
        unprocessed: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message
        self.metadata = metadata
        self.details = tuple(_packed(detail) for detail in details)
        self.unprocessed = unprocessed
        self.retry_after = retry_after

    def again(self) -> "RpcError":
        """Return the error without a traceback, to store it or to raise it once more.

        A stored error with its traceback keeps the frames that it passed, with their messages and buffers, in a cycle
        that only a full garbage collection frees.
        """
        return type(self)(
            self.status,
            self.message,
            self.metadata,
            details=self.details,
            unprocessed=self.unprocessed,
            retry_after=self.retry_after,
        )

    def detail(self, message_type: type[Detail]) -> Detail | None:
        """Return the first detail of this type; None if there is none that can be parsed."""
        for packed in self.details:
            found = message_type()
            if _unpacks(packed, found):
                return found
        return None


def status_of(number: int) -> Status:
    """Return the status with this number; UNKNOWN for an undefined number."""
    try:
        return Status(number)
    except ValueError:
        return Status.UNKNOWN


def _packed(detail: Message) -> Any:
    if isinstance(detail, Any):
        return detail
    packed = Any()
    packed.Pack(detail)
    return packed


def _unpacks(packed: Any, into: Message) -> bool:
    try:
        return packed.Unpack(into)
    except DecodeError:
        return False
