"""The HTTP server, through raw connections: slow, silent, rude and old-fashioned clients, and how it stops."""

import socket
import ssl
from collections import Counter
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from bff.http import endpoints
from bff.http.server import SPARED_OF_USER, USUAL_HEAD_BYTES, Server, mark_authenticated, open_http_server, turn_of
from shared.net.admission import ConnectionBudget, ConnectionLimits
from shared.net.heads import MAX_FIELDS
from shared.net.tls import ServerTls
from shared.net.turns import REQUEST_SECONDS, TURN_SECONDS, Turn
from tests.bff.conftest import Api
from tests.bff.http.connections import (
    MEGABYTE,
    NEVER,
    PATIENCE,
    Client,
    Receive,
    Send,
    application,
    connected,
    serving,
    until_connections,
)
from tests.waiting import counting_passes
from tools.launch.certificates import Authority

CHUNKED = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"

Secure = tuple[ServerTls, ssl.SSLContext] | tuple[None, None]


@pytest.fixture(params=["plain", "tls"])
def secure(request: pytest.FixtureRequest, tmp_path: Path) -> Secure:
    """The server's and the client's side of TLS; for promises that hold with and without it."""
    if request.param == "plain":
        return None, None
    authority = Authority(tmp_path / "certificates")
    issued = authority.issue()
    return ServerTls(issued.settings(), issued.certificate), authority.trusting()


class Slow:
    """An application that waits for `go_on`. `/me` has accepted an access token of user 1, `/me/2` of user 2."""

    def __init__(self) -> None:
        self.begun, self.go_on = trio.Event(), trio.Event()

    async def hold(self, client: Client, path: str) -> None:
        """Send a request, and return once it waits."""
        await client.get(path)
        await self.begun.wait()
        self.begun = trio.Event()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"].startswith("/me"):
            mark_authenticated(scope, 2 if scope["path"] == "/me/2" else 1)
        self.begun.set()
        await self.go_on.wait()
        await application(scope, receive, send)


# ---- ordinary clients


async def test_requests_sent_ahead_are_answered_in_order() -> None:
    async with serving() as server, connected(server) as client:
        await client.send("".join(f"GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n" for number in range(5)))
        received = await client.until(b"/4\r\n0\r\n\r\n")
        places = [received.index(f"/{number}\r\n0".encode()) for number in range(5)]
        assert places == sorted(places)


async def test_a_connection_ends_after_so_many_requests() -> None:
    async with serving(max_requests=2) as server, connected(server) as client:
        await client.get()
        await client.until(b"0\r\n\r\n")
        await client.get()
        assert b"connection: close" in (await client.rest()).lower()


@pytest.mark.parametrize(
    ("target", "path"),
    [("http://other.example/a?b", "/a"), ("*", "/"), ("?x", "/"), ("http://[::1/x", "/x"), ("//", "//"), ("x", "/")],
)
async def test_strange_targets_are_paths_like_others(target: str, path: str) -> None:
    async with serving() as server, connected(server) as client:
        await client.send(f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert f" {path}\r\n".encode() in await client.rest()


async def test_a_client_of_http_1_0_gets_a_response() -> None:
    async with serving() as server, connected(server) as client:
        await client.send("GET /old HTTP/1.0\r\n\r\n")
        assert (await client.rest()).endswith(b"/old")


# ---- HTTP/1.1 and nothing else


async def test_unrequested_http2_is_refused() -> None:
    async with serving() as server, connected(server) as client:
        await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        assert not (await client.rest()).startswith(b"\x00")
        await until_connections(server, 0)


@pytest.mark.parametrize(
    "upgrade",
    [
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n",
    ],
)
async def test_an_upgrade_is_ignored(upgrade: str) -> None:
    async with serving() as server, connected(server) as client:
        await client.get("/", upgrade)
        assert (await client.until(b"0\r\n\r\n")).startswith(b"HTTP/1.1 200")


# ---- slow, silent and rude clients


async def test_a_client_that_stops_reading_is_disconnected_and_others_are_undisturbed(secure: Secure) -> None:
    tls, context = secure
    async with serving(tls=tls, send_seconds=0.2) as server, AsyncExitStack() as clients:
        stalled, other = [await clients.enter_async_context(connected(server, context)) for _ in range(2)]
        await stalled.get("/large")
        await other.get("/other")
        assert b"/other" in await other.until(b"0\r\n\r\n")
        await until_connections(server, 1)
        if tls is None:
            assert len(await stalled.rest()) < 64 * MEGABYTE


async def test_a_client_that_sends_its_head_byte_by_byte_is_cut_off() -> None:
    async with serving(idle_seconds=0.2) as server, connected(server) as client:

        async def trickle() -> None:
            while True:
                await client.send("x")
                await trio.sleep(0.005)

        with trio.fail_after(PATIENCE), pytest.raises(trio.BrokenResourceError):
            await trickle()


@pytest.mark.parametrize("requests", [0, 1])
async def test_a_silent_connection_is_closed(requests: int) -> None:
    async with serving(idle_seconds=0.5) as server, connected(server) as client:
        for _ in range(requests):
            await client.get()
            await client.until(b"0\r\n\r\n")
        assert await client.rest() == b""
        await until_connections(server, 0)


async def test_a_user_holds_few_busy_connections_against_newcomers() -> None:
    slow = Slow()
    async with serving(slow, max_connections=3, max_of_user=2) as server, AsyncExitStack() as clients:
        own = [await clients.enter_async_context(connected(server)) for _ in range(3)]
        for client in own:
            await slow.hold(client, "/me")
        async with connected(server) as newcomer:
            await newcomer.get("/new")
            assert await own[0].rest() == b""
            await slow.begun.wait()
            slow.go_on.set()
            for client in (newcomer, *own[1:]):
                await client.until(b"0\r\n\r\n")


@pytest.mark.parametrize("path", ["/", "/me"])
async def test_the_oldest_idle_connection_makes_room_for_another(path: str) -> None:
    async with serving(max_connections=2) as server, connected(server) as first, connected(server) as second:
        for client in (first, second):
            await client.get(path)
            await client.until(b"0\r\n\r\n")
        async with connected(server) as third:
            for client in (third, second):
                await client.get("/still")
                await client.until(b"/still\r\n0\r\n\r\n")
            assert await first.rest() == b""
            assert server.connections == 2


async def test_a_connection_over_the_limit_is_closed_if_all_others_are_busy_and_authenticated() -> None:
    slow = Slow()
    async with serving(slow, max_connections=1) as server, connected(server) as first:
        await first.get("/me")
        await slow.begun.wait()
        async with connected(server) as second:
            assert await second.rest() == b""
        slow.go_on.set()
        await first.until(b"/me\r\n0\r\n\r\n")


async def test_the_user_with_the_most_busy_connections_makes_room_for_a_newcomer() -> None:
    slow = Slow()
    async with serving(slow, max_connections=SPARED_OF_USER + 3) as server, AsyncExitStack() as clients:
        connections = [await clients.enter_async_context(connected(server)) for _ in range(SPARED_OF_USER + 3)]
        for client, path in zip(connections, ["/me/2", "/me/2"] + ["/me"] * (SPARED_OF_USER + 1), strict=True):
            await slow.hold(client, path)
        async with connected(server) as newcomer:
            await newcomer.get("/new")
            assert await connections[2].rest() == b""
            await slow.begun.wait()
            async with connected(server) as second:
                await second.get("/new")
                assert await newcomer.rest() == b"", "it has not authenticated"
            slow.go_on.set()
            for client in (*connections[:2], *connections[3:]):
                await client.until(b"0\r\n\r\n")


async def test_a_busy_connection_that_never_authenticated_makes_room_before_an_idle_one_that_has() -> None:
    slow = Slow()
    async with serving(slow, max_connections=2) as server, AsyncExitStack() as clients:
        signed_in, busy = [await clients.enter_async_context(connected(server)) for _ in range(2)]
        slow.go_on.set()
        await signed_in.get("/me")
        await signed_in.until(b"/me\r\n0\r\n\r\n")
        slow.begun, slow.go_on = trio.Event(), trio.Event()
        await busy.get()
        await slow.begun.wait()
        async with connected(server) as newcomer:
            assert await busy.rest() == b""
            slow.go_on.set()
            for client in (newcomer, signed_in):
                await client.get("/still")
                await client.until(b"/still\r\n0\r\n\r\n")


@pytest.mark.parametrize("path", ["/", "/me"])
async def test_only_an_authenticated_connection_lives_longer_than_the_total_age(
    path: str, mock_clock: trio.testing.MockClock
) -> None:
    budget = ConnectionBudget(ConnectionLimits(total_seconds=100.0))
    async with serving(idle_seconds=60, budget=budget) as server, connected(server) as client:
        for _ in range(2):
            await client.get(path)
            await client.until(b"0\r\n\r\n")
            mock_clock.jump(49)
        await client.get(path)
        await client.until(b"0\r\n\r\n")
        mock_clock.jump(3)
        if path == "/":
            assert await client.rest() == b""
        else:
            await client.last_get("/me")


async def test_silent_sockets_leave_files_for_the_rest_of_the_process() -> None:
    budget = ConnectionBudget(total=20)
    other = budget.add_listener()
    async with serving(budget=budget) as server, AsyncExitStack() as clients:
        for _ in range(30):
            await clients.enter_async_context(connected(server))
        async with connected(server) as newcomer:
            await newcomer.get("/fine")
            await newcomer.until(b"/fine\r\n0\r\n\r\n")
        assert server.connections <= 20 - other.reserve


@pytest.mark.parametrize(
    "sent", ["\x00\x01\x02\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", "x" * 40_000]
)
async def test_bytes_other_than_http_are_refused_and_closed(sent: str) -> None:
    async with serving() as server, connected(server) as client:
        await client.send(sent)
        assert (await client.rest()).startswith(b"HTTP/1.1 4")
        await until_connections(server, 0)


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
        ("GET / HTTP/3.0\r\nHost: x\r\n\r\n", 400),
        ("GET / HTTP/0.9\r\nHost: x\r\n\r\n", 400),
        (f"GET / HTTP/1.1\r\nHost: x\r\nX: {'x' * 60_000}\r\n\r\n", 431),
        (f"GET /{'x' * 60_000} HTTP/1.1\r\nHost: x\r\n\r\n", 431),
        ("GET / HTTP/1.1\r\nHost: x\r\n" + "a:\n" * MAX_FIELDS + "\r\n", 431),
        (f"{CHUNKED}0\r\nX: {'x' * 20_000}\r\n\r\n", 431),
        (CHUNKED + "0\r\n" + "a:\n" * 200 + "\r\n", 431),
    ],
    ids=[
        "two lengths",
        "foreign encoding",
        "version 3",
        "version 0",
        "large header",
        "long target",
        "many fields",
        "large trailer",
        "many trailers",
    ],
)
async def test_a_refused_head_ends_the_connection_before_the_next_request(head: str, status: int) -> None:
    async with serving() as server, connected(server) as client:
        await client.send(f"{head}GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n")
        received = await client.rest()
        assert received.startswith(f"HTTP/1.1 {status} ".encode())
        assert received.count(b"HTTP/1.1") == 1
        await until_connections(server, 0)


async def test_a_client_that_vanishes_ends_its_request() -> None:
    ended = trio.Event()
    begun = trio.Event()

    async def wait_for_disconnect(scope: Any, receive: Receive, send: Send) -> None:
        begun.set()
        while (await receive())["type"] != "http.disconnect":
            pass
        ended.set()

    async with serving(wait_for_disconnect) as server:
        async with connected(server) as client:
            await client.get()
            await begun.wait()
        with trio.fail_after(PATIENCE):
            await ended.wait()
        await until_connections(server, 0)


async def test_a_client_that_vanishes_during_the_response_is_no_fault(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server:
        async with connected(server) as client:
            await client.get("/large")
            await client.until(b"200")
        await until_connections(server, 0)
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("bff.http.server.REQUEST_SECONDS", TURN_SECONDS),
        ("shared.net.turns.thread_time", count(step=TURN_SECONDS).__next__),
    ],
    ids=["requests", "parsing"],
)
async def test_requests_take_turns_with_those_of_the_same_address(
    name: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun_at = []

    async def note(scope: Any, receive: Receive, send: Send) -> None:
        begun_at.append(passes.passed)
        await application(scope, receive, send)

    async with serving(note) as server, AsyncExitStack() as stack, counting_passes() as passes:
        monkeypatch.setattr("shared.net.turns.CONNECTION_SECONDS", 0.0)
        monkeypatch.setattr(name, value)
        sockets = [socket.create_connection(server.address) for _ in range(20)]
        for each in sockets:  # without a pass between two requests
            each.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        for each in sockets:
            each.setblocking(False)
            stream = await stack.enter_async_context(trio.SocketStream(trio.socket.from_stdlib_socket(each)))
            await Client(stream).until(b"0\r\n\r\n")
    assert max(Counter(begun_at).values()) <= 2  # the tasks of two passes may run in either order


async def test_pieces_of_bodies_take_turns_with_those_of_the_same_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """The application knows the turn, for its own work."""
    monkeypatch.setattr("bff.http.server.PIECE_SECONDS", TURN_SECONDS)
    clients, pieces, turns = 10, 9, set[Turn]()

    async def read(scope: Any, receive: Receive, send: Send) -> None:
        turns.add(turn_of(scope))
        while (await receive())["more_body"]:
            pass
        await application(scope, receive, send)

    async def post(server: Server) -> None:
        async with connected(server) as client:
            await client.send(CHUNKED + "1\r\nx\r\n" * pieces + "0\r\n\r\n")
            await client.until(b"\r\n0\r\n\r\n")

    async with serving(read) as server, counting_passes() as passes, trio.open_nursery() as nursery:
        for _ in range(clients):
            nursery.start_soon(post, server)
    assert passes.passed >= clients * pieces - 1  # the first turn begins at once
    assert len(turns) == 1


async def test_a_request_is_charged_for_the_bytes_of_its_head(monkeypatch: pytest.MonkeyPatch) -> None:
    charged = list[float]()
    monkeypatch.setattr(Turn, "charge", lambda _, seconds: charged.append(seconds))
    async with serving() as server, connected(server) as client:
        for extra in ("", f"X: {'x' * 10 * USUAL_HEAD_BYTES}\r\n"):
            await client.get("/", extra)
            await client.until(b"0\r\n\r\n")
    usual, large = (each for each in charged if each >= REQUEST_SECONDS)
    assert (usual, round(large / usual)) == (REQUEST_SECONDS, 10)


async def test_an_application_that_breaks_ends_only_its_request() -> None:
    async with serving() as server, connected(server) as client, connected(server) as other:
        await client.get("/broken")
        assert (await client.rest()).startswith(b"HTTP/1.1 500")
        await other.get("/fine")
        await other.until(b"/fine\r\n0\r\n\r\n")


# ---- stopping


async def test_a_stop_closes_idle_and_half_open_connections_at_once(secure: Secure) -> None:
    tls, context = secure
    async with AsyncExitStack() as clients:
        async with serving(tls=tls, drain_seconds=NEVER) as server:
            idle = await clients.enter_async_context(connected(server, context, lenient=True))
            await idle.get()
            await idle.until(b"0\r\n\r\n")
            half_open = await clients.enter_async_context(connected(server))
            await until_connections(server, 2)
            started = trio.current_time()
        assert trio.current_time() - started < NEVER / 2
        for client in (half_open, idle):
            assert await client.rest() == b""


async def test_a_stop_lets_a_request_in_work_finish() -> None:
    slow = Slow()
    async with AsyncExitStack() as clients, trio.open_nursery() as nursery:
        async with serving(slow, drain_seconds=PATIENCE) as server:
            client = await clients.enter_async_context(connected(server))
            await client.get("/slow")
            await slow.begun.wait()
            nursery.start_soon(_later, slow.go_on)
        assert b"/slow" in await client.rest()


async def test_a_stop_answers_a_request_that_was_on_its_way() -> None:
    async with AsyncExitStack() as clients, trio.open_nursery() as nursery:
        async with serving(last_seconds=NEVER, drain_seconds=NEVER) as server:
            client = await clients.enter_async_context(connected(server))
            await client.get("/first")
            await client.until(b"/first\r\n0\r\n\r\n")
            nursery.start_soon(_get_later, client)
        assert b"/late" in await client.rest()


async def _get_later(client: Client) -> None:
    """Send a request once the stop has begun."""
    await trio.sleep(0.05)
    await client.get("/late")


async def _later(event: trio.Event) -> None:
    """Set the event once the stop has begun."""
    await trio.sleep(0.05)
    event.set()


async def test_clients_that_never_read_or_finish_do_not_delay_a_stop() -> None:
    async with AsyncExitStack() as clients:
        async with serving(send_seconds=NEVER, idle_seconds=NEVER, drain_seconds=0.2) as server:
            six = [await clients.enter_async_context(connected(server)) for _ in range(6)]
            for client in six[:3]:
                await client.get("/large")
            await six[3].send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
            await six[4].send("GET / HT")
            await until_connections(server, 6)
            started = trio.current_time()
        assert trio.current_time() - started < NEVER / 2
        assert server.connections == 0


async def test_a_stopped_server_takes_no_connections() -> None:
    async with serving() as server:
        address = server.address
    with pytest.raises(OSError, match="failed"):
        await trio.open_tcp_stream(*address)


async def test_an_address_that_is_taken_is_an_error() -> None:
    async with serving() as server:
        with pytest.raises(OSError, match="in use"):
            async with open_http_server(application, *server.address):
                raise AssertionError("it opened")


# ---- the whole application


async def test_a_body_that_is_too_large_is_refused_while_it_is_still_sent(api: Api, secure: Secure) -> None:
    tls, context = secure
    async with (
        serving(api.app, tls, linger_seconds=PATIENCE) as server,
        connected(server, context, lenient=True) as client,
    ):
        await client.send("POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, b"x" * 2_000_000)
            received = await client.rest()
    assert received.startswith(b"HTTP/1.1 413")
    assert b"too_large" in received


async def test_a_chunked_body_that_is_too_large_is_refused(api: Api) -> None:
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    async with serving(api.app, linger_seconds=PATIENCE) as server, connected(server) as client:
        await client.send("POST /v1/users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(chunk * 8)
        assert b"too_large" in await client.rest()


async def test_a_body_that_never_comes_is_an_error_of_its_client(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "BODY_SECONDS", 0.05)
    async with serving(api.app) as server, connected(server) as client:
        await client.send("POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        received = await client.rest()
    assert received.startswith(b"HTTP/1.1 408")
    assert b"incomplete" in received


@pytest.mark.parametrize("host", ["a" * 300, "[::1", "a..b", "\xe4", "x y"])
async def test_an_unusual_host_gets_a_response(api: Api, host: str) -> None:
    async with serving(api.app) as server, connected(server) as client:
        await client.send(f"GET /v1/none HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("latin-1"))
        assert (await client.rest()).startswith(b"HTTP/1.1 404")


async def test_an_answer_without_a_body_keeps_the_connection(api: Api, token: str) -> None:
    async with serving(api.app) as server, connected(server) as client:
        await client.send(f"DELETE /v1/tokens/current HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        await client.get("/livez")
        assert b'"ok"' in await client.until(b"}]}")
