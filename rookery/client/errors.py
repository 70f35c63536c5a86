"""What the client raises.

RookeryError
├── Refused          the server said no, and why
│   └── SignedOut    the client can't be signed in any longer
└── Unreachable      no answer: nobody listens there, or it took too long
"""

from typing import Any

from shared.contract.errors import KINDS

_RETRYABLE = frozenset(kind.http_status for kind in KINDS.values() if kind.retryable)


class RookeryError(Exception):
    """Catch this for whatever can go wrong between a client and its server."""


class Refused(RookeryError):
    """The server said no. `code` is stable (docs/client-guide.md lists them), the text is a sentence for people.

    If `retryable`, the same may succeed `retry_after_ms` later; a message is then sent again with the same
    `client_message_id`, so that it can't be there twice.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        field: str = "",
        retryable: bool = False,
        retry_after_ms: int = 0,
        client_message_id: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
        self.retryable = retryable
        self.retry_after_ms = retry_after_ms
        self.client_message_id = client_message_id

    @classmethod
    def from_problem(cls, status: int, problem: dict[str, Any]) -> "Refused":
        """From an HTTP status and the fields of its problem: none if a proxy or a foreign server sent the response."""
        retry_after_ms = problem.get("retry_after_ms")
        return cls(
            str(problem.get("code", "internal")),
            str(problem.get("detail") or problem.get("title") or f"HTTP status {status}"),
            field=str(problem.get("field", "")),
            retryable=status in _RETRYABLE,
            retry_after_ms=retry_after_ms if isinstance(retry_after_ms, int) else 0,
        )


class SignedOut(Refused):
    """The sign-in was ended and another one was refused. Open a new client with what the person gives you."""


class Unreachable(RookeryError):
    """No answer: what was asked for may have been done or not. Try again; a message with the `client_message_id`
    given here, so that it can't be there twice.
    """

    def __init__(self, message: str, *, client_message_id: str = "") -> None:
        super().__init__(message)
        self.client_message_id = client_message_id


def reason_of(error: BaseException) -> str:
    """In words: some exceptions have none, but those that they were made of do."""
    origin: BaseException | None = error
    while origin is not None:
        if text := str(origin):
            return text
        origin = origin.__cause__ or origin.__context__
    return type(error).__name__
