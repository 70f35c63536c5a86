"""A bound of the requests for whose clients the server waits before anybody has signed in.

Behind a trusted proxy the cap of connections per address does not hold, and a connection on which a user has signed in
carries requests of other clients too. So the requests are bounded, not their connections.
"""

from collections.abc import Mapping
from typing import Any, cast

import structlog
import trio
from hypercorn.typing import (
    ASGIFramework,
    ASGIReceiveCallable,
    ASGIReceiveEvent,
    ASGISendCallable,
    ASGISendEvent,
    HTTPResponseBodyEvent,
    HTTPResponseStartEvent,
    Scope,
)

from bff.http.measures import measure_request
from bff.http.server import on_authenticated
from bff.http.tracing import set_result
from shared.contract.errors import Code, Refusal
from shared.contract.problems import MEDIA_TYPE, problem_of
from shared.telemetry.logs import Interval

MAX_STRANGERS = 500
"""Requests at once whose access token is not verified, and whose client has not sent the body, or reads the response: a
third of the connections that deploy/haproxy/haproxy.cfg opens to a BFF. Without a hostile client each takes a round
trip, so that a BFF has a few."""

_REFUSAL = Refusal(
    Code.INCOMPLETE, "Too many requests without a sign-in wait for their clients: send this one again.", field="body"
)

_MEASURED = "rookery.measured"
"""The key of the state of a request's scope that is there once the request is measured."""

_log = structlog.get_logger(__name__)


def mark_measured(scope: Mapping[str, Any]) -> None:
    """Note that the request is measured. Its response may not have begun yet."""
    scope.get("state", {})[_MEASURED] = True


class Strangers:
    """The requests before a sign-in for whose clients the server waits, the oldest first.

    A request does not count while the server works on it, as for a password that waits to be checked: those waits have
    bounds of their own, and an honest client can do nothing to end them.
    """

    def __init__(self, headers: Mapping[str, str]) -> None:
        """`headers` are added to every response."""
        self._headers = headers
        self._waited_for: dict[_Request, None] = {}
        self._evicted = 0
        self._may_warn = Interval()

    async def serve(
        self, app: ASGIFramework, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable
    ) -> None:
        """Run the application for a request. One more than MAX_STRANGERS ends the oldest: with 408, or by the end of
        its connection if its response has begun."""
        request = _Request(self, receive, send)
        self.wait_for(request)
        scope = on_authenticated(scope, request.authenticate)
        began = trio.current_time()
        try:
            with request.scope:
                await app(scope, request.receive, request.send)
        finally:
            self.forget(request)
        if request.scope.cancelled_caught and not request.responds and scope["type"] == "http":
            status = _REFUSAL.kind.http_status
            if _MEASURED not in cast(Mapping[str, Any], scope)["state"]:
                measure_request(scope["method"], "", status, trio.current_time() - began)
            set_result(scope["method"], "", status)
            await self._refuse(send)

    def wait_for(self, request: "_Request") -> None:
        """Count the request as the youngest for whose client the server waits."""
        self.forget(request)
        while len(self._waited_for) >= MAX_STRANGERS:
            oldest = next(iter(self._waited_for))
            self.forget(oldest)
            oldest.scope.cancel()
            self._evicted += 1
            if self._may_warn.has_passed():
                _log.warning("requests_evicted", total=self._evicted, waiting=len(self._waited_for))
        self._waited_for[request] = None

    def forget(self, request: "_Request") -> None:
        """Count the request no longer."""
        self._waited_for.pop(request, None)

    async def _refuse(self, send: ASGISendCallable) -> None:
        content, headers = problem_of(_REFUSAL)
        headers = {"Content-Type": MEDIA_TYPE, "Content-Length": str(len(content)), **headers, **self._headers}
        fields = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        status = _REFUSAL.kind.http_status
        await send(HTTPResponseStartEvent(type="http.response.start", status=status, headers=fields, trailers=False))
        await send(HTTPResponseBodyEvent(type="http.response.body", body=content, more_body=False))


class _Request:
    """A request, and the connection of which the application takes the methods."""

    def __init__(self, strangers: Strangers, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        self.scope = trio.CancelScope()
        self.responds = False
        self._strangers = strangers
        self._receive = receive
        self._send = send
        self._is_authenticated = False

    def authenticate(self) -> None:
        self._is_authenticated = True
        self._strangers.forget(self)

    async def receive(self) -> ASGIReceiveEvent:
        event = await self._receive()
        if not self.responds and not (event["type"] == "http.request" and event.get("more_body", False)):
            self._strangers.forget(self)
        return event

    async def send(self, event: ASGISendEvent) -> None:
        if event["type"] == "http.response.start":
            self.responds = True
            if not self._is_authenticated:
                self._strangers.wait_for(self)
        await self._send(event)
