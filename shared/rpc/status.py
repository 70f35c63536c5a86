"""How a call ends: gRPC's statuses, and the error that carries one."""

from collections.abc import Sequence
from enum import IntEnum
from typing import TypeVar

from google.protobuf.any_pb2 import Any
from google.protobuf.message import DecodeError, Message

Metadata = Sequence[tuple[str, str | bytes]]
"""Names in lower case with their values, in order. A value is bytes if its name ends with `-bin`, else printable
ASCII. Names that begin with `grpc-` are gRPC's own."""


Detail = TypeVar("Detail", bound=Message)


class Status(IntEnum):
    """The status codes of gRPC, with their numbers on the wire."""

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
    """A call that ends with another status than OK.

    A handler raises it to end its call so: the client sees the message. A client gets it raised when its call ended
    so; UNAVAILABLE and RESOURCE_EXHAUSTED may be tried again, later. `metadata` goes with the status, and so do the
    `details`: messages such as those of google/rpc/error_details.proto, which `detail` finds again.

    `unprocessed` says that no handler has seen the call: it may be made again, whatever it does. `retry_after` are the
    seconds after which the server wants to see the call again (gRPC's `grpc-retry-pushback-ms`): infinite for never,
    None if it does not say. A handler may set it too.
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

    def detail(self, message_type: type[Detail]) -> Detail | None:
        """The first detail of this type, if there is one that can be read."""
        for packed in self.details:
            found = message_type()
            if _unpacks(packed, found):
                return found
        return None


def status_of(number: int) -> Status:
    """The status with this number; UNKNOWN if there is none."""
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
