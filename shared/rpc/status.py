"""How a call ends: gRPC's statuses, and the error that carries one."""

from collections.abc import Sequence
from enum import IntEnum

Metadata = Sequence[tuple[str, str | bytes]]
"""Names in lower case with their values, in order. A value is bytes if its name ends with `-bin`, else printable
ASCII. Names that begin with `grpc-` are gRPC's own."""


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
    so; UNAVAILABLE and RESOURCE_EXHAUSTED may be tried again, later. `metadata` goes with the status.
    """

    def __init__(self, status: Status, message: str, metadata: Metadata = ()) -> None:
        super().__init__(f"{status.name}: {message}")
        self.status = status
        self.message = message
        self.metadata = metadata


def status_of(number: int) -> Status:
    """The status with this number; UNKNOWN if there is none."""
    try:
        return Status(number)
    except ValueError:
        return Status.UNKNOWN
