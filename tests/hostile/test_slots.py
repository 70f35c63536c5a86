"""Peers without an account take every connection of every listener: others chat on, and new clients are served.

They connect from several addresses of this machine, as an address has a cap, to a process with few open files.
"""

from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx
import pytest
import trio
from h2.config import H2Configuration
from h2.connection import H2Connection

from shared.rpc import call_unary, open_channel
from shared.rpc.client.prepare import send_token
from shared.rpc.framing import frame_messages
from shared.rpc.standard.health_grpc import HealthStub
from shared.rpc.standard.health_pb2 import HealthCheckRequest
from tests.hostile.conftest import TOKEN
from tests.system.sessions import SUBPROTOCOL, TRANSPORTS, connector, open_session
from tools.launch.people import PATIENCE, sign_up
from tools.launch.process import ROOKERY, Rookery, port_of, running

FILES = 300
"""The process's limit on open files."""

ADDRESSES = [f"127.0.0.{number}" for number in range(2, 10)]

PER_ADDRESS = 45
"""Together more than the process may open."""

KEPT_SECONDS = 10.0
"""A connection that is silent for no longer stays open: HTTP closes one after 15 s."""

pytestmark = pytest.mark.usefixtures("chatting")


@pytest.fixture(scope="module")
def rookery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rookery]:
    folder = tmp_path_factory.mktemp("rookery")
    program = folder / "rookery"
    program.write_text(f'#!/bin/sh\nulimit -n {FILES}\nexec {ROOKERY} "$@"\n')
    program.chmod(0o755)
    process = Rookery(folder / "data", settings={"ROOKERY_ARCHIVE_TOKEN": TOKEN})
    process.program = Path(program)
    with running(process) as ready:
        yield ready
    lines = [line for line in ready.log_lines() if line["level"] in ("warning", "error")]
    assert {line["event"] for line in lines} <= {"connections_evicted"}


def websocket_upgrade() -> bytes:
    """A complete handshake, after which the client never signs in."""
    return (
        "GET /session HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {SUBPROTOCOL}\r\n\r\n"
    ).encode()


def http2_begun() -> bytes:
    """HTTP/2 without a call."""
    http2 = H2Connection(H2Configuration())
    http2.initiate_connection()
    return http2.data_to_send()


def health_watch() -> bytes:
    """HTTP/2 with a call that never ends and needs no token."""
    http2 = H2Connection(H2Configuration())
    http2.initiate_connection()
    path = "/grpc.health.v1.Health/Watch"
    headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x", "te": "trailers"}
    http2.send_headers(1, list((headers | {"content-type": "application/grpc"}).items()))
    http2.send_data(1, frame_messages([b""]), end_stream=True)
    return http2.data_to_send()


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        pytest.param("page", bytes, marks=pytest.mark.slow),
        ("page", lambda: b"POST /v1/tokens HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"),
        pytest.param("websocket", bytes, marks=pytest.mark.slow),
        ("websocket", websocket_upgrade),
        pytest.param("grpc", http2_begun, marks=pytest.mark.slow),
        ("grpc", health_watch),
        pytest.param("archive", health_watch, marks=pytest.mark.slow),
    ],
    ids=["HTTP, silent", "HTTP, slow", "WebSocket, silent", "WebSocket", "gRPC", "gRPC, watches", "archive, watches"],
)
async def test_held_connections_keep_out_nobody(rookery: Rookery, name: str, sent: Callable[[], bytes]) -> None:
    port = port_of(rookery.addresses[name])
    person = await sign_up(rookery.url, "canary")
    limits = httpx.Limits(keepalive_expiry=None)
    async with (
        httpx.AsyncClient(base_url=rookery.url, headers=person.headers, limits=limits, timeout=PATIENCE) as kept,
        AsyncExitStack() as strangers,
    ):
        own_port, answered = client_port(await kept.get("/v1/me")), trio.current_time()
        for number in range(PER_ADDRESS):
            for address in ADDRESSES:
                stranger = await trio.open_tcp_stream("127.0.0.1", port, local_address=address)
                strangers.push_async_callback(trio.aclose_forcefully, stranger)
                with suppress(trio.BrokenResourceError):
                    await stranger.send_all(sent())
            port_now = client_port(await kept.get("/v1/me"))
            was_idle = trio.current_time() - answered > KEPT_SECONDS
            assert port_now == own_port or was_idle, "the connection was closed"
            own_port, answered = port_now, trio.current_time()
            if number % (PER_ADDRESS // 3) == 0:
                await check_new_clients(rookery)
        await check_new_clients(rookery)


async def check_new_clients(rookery: Rookery) -> None:
    """A new user signs up, and every listener serves a new connection."""
    person = await sign_up(rookery.url, "newcomer")
    for transport in TRANSPORTS:
        async with open_session(connector(rookery, transport), person) as session:
            await session.check_alive()
    async with open_channel("127.0.0.1", port_of(rookery.addresses["archive"]), prepare=[send_token(TOKEN)]) as channel:
        await call_unary(HealthStub(channel).Check, HealthCheckRequest(), timeout=PATIENCE)


def client_port(response: httpx.Response) -> int:
    """The client's port of the connection that carried the response."""
    port: int = response.extensions["network_stream"].get_extra_info("client_addr")[1]
    return port
