"""What went wrong, as HTTP says it: `application/problem+json` of RFC 9457, with our stable code."""

import math

import msgspec
from quart import Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from shared.contract.errors import KINDS, Code, Refusal
from shared.rpc import RpcError

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER_MS = 1_000
"""When to try again what may work then, if nothing says more: an engine that restarts takes about that."""

_BY_GRPC_STATUS = {kind.grpc_status: code for code, kind in KINDS.items()}
_BY_HTTP_STATUS = {kind.http_status: code for code, kind in reversed(KINDS.items())}
_BY_HTTP_STATUS |= {403: Code.FORBIDDEN, 408: Code.TIMED_OUT}


def problem(refusal: Refusal) -> Response:
    """The answer that tells of a refusal. One that may be retried says when, in `Retry-After` too (in seconds)."""
    kind = refusal.kind
    body: dict[str, str | int] = {
        "type": f"/docs#{refusal.code}",
        "title": kind.title,
        "status": kind.http_status,
        "detail": refusal.message,
        "code": refusal.code,
    }
    headers = {"Cache-Control": "no-store"}
    if refusal.field:
        body["field"] = refusal.field
    if kind.retryable:
        retry_after_ms = refusal.retry_after_ms or RETRY_AFTER_MS
        body["retry_after_ms"] = retry_after_ms
        headers["Retry-After"] = str(math.ceil(retry_after_ms / 1000))
    if refusal.code is Code.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(msgspec.json.encode(body), kind.http_status, headers, content_type=MEDIA_TYPE)


def refusal_of_http(error: HTTPException, max_body_bytes: int) -> Refusal:
    """What the framework refused before a route saw it."""
    status = error.code or 500
    code = _BY_HTTP_STATUS.get(status, Code.MALFORMED if status < 500 else Code.INTERNAL)
    match code:
        case Code.NOT_FOUND:
            return Refusal(code, "There is nothing at this path: see /docs.")
        case Code.METHOD_NOT_ALLOWED:
            allowed = ", ".join(sorted(error.valid_methods or ())) if isinstance(error, MethodNotAllowed) else ""
            return Refusal(code, f"This path takes only {allowed}.")
        case Code.TOO_LARGE:
            return Refusal(code, f"A body may have {max_body_bytes} bytes at most.", field="body")
        case _:
            return Refusal(code, error.description or KINDS[code].title)


def refusal_of_rpc(error: RpcError) -> Refusal:
    """What another service of ours refused. Of its faults nothing is told."""
    code = _BY_GRPC_STATUS.get(error.status, Code.INTERNAL)
    match code:
        case Code.INTERNAL | Code.UNAUTHENTICATED | Code.METHOD_NOT_ALLOWED:
            return Refusal(Code.INTERNAL, "Something went wrong on our side.")
        case Code.UNAVAILABLE | Code.TIMED_OUT:
            return Refusal(code, "Chats and history are not available now: try again soon.")
        case _:
            return Refusal(code, error.message)
