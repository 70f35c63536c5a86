"""Refusals: their codes, and the HTTP and gRPC status of each code, in one table.

A refusal is an expected result and is returned as a value. An exception is a fault.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Code(StrEnum):
    """Stable codes of refusals, the same in HTTP problems, gRPC statuses and `Refused` frames."""

    MALFORMED = "malformed"
    INVALID = "invalid"
    TOO_LARGE = "too_large"
    UNAUTHENTICATED = "unauthenticated"
    SUSPENDED = "suspended"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    RECIPIENT_DELETED = "recipient_deleted"
    INVITE_REQUIRED = "invite_required"
    NAME_TAKEN = "name_taken"
    VERSION_CONFLICT = "version_conflict"
    OUT_OF_ORDER = "out_of_order"
    RATE_LIMITED = "rate_limited"
    INCOMPLETE = "incomplete"
    TIMED_OUT = "timed_out"
    UNAVAILABLE = "unavailable"
    INTERNAL = "internal"


class Kind(NamedTuple):
    """A code's representation in HTTP and gRPC."""

    http_status: int
    grpc_status: int  # numbers of google.rpc.Code
    retryable: bool
    title: str


KINDS: dict[Code, Kind] = {
    Code.MALFORMED: Kind(400, 3, False, "Not understood"),
    Code.INVALID: Kind(422, 3, False, "Not valid"),
    Code.TOO_LARGE: Kind(413, 8, False, "Too large"),
    Code.UNAUTHENTICATED: Kind(401, 16, False, "Not signed in"),
    Code.SUSPENDED: Kind(403, 7, False, "Account suspended"),
    Code.FORBIDDEN: Kind(403, 7, False, "Not allowed"),
    Code.NOT_FOUND: Kind(404, 5, False, "Not found"),
    Code.METHOD_NOT_ALLOWED: Kind(405, 12, False, "Method not allowed"),
    Code.RECIPIENT_DELETED: Kind(410, 9, False, "Account deleted"),
    Code.INVITE_REQUIRED: Kind(403, 7, False, "Invite required"),
    Code.NAME_TAKEN: Kind(409, 6, False, "Name taken"),
    Code.VERSION_CONFLICT: Kind(409, 10, False, "Changed by someone else"),
    Code.OUT_OF_ORDER: Kind(409, 9, False, "Out of order"),
    Code.RATE_LIMITED: Kind(429, 8, True, "Too many requests"),
    Code.INCOMPLETE: Kind(408, 4, True, "Not received in time"),
    Code.TIMED_OUT: Kind(504, 4, True, "Took too long"),
    Code.UNAVAILABLE: Kind(503, 14, True, "Not available now"),
    Code.INTERNAL: Kind(500, 13, False, "Our fault"),
}


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason why a request is not fulfilled. It crosses gRPC, HTTP and frames unchanged.

    `message` is a sentence for people that names the limit; `field` is the path of the invalid field, or empty;
    `retry_after_ms` is the time before a retry makes sense: 0 for at once or never (see `retryable`).
    """

    code: Code
    message: str
    field: str = ""
    retry_after_ms: int = 0

    @property
    def kind(self) -> Kind:
        return KINDS[self.code]

    @property
    def retryable(self) -> bool:
        return self.kind.retryable


class UnusableSetting(ValueError):
    """A setting that only the driver of an engine can check; the text names it."""


class Unavailable(Exception):
    """An engine (the log, a store) does not answer or can't write. Refuse the request as `unavailable`."""
