"""The exceptions of the client.

RookeryError
├── Refused          the server refused the request, with a code
│   └── SignedOut    the sign-in has ended, and a new one was refused
└── Unreachable      no answer: no connection, or none in time
"""

from typing import Any

from shared.contract.errors import KINDS

_RETRYABLE = frozenset(kind.http_status for kind in KINDS.values() if kind.retryable)


class RookeryError(Exception):
    """Catch this for every failure between a client and its server."""


class Refused(RookeryError):
    """The server refused the request. `code` is stable (docs/client-guide.md lists the codes), the text is for people.

    If `retryable`, retry after `retry_after_ms`; send a message or a change again with its `client_id`, and the server
    stores it once.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str = "",
        retryable: bool = False,
        retry_after_ms: int = 0,
        client_id: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms
        self.client_id = client_id

    @classmethod
    def from_problem(cls, status: int, problem: dict[str, Any]) -> "Refused":
        """Make it from an HTTP status and the fields of its problem: none if a proxy or another server responded. Its
        failure, a status of 500 or above without a `code`, is no answer of Rookery, and so retryable."""
        retry_after_ms = str(problem.get("retry_after_ms"))  # a number, or like other `*_ms` fields a string of digits
        return cls(
            str(problem.get("code", "internal")),
            str(problem.get("detail") or problem.get("title") or f"HTTP status {status}"),
            field=str(problem.get("field", "")),
            retryable=status in _RETRYABLE or (status >= 500 and not problem.get("code")),
            retry_after_ms=int(retry_after_ms) if retry_after_ms.isdecimal() else 0,
        )


class SignedOut(Refused):
    """The sign-in has ended, and a new one was refused. Ask the user for the password, and open a new client."""


class Unreachable(RookeryError):
    """No answer: the server may have done the request or not. Retry; send a message or a change again with this
    `client_id`, and the server stores it once.
    """

    def __init__(self, message: str, *, client_id: str = "") -> None:
        super().__init__(message)
        self.client_id = client_id


def reason_of(error: BaseException) -> str:
    """Return the text of the exception, or of the first of its causes that has one; else its type."""
    origin: BaseException | None = error
    while origin is not None:
        if text := str(origin):
            return text
        origin = origin.__cause__ or origin.__context__
    return type(error).__name__
