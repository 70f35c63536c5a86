"""Refusals as responses of HTTP: `application/problem+json` of RFC 9457, with our stable code."""

import math

import msgspec

from shared.contract.errors import Code, Refusal

MEDIA_TYPE = "application/problem+json"

RETRY_AFTER_MS = 1_000
"""The pause before a retry if a retryable refusal states none: about the time that an engine takes to restart."""


def problem_of(refusal: Refusal) -> tuple[bytes, dict[str, str]]:
    """Return the content of the response for a refusal, and its headers without the content type. A retryable one has
    `retry_after_ms`, and `Retry-After` in seconds."""
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
    return msgspec.json.encode(body), headers
