"""Refusals in the responses of the HTTP API, and refusals of the exceptions that Quart raises."""

import structlog
from quart import Response as HttpResponse
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound, RequestEntityTooLarge, RequestTimeout

from shared.accounts.tokens import TooManyPasswords
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.problems import MEDIA_TYPE, problem_of
from shared.files.protocol import Full
from shared.telemetry.logs import Interval

_TOO_MANY_PASSWORDS = Refusal(
    Code.RATE_LIMITED, "Too many passwords of this address are checked: try again soon.", retry_after_ms=1_000
)

_may_warn = Interval()

_log = structlog.get_logger(__name__)


def problem(refusal: Refusal) -> HttpResponse:
    """The response for a refusal."""
    content, headers = problem_of(refusal)
    return HttpResponse(content, refusal.kind.http_status, headers, content_type=MEDIA_TYPE)


def refusal_of_store(error: Unavailable) -> Refusal:
    """Return the refusal for a store that is away or full, and log the reason, once a minute: every request of anybody
    gets here meanwhile, and has a line of its own. Too many passwords of one address are refused without that line."""
    if isinstance(error, TooManyPasswords):
        return _TOO_MANY_PASSWORDS
    if _may_warn.has_passed():
        _log.warning("store_unavailable", reason=str(error))
    if isinstance(error, Full):
        return Refusal(Code.UNAVAILABLE, "There is no room for more files: try again later.")
    return Refusal(Code.UNAVAILABLE, "The store does not answer: try again soon.")


def refusal_of_http(error: HTTPException, max_body_bytes: int) -> Refusal:
    """The refusal for a request that the framework rejected before a route saw it."""
    message = error.description or error.name
    match error:
        case NotFound() if message == NotFound.description:
            return Refusal(Code.NOT_FOUND, "There is nothing at this path: see /docs.")
        case NotFound():
            return Refusal(Code.NOT_FOUND, message)
        case MethodNotAllowed():
            return Refusal(Code.METHOD_NOT_ALLOWED, f"This path takes only {allowed_methods(error)}.")
        case RequestEntityTooLarge():
            return Refusal(Code.TOO_LARGE, f"A body may have {max_body_bytes} bytes at most.", field="body")
        case RequestTimeout():
            return Refusal(Code.INCOMPLETE, message, field="body")
        case _ if error.code is not None and error.code < 500:
            return Refusal(Code.MALFORMED, message)
        case _:
            return Refusal(Code.INTERNAL, message)


def allowed_methods(error: MethodNotAllowed) -> str:
    """The methods of the path, as the `Allow` header has them."""
    return ", ".join(sorted(error.valid_methods or ()))
