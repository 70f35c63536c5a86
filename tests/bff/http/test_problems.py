"""Refusals as problems, and errors of the framework as refusals."""

import json

import pytest
from structlog.testing import capture_logs
from werkzeug.exceptions import (
    BadRequest,
    HTTPException,
    InternalServerError,
    MethodNotAllowed,
    NotFound,
    RequestEntityTooLarge,
    RequestTimeout,
    RequestURITooLarge,
)

from bff.http import problems
from bff.http.problems import problem, refusal_of_http, refusal_of_store
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.problems import MEDIA_TYPE
from shared.telemetry.logs import Interval


@pytest.mark.parametrize("code", Code)
async def test_a_problem_has_every_part_of_its_refusal(code: Code) -> None:
    refusal = Refusal(code, "Not now.", "limit", 2_500)
    response = problem(refusal)
    body = json.loads(await response.get_data(as_text=False))
    assert response.status_code == body["status"] == refusal.kind.http_status
    assert (body["type"], body["title"]) == (f"/docs#{code}", refusal.kind.title)
    assert (body["code"], body["detail"], body["field"]) == (code, "Not now.", "limit")
    assert body.get("retry_after_ms") == (2_500 if refusal.retryable else None)
    assert response.headers.get("Retry-After") == ("3" if refusal.retryable else None)
    assert response.headers.get("WWW-Authenticate") == ("Bearer" if code is Code.UNAUTHENTICATED else None)
    assert response.headers["Content-Type"] == MEDIA_TYPE


def test_an_unavailable_store_is_logged_once_for_all_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(problems, "_may_warn", Interval())
    with capture_logs() as logs:
        refusals = [refusal_of_store(Unavailable("away")) for _ in range(3)]
    assert {refusal.code for refusal in refusals} == {Code.UNAVAILABLE}
    assert [(entry["event"], entry["reason"]) for entry in logs] == [("store_unavailable", "away")]


@pytest.mark.parametrize(
    ("error", "code", "field"),
    [
        (BadRequest(), Code.MALFORMED, ""),
        (RequestURITooLarge(), Code.MALFORMED, ""),
        (NotFound(), Code.NOT_FOUND, ""),
        (MethodNotAllowed(["GET"]), Code.METHOD_NOT_ALLOWED, ""),
        (RequestEntityTooLarge(), Code.TOO_LARGE, "body"),
        (RequestTimeout(), Code.INCOMPLETE, "body"),
        (InternalServerError(), Code.INTERNAL, ""),
        (HTTPException("no status"), Code.INTERNAL, ""),
    ],
)
def test_an_error_of_the_framework_is_a_refusal(error: HTTPException, code: Code, field: str) -> None:
    refusal = refusal_of_http(error, 10)
    assert (refusal.code, refusal.field) == (code, field)
    assert refusal.message
