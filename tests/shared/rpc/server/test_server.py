"""Handshakes that fail, and too many connections: each ends in time, and other clients are served."""

import resource
import socket
import ssl
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, ExitStack
from math import inf
from typing import Any

import pytest
import trio
import trio.lowlevel
import trio.testing
import trustme
from h2.events import ConnectionTerminated
from hyperframe.frame import PingFrame, SettingsFrame
from trio.testing import MockClock

from shared.net.admission import ConnectionBudget, ConnectionLimits
from shared.rpc import Channel, Limits, Status, open_channel
from shared.rpc.connection import keep_alive
from shared.rpc.server.server import Server, serve_rpc
from tests.shared.rpc.calling import get_chat
from tests.shared.rpc.conftest import (
    FRAME,
    PREFACE,
    Connect,
    ConnectRaw,
    RawClient,
    Serve,
    SessionStream,
    eventually,
    make_services,
)
from tests.shared.rpc.servers import showing, trusting

PATIENCE = 60.0
"""Seconds for handshakes and calls that the test does not let time out."""

BATCHES = 5
"""Batches of half-open handshakes; clients call after each."""


@pytest.fixture(name="tls")
def tls_fixture(authority: trustme.CA) -> ssl.SSLContext:
    return showing(authority.issue_cert("127.0.0.1"), "h2")


@pytest.mark.parametrize(
    "sent",
    [b"", PREFACE[:10], PREFACE, PREFACE + SettingsFrame(0).serialize()[:5]],
    ids=["nothing", "part", "preface", "frame"],
)
async def test_a_client_that_does_not_finish_its_preface_is_closed(
    sent: bytes, connect_raw: ConnectRaw, autojump_clock: MockClock
) -> None:
    limits = Limits(handshake_timeout=5)
    first = await connect_raw(limits=limits)
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.server.serve_connection, far)
        await near.send_all(sent)
        await trio.testing.wait_all_tasks_blocked()
        assert first.server.statistics().handshaking == 1
        while await near.receive_some():
            pass
    assert trio.current_time() == pytest.approx(5)
    statistics = first.server.statistics()
    assert (statistics.connections, statistics.handshaking, statistics.handshakes_failed) == (1, 0, 1)
    await first.prove_alive()


async def test_a_server_that_is_cancelled_before_it_begins_ends() -> None:
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            scope.cancel()
            await nursery.start(serve_rpc, [], [])
    assert scope.cancelled_caught


async def test_a_client_that_has_shaken_hands_may_be_silent(connect_raw: ConnectRaw, autojump_clock: MockClock) -> None:
    client = await connect_raw(limits=Limits(handshake_timeout=5))
    await trio.sleep(100)
    await client.prove_alive()
    assert client.server.statistics().connections == 1


# ---- clients that do not authenticate

PINGING = Limits(keepalive_interval=10)
"""Silent clients get a ping at least every 20 seconds."""


async def authenticate_once(stream: SessionStream) -> None:
    """Authenticate if the client sends a frame, then wait for ever."""
    if await stream.receive() is not None:
        stream.authenticate()
        await stream.send(FRAME)
    await trio.sleep_forever()


async def sign_in_and_out(stream: SessionStream) -> None:
    try:
        await authenticate_once(stream)
    finally:
        stream.end_authentication()


def guarded(total: int = 10, connect: Connect = authenticate_once) -> Server:
    """A server whose clients authenticate by a frame on Connect."""
    budget = ConnectionBudget(ConnectionLimits(idle_seconds=20, total_seconds=60), total)
    return Server(make_services(connect=connect), PINGING, admission=budget.add_listener())


@pytest.fixture
async def guarded_client(connect_raw: ConnectRaw, nursery: trio.Nursery) -> RawClient:
    """A client of a guarded server that keeps its connections alive."""
    server = guarded()
    nursery.start_soon(keep_alive, server.connections, PINGING)
    return await connect_raw(server=server)


async def until_closed(client: RawClient) -> float:
    """Answer pings until the server closes; return the time."""
    while await client.receive():
        pass
    return trio.current_time()


async def test_a_client_that_answers_pings_and_begins_no_call_is_closed(
    guarded_client: RawClient, autojump_clock: MockClock
) -> None:
    assert await until_closed(guarded_client) == pytest.approx(20, abs=6)
    assert any(isinstance(event, ConnectionTerminated) for event in guarded_client.events)


async def test_a_call_without_a_sign_in_ends_at_the_connection_s_total_age_although_its_client_stays(
    guarded_client: RawClient, autojump_clock: MockClock
) -> None:
    client, server = guarded_client, guarded_client.server
    call = await client.call()
    with trio.move_on_after(40):
        await until_closed(client)
    assert server.statistics().calls == 1
    assert (await client.status_of(call))[0] == Status.UNAVAILABLE.value
    assert await until_closed(client) == pytest.approx(60, abs=7)
    await trio.sleep(2 * PINGING.close_timeout)  # the client still leaves its side open
    assert server.statistics().connections == 0


@pytest.mark.parametrize(("connect", "seconds"), [(authenticate_once, inf), (sign_in_and_out, 20)])
async def test_a_client_may_be_silent_and_without_a_call_while_it_is_authenticated(
    connect: Connect, seconds: float, connect_raw: ConnectRaw, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    server = guarded(connect=connect)
    nursery.start_soon(keep_alive, server.connections, PINGING)
    client = await connect_raw(server=server)
    call = await client.call()
    await client.ping(call)
    await client.data_of(call)
    with trio.move_on_after(100):
        await until_closed(client)
    client.http2.reset_stream(call)
    await client.flush()
    began = trio.current_time()
    with trio.move_on_after(200) as open_for:
        assert await until_closed(client) - began == pytest.approx(seconds, abs=6)
    assert open_for.cancelled_caught == (seconds == inf)


async def test_a_newcomer_closes_the_oldest_client_that_never_authenticated(connect_raw: ConnectRaw) -> None:
    server = guarded(total=3)
    signed_in, oldest, other = [await connect_raw(server=server) for _ in range(3)]
    for client in (signed_in, oldest, other):
        await client.prove_alive()
    call = await signed_in.call()
    await signed_in.ping(call)
    await signed_in.data_of(call)
    newcomer = await connect_raw(server=server)
    await until_closed(oldest)
    for client in (signed_in, other, newcomer):
        await client.prove_alive()
    assert server.statistics().connections_refused == 0


@pytest.mark.parametrize("frame", [PingFrame(0, b"12345678"), SettingsFrame(0, flags=["ACK"])], ids=["ping", "ack"])
async def test_the_first_frame_must_be_the_settings(frame: Any, connect_raw: ConnectRaw) -> None:
    client = await connect_raw()
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.server.serve_connection, far)
        await near.send_all(PREFACE + frame.serialize() + PingFrame(0, b"ignored.").serialize())
        other = type(client)(near, client.server)
        other.http2.initiate_connection()
        await other.receive_until(lambda event: isinstance(event, ConnectionTerminated))
        await near.aclose()
    assert client.server.statistics().handshakes_failed == 1


async def test_one_handshake_too_many_ends_the_oldest(connect_raw: ConnectRaw) -> None:
    client = await connect_raw(limits=Limits(max_handshakes=3, handshake_timeout=PATIENCE))
    await client.prove_alive()
    async with trio.open_nursery() as nursery:
        ends = []
        for number in range(5):
            near, far = trio.testing.memory_stream_pair()
            ends.append(near)
            nursery.start_soon(client.server.serve_connection, far)
            await trio.testing.wait_all_tasks_blocked()
            assert client.server.statistics().handshaking == min(number + 1, 3)
        assert [await end.receive_some() for end in ends[:2]] == [b"", b""]
        await client.prove_alive()
        for end in ends:
            await end.aclose()
    assert client.server.statistics().handshakes_failed == 5


async def test_a_connection_too_many_is_closed_at_once(connect_raw: ConnectRaw) -> None:
    client = await connect_raw(limits=Limits(max_connections=2, handshake_timeout=PATIENCE))
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.server.serve_connection, far)
        await trio.testing.wait_all_tasks_blocked()
        refused, its_far = trio.testing.memory_stream_pair()
        await client.server.serve_connection(its_far)
        assert await refused.receive_some() == b""
        assert client.server.statistics().connections_refused == 1
        await near.aclose()
    near, far = trio.testing.memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.server.serve_connection, far)
        await near.send_all(PREFACE)
        assert await near.receive_some()
        await near.aclose()
    await client.prove_alive()


@pytest.mark.parametrize("alpn", [(), ("http/1.1",)])
async def test_a_client_that_does_not_choose_http2_over_tls_is_closed(
    alpn: tuple[str, ...], serve: Serve, tls: ssl.SSLContext, authority: trustme.CA
) -> None:
    server = await serve(tls=tls)
    context = trusting(authority, *alpn)
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", server.port, ssl_context=context, https_compatible=True)
    with trio.fail_after(30):
        try:
            await stream.send_all(PREFACE)
            assert await stream.receive_some() == b""
        except trio.BrokenResourceError:
            pass
    await trio.aclose_forcefully(stream)
    assert server.server.statistics().handshakes_failed == 1


@pytest.mark.parametrize(
    "sent", [b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"], ids=["nothing", "part", "plain"]
)
async def test_an_invalid_tls_handshake_ends_in_time(sent: bytes, serve: Serve, tls: ssl.SSLContext) -> None:
    server = await serve(limits=Limits(handshake_timeout=0.2, drain_timeout=0), tls=tls)
    stream = await trio.open_tcp_stream("127.0.0.1", server.port)
    with trio.fail_after(30):
        await stream.send_all(sent)
        try:
            while await stream.receive_some():
                pass
        except trio.BrokenResourceError:
            pass
        await eventually(lambda: not server.server.statistics().handshaking)
    assert server.server.statistics().handshakes_failed == 1
    await stream.aclose()


@pytest.fixture
def many_files() -> Iterator[int]:
    """Raise this process's limit of open files to the hard limit, and return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("half_open", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_half_open_handshakes_harm_no_other_client(
    half_open: int, serve: Serve, tls: ssl.SSLContext, authority: trustme.CA, many_files: int
) -> None:
    """Connected clients are served, and new ones can connect. Both ends are in this process, whose limit of open files
    may reduce the number of handshakes."""
    limits = Limits(close_timeout=0.2, handshake_timeout=PATIENCE)
    batch = min(half_open, many_files - limits.max_handshakes - 500) // BATCHES
    server = await serve(limits=limits, tls=tls)
    context = trusting(authority)

    def connect() -> AbstractAsyncContextManager[Channel]:
        return open_channel("127.0.0.1", server.port, tls=context, limits=Limits(connect_timeout=PATIENCE))

    with ExitStack() as sockets:
        async with connect() as first:
            await get_chat(first, timeout=PATIENCE)
            for _ in range(BATCHES):
                for _ in range(batch):
                    sockets.enter_context(silent(server.port))
                await get_chat(first, timeout=PATIENCE)
                async with connect() as another:
                    await get_chat(another, timeout=PATIENCE, wait_for_ready=True)
                assert server.server.statistics().handshaking <= limits.max_handshakes
                assert trio.lowlevel.current_statistics().tasks_living < limits.max_handshakes + 100
    await eventually(lambda: not server.server.connections and not server.server.statistics().handshaking)
    assert server.server.statistics().handshakes_failed == BATCHES * batch


def silent(port: int) -> socket.socket:
    """Open a connection that sends nothing."""
    end = socket.socket()
    end.setblocking(False)
    end.connect_ex(("127.0.0.1", port))
    return end
