"""Spans of the BFF: one for each sampled request of the API, by OpenTelemetry's conventions for HTTP."""

from collections.abc import Callable

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind

from bff.http.measures import METHODS
from shared.telemetry import traces

API = "/v1/"
"""Prefix of the paths that are traced."""

SERVER_ERROR = 500
"""The lowest status that counts as an error of the server."""


def trace_requests(app: ASGIFramework, ratio: Callable[[], float], *, trust_callers: bool) -> ASGIFramework:
    """Wrap the application so that each sampled request runs in a span of its own.

    Clients are not trusted: their trace headers do not decide sampling; a client's span is only linked to ours. With
    `trust_callers`, as behind a proxy of one's own, the caller's sampling decides and our span is a child of its span.
    """

    async def run(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        span = None
        if scope["type"] == "http" and scope["path"].startswith(API):
            span = _begin(scope, ratio(), trust_callers=trust_callers)
        if span is None:
            await app(scope, receive, send)
            return
        outcome: BaseException | None = None
        try:
            with traces.current(span):
                await app(scope, receive, send)
        except BaseException as error:  # trio.Cancelled too: the span records the outcome, and it is raised again
            outcome = error
            raise
        finally:
            traces.end(span, outcome)

    return run


def set_result(method: str, route: str, status: int) -> None:
    """Record the response on the span of this task's request. `route` is empty where no route matched."""
    for span in traces.current_spans():
        if route:
            span.update_name(f"{_method_name(method)} {route}")
            span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if status >= SERVER_ERROR:
            traces.fail(span, str(status))


def _begin(scope: HTTPScope, ratio: float, *, trust_callers: bool) -> Span | None:
    is_sampled = traces.should_sample(ratio)
    if not is_sampled and not trust_callers:
        return None
    sent = traces.sent_context({name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]})
    method = _method_name(scope["method"])
    attributes: traces.Attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
    if sent is None:
        return traces.begin(method, SpanKind.SERVER, attributes) if is_sampled else None
    caller = trace.get_current_span(sent).get_span_context()
    if trust_callers:
        return traces.begin(method, SpanKind.SERVER, attributes, below=sent) if caller.trace_flags.sampled else None
    return traces.begin(method, SpanKind.SERVER, attributes, links=[Link(caller)])


def _method_name(method: str) -> str:
    return method if method in METHODS else "_OTHER"
