"""Start and stop: fast and clean, whatever clients do; a failed start prints its cause."""

import itertools
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import trio

from rookery.client.connection import connect_grpc
from rookery.client.errors import Unreachable
from tests.system.commands import check_refused
from tests.system.sessions import (
    Session,
    connect_stock,
    connect_websocket,
    connector,
    open_session,
    text_to,
)
from tools.launch.freezing import freeze
from tools.launch.people import read_history, sign_up
from tools.launch.process import ANNOUNCED, Rookery, port_of, running, wait_until

READY_SECONDS = 60.0
"""Until it is ready: 2 s on an idle machine, with a margin for a busy one."""

STOP_SECONDS = 10.0
"""From a signal to the end."""

BIG_TEXT = "big " * 100_000
BIG_TEXTS = 24
"""10 MB together: more than a session's queue and socket buffers hold."""

HALF_A_HANDSHAKE = {
    "page": b"GET / HTTP/1.1\r\nHost: x\r\n",
    "websocket": b"GET /session HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n",
    "grpc": b"PRI * HTTP/2.0\r\n",
    "archive": b"PRI * HTTP/2.0\r\n",
    "gateway_health": b"GET /livez",
    "archive_health": b"",
}
"""Bytes that a client sends before it stalls, for each listener."""


@pytest.fixture
def roomy(tmp_path: Path) -> Iterator[Rookery]:
    """A platform that accepts large messages."""
    with running(Rookery(tmp_path / "data", max_text_bytes=500_000, max_frame_bytes=1_000_000)) as ready:
        yield ready


async def stop(rookery: Rookery, number: signal.Signals) -> tuple[int, float]:
    """Send a signal; return the exit code, and the seconds until the end."""
    began = time.monotonic()
    rookery.signal(number)
    code = await trio.to_thread.run_sync(rookery.wait)
    return code, time.monotonic() - began


@asynccontextmanager
async def stalled_clients(rookery: Rookery, stubs: Path) -> AsyncIterator[None]:
    """Clients that never read their responses, on every listener, and clients that never finish a handshake.

    Slow steps come before the first client stalls: it is disconnected half a minute later.
    """
    ada, grace = await sign_up(rookery.url, "ada"), await sign_up(rookery.url, "grace")
    chat_id = ada.chat_with(grace)
    async with open_session(connector(rookery, "websocket"), ada) as session:
        missed_all = session.position
    async with open_session(connector(rookery, "websocket"), grace) as session:
        for _ in range(BIG_TEXTS):
            await session.send_text(chat_id, BIG_TEXT)
    await read_history(rookery.url, grace, chat_id, until=lambda messages: len(messages) == BIG_TEXTS)
    async with AsyncExitStack() as stack:
        stock = await stack.enter_async_context(connect_stock(rookery.grpc, stubs))
        await Session(stock).authenticate(ada.access_token, missed_all)
        freeze(stock.process.pid)  # its whole connection stalls; the clients below stall only their streams
        stack.callback(stock.process.send_signal, signal.SIGCONT)
        for connect in (partial(connect_websocket, rookery.websocket), partial(connect_grpc, rookery.grpc)):
            await stack.enter_async_context(open_session(connect, ada, position=missed_all))

        request = f"GET /v1/chats/{chat_id}/messages?limit=100 HTTP/1.1\r\nHost: x\r\n"
        request += f"Authorization: Bearer {ada.access_token}\r\n\r\n"
        await stack.enter_async_context(await connect_silently(rookery, "page", request.encode()))
        for name, data in HALF_A_HANDSHAKE.items():
            await stack.enter_async_context(await connect_silently(rookery, name, data))
        yield


async def connect_silently(rookery: Rookery, name: str, data: bytes) -> trio.SocketStream:
    """Open a connection, send bytes, and never read."""
    stream = await trio.open_tcp_stream("127.0.0.1", port_of(rookery.addresses[name]))
    await stream.send_all(data)
    return stream


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_it_in_time_though_clients_never_read(
    roomy: Rookery, stubs: Path, number: signal.Signals
) -> None:
    async with stalled_clients(roomy, stubs):
        code, seconds = await stop(roomy, number)
    print(f"stopped in {seconds:.1f} s")
    assert (code, seconds < STOP_SECONDS) == (0, True), (code, seconds)
    assert roomy.log_lines()[-1]["event"] == "stopped"
    (drained,) = [line for line in roomy.log_lines() if line["event"] == "gateway_drained"]
    assert drained["sessions"] == 3
    assert drained["left"] == 0 or not drained["in_time"], "on a busy machine, sessions end with their gateway"
    assert [line for line in roomy.log_lines() if line["level"] == "error"] == []


@pytest.mark.slow
async def test_a_second_signal_ends_it_at_once(roomy: Rookery, stubs: Path) -> None:
    async with stalled_clients(roomy, stubs):
        roomy.signal(signal.SIGTERM)
        assert await trio.to_thread.run_sync(wait_until, lambda: '"stopping"' in roomy.log.read_text())
        code, _ = await stop(roomy, signal.SIGTERM)
    assert code == 1
    assert "gateway_drained" not in {line["event"] for line in roomy.log_lines()}  # it waited for no session


@pytest.mark.parametrize("transport", ["websocket", pytest.param("grpc", marks=pytest.mark.slow)])
async def test_clients_get_reconnect_and_every_read_send_is_answered(own_rookery: Rookery, transport: str) -> None:
    first_start = own_rookery.ready_seconds
    ada, grace = await sign_up(own_rookery.url, "ada"), await sign_up(own_rookery.url, "grace")
    chat_id = ada.chat_with(grace)
    async with open_session(connector(own_rookery, transport), ada) as session, trio.open_nursery() as nursery:
        enough = trio.Event()
        nursery.start_soon(send_until, enough, session, chat_id)
        await session.next("accepted")
        own_rookery.signal(signal.SIGTERM)
        enough.set()
        frames = await session.read_to_end()
        nursery.cancel_scope.cancel()
    assert await trio.to_thread.run_sync(own_rookery.wait) == 0
    assert [frame.WhichOneof("frame") for frame in frames[-2:]] == ["reconnect", "goodbye"]

    accepted = {frame.accepted.event_id for frame in frames if frame.HasField("accepted")}
    await trio.to_thread.run_sync(own_rookery.start)
    print(f"ready in {first_start:.2f} s on new data, in {own_rookery.ready_seconds:.2f} s on old")
    assert max(first_start, own_rookery.ready_seconds) < READY_SECONDS
    history = await read_history(own_rookery.url, ada, chat_id, until=lambda messages: len(messages) >= len(accepted))
    assert {item.message.message_id for item in history} == accepted
    assert len(history) == len(accepted)


async def send_until(enough: trio.Event, session: Session, chat_id: str) -> None:
    """Send as fast as the server reads, but not to its end: later data would reset the connection, and discard frames
    that this client has not read yet."""
    with suppress(Unreachable):
        for number in itertools.count():
            if enough.is_set():
                return
            await session.send_frame(send=text_to(chat_id, f"number {number}"), first_sent_ms_ago=0)


def test_only_its_owner_may_read_the_data(rookery: Rookery) -> None:
    files = list(rookery.data.glob("*.db*"))
    assert len(files) >= 4
    assert [file.name for file in files if file.stat().st_mode & 0o077] == []


def test_a_second_process_on_the_same_data_is_refused_with_the_cause(rookery: Rookery) -> None:
    ports = {setting: "0" for _, setting in ANNOUNCED.values()}
    reason = f"another process has the log in {rookery.data} open: stop it first, or set ROOKERY_DATA"
    check_refused(rookery.run("up", **ports), 1, reason)


@pytest.mark.slow  # tests/shared/net/test_listening.py has the sentence
@pytest.mark.parametrize("name", ["page", "grpc"])
def test_a_port_in_use_is_named(rookery: Rookery, tmp_path: Path, name: str) -> None:
    _, setting = ANNOUNCED[name]
    settings = {setting: "0" for _, setting in ANNOUNCED.values()} | {"ROOKERY_DATA": str(tmp_path / "data")}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        refused = rookery.run("up", **settings | {setting: str(port)})
    check_refused(refused, 1, f"nothing can listen on 127.0.0.1:{port}")
