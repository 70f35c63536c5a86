"""What traces tell of the BFF: each request of the API that is traced, by OpenTelemetry's conventions for HTTP."""

from collections.abc import Callable

from hypercorn.typing import ASGIFramework, ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope
from opentelemetry import trace
from opentelemetry.trace import Link, Span, SpanKind

from bff.http.measures import METHODS
from shared.telemetry import traces

API = "/v1/"
"""How the paths begin of what is traced."""

SERVER_ERROR = 500
"""The lowest status that says that it was our fault."""


def trace_requests(app: ASGIFramework, ratio: Callable[[], float], *, trust_callers: bool) -> ASGIFramework:
    """The application, with a span for each request that is traced, in which the rest of it is done.

    This is where strangers come in, so what they say of traces decides nothing: theirs are linked to ours. If callers
    are trusted, as a proxy in front may be, then it is theirs to decide, and ours go on with theirs.
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
        except BaseException as error:
            outcome = error
            raise
        finally:
            traces.end(span, outcome)

    return run


def answered(method: str, route: str, status: int) -> None:
    """The request that this task handles has its answer; its route is empty where there is none."""
    for span in traces.current_spans():
        if route:
            span.update_name(f"{_known(method)} {route}")
            span.set_attribute("http.route", route)
        span.set_attribute("http.response.status_code", status)
        if status >= SERVER_ERROR:
            traces.fail(span, str(status))


def _begin(scope: HTTPScope, ratio: float, *, trust_callers: bool) -> Span | None:
    chosen = traces.should_sample(ratio)
    if not chosen and not trust_callers:
        return None
    sent = traces.sent_context({name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]})
    method = _known(scope["method"])
    attributes: traces.Attributes = {"http.request.method": method, "url.scheme": scope["scheme"]}
    if sent is None:
        return traces.begin(method, SpanKind.SERVER, attributes) if chosen else None
    caller = trace.get_current_span(sent).get_span_context()
    if trust_callers:
        return traces.begin(method, SpanKind.SERVER, attributes, below=sent) if caller.trace_flags.sampled else None
    return traces.begin(method, SpanKind.SERVER, attributes, links=[Link(caller)])


def _known(method: str) -> str:
    return method if method in METHODS else "_OTHER"
