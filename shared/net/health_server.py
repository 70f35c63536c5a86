"""A small HTTP server for the probes of a process and for `/metrics`."""

import json
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any

import h11
import structlog
import trio

from shared.contract.errors import Code, Refusal
from shared.contract.problems import MEDIA_TYPE, problem_of
from shared.net.accepting import serve_listeners
from shared.net.admission import Admission, ConnectionBudget
from shared.net.client_address import peer_address
from shared.net.heads import ServerConnection, refusal_of_head
from shared.net.listening import ClientStream, listen, port_of
from shared.net.tls import ServerTls
from shared.net.turns import REQUEST_SECONDS, Turn, Turns, await_client
from shared.telemetry import metrics
from shared.telemetry.health import PROBES, Health

MAX_CONNECTIONS = 32
"""Most connections of probes at once, a quarter of them from one address; a further one closes the oldest."""

CONNECTION_DEADLINE = 5.0
"""Longest life of a probe's connection in seconds."""

MAX_HEAD_BYTES = 16 * 1024
"""Most bytes of a request's line and headers together."""

Response = tuple[int, dict[str, str], bytes]
"""Status, headers and content."""

Respond = Callable[[h11.Request], Awaitable[Response]]

_STARTING = Refusal(Code.UNAVAILABLE, "This server is starting: try again soon.")

_log = structlog.get_logger(__name__)


async def serve_health(
    health: Health,
    host: str,
    port: int,
    *,
    tls: ServerTls | None = None,
    is_starting: bool = False,
    turns: Turns | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve probes over HTTP/1.1 until cancelled. Passes the bound port to `task_status.started`.

    Other requests are refused; with `is_starting` by a 503 that asks to send them again, for they are meant for the
    server that has the port later.

    Each connection serves one request, for `CONNECTION_DEADLINE` seconds at most; `MAX_CONNECTIONS` may be open, beside
    the budget of other listeners, so that these can't keep out probes. `turns` are those of the other listeners.
    """
    listeners = await listen(host, port, tls=tls)
    task_status.started(port_of(listeners))
    admission = ConnectionBudget(total=MAX_CONNECTIONS, turns=turns).add_listener()
    respond = partial(_respond, health, metrics.Exposition(), is_starting)
    await serve_listeners(partial(_serve_connection, respond, admission), listeners)


async def _serve_connection(respond: Respond, admission: Admission, stream: ClientStream) -> None:
    scope = trio.CancelScope(deadline=trio.current_time() + CONNECTION_DEADLINE)
    slot = admission.admit(peer_address(stream), scope.cancel)
    if slot is None:
        return
    try:
        with scope:
            await await_client(stream, slot.turn)
            await _serve_request(respond, stream, slot.turn)
    except (OSError, trio.BrokenResourceError, h11.LocalProtocolError) as error:
        _log.debug("probe_disconnected", reason=str(error))
    finally:
        slot.release()


async def _serve_request(respond: Respond, stream: ClientStream, turn: Turn) -> None:
    connection = ServerConnection(MAX_HEAD_BYTES)
    method = b""
    try:
        request = await _receive_request(connection, stream, turn)
        if request is None:
            return
        method = request.method
        status, headers, content = await respond(request)
    except h11.RemoteProtocolError as error:
        status, headers, content = _json(error.error_status_hint, {"status": "not understood"})
    fields = [*headers.items(), ("Content-Length", str(len(content))), ("Connection", "close")]
    events: list[h11.Event] = [h11.Response(status_code=status, headers=fields, reason=HTTPStatus(status).phrase)]
    if method != b"HEAD":
        events.append(h11.Data(content))
    await stream.send_all(b"".join(connection.send(event) or b"" for event in [*events, h11.EndOfMessage()]))


async def _receive_request(connection: h11.Connection, stream: ClientStream, turn: Turn) -> h11.Request | None:
    """Return the head of the request, once it is the client's turn; None if the client closed instead.

    Raises h11.RemoteProtocolError for a head that is refused.
    """
    while (event := _next_event(connection, turn)) is h11.NEED_DATA:
        connection.receive_data(bytes(await stream.receive_some()))
        await turn.wait()
    if not isinstance(event, h11.Request):
        return None
    turn.charge(REQUEST_SECONDS)
    if status := refusal_of_head(event):
        raise h11.RemoteProtocolError(status.phrase, error_status_hint=status)
    return event


def _next_event(connection: h11.Connection, turn: Turn) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
    with turn:
        return connection.next_event()


async def _respond(health: Health, exposition: metrics.Exposition, is_starting: bool, request: h11.Request) -> Response:
    path = request.target.partition(b"?")[0].decode()
    is_read = request.method in (b"GET", b"HEAD")
    if is_read and path == "/metrics":
        return HTTPStatus.OK, {"Content-Type": metrics.CONTENT_TYPE}, await exposition.text()
    for probe in PROBES:
        if is_read and path == f"/{probe}":
            return _json(*await health.report(probe))
    if is_starting:
        content, headers = problem_of(_STARTING)
        return _STARTING.kind.http_status, {"Content-Type": MEDIA_TYPE, **headers}, content
    if not is_read:
        return _json(HTTPStatus.METHOD_NOT_ALLOWED, {"status": "only GET and HEAD are answered"})
    return _json(
        HTTPStatus.NOT_FOUND, {"status": "not found", "paths": [*(f"/{probe}" for probe in PROBES), "/metrics"]}
    )


def _json(status: int, body: dict[str, Any]) -> Response:
    return status, {"Content-Type": "application/json"}, json.dumps(body).encode()
