"""A small HTTP server for the probes of a process and for `/metrics`."""

import json
from functools import partial
from http import HTTPStatus
from typing import Any

import h11
import structlog
import trio

from shared.net.accepting import serve_listeners
from shared.net.admission import Admission, ConnectionBudget
from shared.net.client_address import peer_address
from shared.net.listening import ClientStream, listen, port_of
from shared.net.tls import ServerTls
from shared.telemetry import metrics
from shared.telemetry.health import PROBES, Health

MAX_CONNECTIONS = 32
"""Most connections of probes at once, a quarter of them from one address; a further one closes the oldest."""

CONNECTION_DEADLINE = 5.0
"""Longest life of a probe's connection in seconds."""

_log = structlog.get_logger(__name__)


async def serve_health(
    health: Health,
    host: str,
    port: int,
    *,
    tls: ServerTls | None = None,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve probes over HTTP/1.1 until cancelled. Passes the bound port to `task_status.started`.

    Each connection serves one request, for `CONNECTION_DEADLINE` seconds at most; `MAX_CONNECTIONS` may be open.
    """
    listeners = await listen(host, port, tls=tls)
    task_status.started(port_of(listeners))
    admission = ConnectionBudget(total=MAX_CONNECTIONS).add_listener()
    await serve_listeners(partial(_serve_connection, health, admission), listeners)


async def _serve_connection(health: Health, admission: Admission, stream: ClientStream) -> None:
    scope = trio.CancelScope(deadline=trio.current_time() + CONNECTION_DEADLINE)
    slot = admission.admit(peer_address(stream), scope.cancel)
    if slot is None:
        return
    try:
        with scope:
            await _serve_request(health, stream)
    except (trio.BrokenResourceError, h11.LocalProtocolError) as error:
        _log.debug("probe_disconnected", reason=str(error))
    finally:
        slot.release()


async def _serve_request(health: Health, stream: ClientStream) -> None:
    connection = h11.Connection(h11.SERVER)
    method = b""
    try:
        request = await _receive_request(connection, stream)
        if request is None:
            return
        method = request.method
        status, content_type, content = await _respond(health, request)
    except h11.RemoteProtocolError:
        status, content_type, content = _json(HTTPStatus.BAD_REQUEST, {"status": "not understood"})
    headers = [("Content-Type", content_type), ("Content-Length", str(len(content))), ("Connection", "close")]
    events: list[h11.Event] = [h11.Response(status_code=status, headers=headers, reason=HTTPStatus(status).phrase)]
    if method != b"HEAD":
        events.append(h11.Data(content))
    await stream.send_all(b"".join(connection.send(event) or b"" for event in [*events, h11.EndOfMessage()]))


async def _receive_request(connection: h11.Connection, stream: ClientStream) -> h11.Request | None:
    """Return the head of the request; None if the client closed instead."""
    while (event := connection.next_event()) is h11.NEED_DATA:
        connection.receive_data(bytes(await stream.receive_some()))
    return event if isinstance(event, h11.Request) else None


async def _respond(health: Health, request: h11.Request) -> tuple[int, str, bytes]:
    """Return the status, the content type and the content of the response."""
    if request.method not in (b"GET", b"HEAD"):
        return _json(HTTPStatus.METHOD_NOT_ALLOWED, {"status": "only GET and HEAD are answered"})
    path = request.target.partition(b"?")[0].decode()
    if path == "/metrics":
        return HTTPStatus.OK, metrics.CONTENT_TYPE, await metrics.exposition()
    for probe in PROBES:
        if path == f"/{probe}":
            return _json(*await health.report(probe))
    return _json(
        HTTPStatus.NOT_FOUND, {"status": "not found", "paths": [*(f"/{probe}" for probe in PROBES), "/metrics"]}
    )


def _json(status: int, body: dict[str, Any]) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(body).encode()
