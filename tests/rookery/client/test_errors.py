"""Refusals from HTTP responses, of a BFF or of any other server."""

from typing import Any

import pytest

from rookery.client.errors import Refused


@pytest.mark.parametrize(
    ("status", "problem", "expected"),
    [
        (422, {"code": "invalid", "detail": "No.", "field": "limit"}, ("invalid", "No.", "limit", False, 0)),
        (429, {"code": "rate_limited", "detail": "No.", "retry_after_ms": 9}, ("rate_limited", "No.", "", True, 9)),
        (503, {"code": "unavailable", "retry_after_ms": "9"}, ("unavailable", "HTTP status 503", "", True, 9)),
        (502, {}, ("internal", "HTTP status 502", "", True, 0)),
        (500, {"code": "internal"}, ("internal", "HTTP status 500", "", False, 0)),
        (403, {}, ("internal", "HTTP status 403", "", False, 0)),
        (503, {"title": "Bad day", "retry_after_ms": "soon"}, ("internal", "Bad day", "", True, 0)),
    ],
)
def test_an_http_problem_is_a_refusal(status: int, problem: dict[str, Any], expected: tuple[Any, ...]) -> None:
    refused = Refused.from_problem(status, problem)
    assert (refused.code, refused.message, refused.field, refused.retryable, refused.retry_after_ms) == expected
