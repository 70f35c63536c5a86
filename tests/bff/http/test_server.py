"""The HTTP server, through raw sockets: what slow, silent, rude and old-fashioned clients get, and how it stops."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
import trio

from bff.http import endpoints
from bff.http.server import HttpLimits, Server, open_http_server

if TYPE_CHECKING:
    from tests.bff.conftest import Api

PATIENCE = 10.0
"""Seconds after which a test has failed; what it waits for takes a fraction of one."""

NEVER = 600.0
"""Seconds: for a limit that must not be what ended something, however long the machine stood still."""

MEGABYTE = 1024 * 1024

Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


async def application(scope: Any, receive: Receive, send: Send) -> None:
    """Answers by path: `/large` with 64 MB, `/broken` not at all, anything else with the path."""
    if scope["path"] == "/broken":
        raise RuntimeError("broken")
    body = scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    if scope["path"] == "/large":
        for _ in range(64):
            await send({"type": "http.response.body", "body": bytes(MEGABYTE), "more_body": True})
    await send({"type": "http.response.body", "body": body, "more_body": False})


class Client:
    """A raw connection to a server."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream

    async def send(self, text: str | bytes) -> None:
        await self.stream.send_all(text.encode() if isinstance(text, str) else text)

    async def get(self, path: str = "/", headers: str = "") -> None:
        await self.send(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")

    async def until(self, end: bytes) -> bytes:
        """What arrives, up to and with `end`."""
        received = b""
        with trio.fail_after(PATIENCE):
            while end not in received:
                data = await self.stream.receive_some(4096)
                assert data, f"closed after {received[-200:]!r}"
                received += data
        return received

    async def rest(self) -> bytes:
        """What arrives until the server closes."""
        received = b""
        with trio.fail_after(PATIENCE):
            try:
                while data := await self.stream.receive_some(65_536):
                    received += data
            except trio.BrokenResourceError:
                pass
        return received


@asynccontextmanager
async def serving(app: Any = application, *, linger_seconds: float = 0.05, **limits: Any) -> AsyncIterator[Server]:
    """A server on a free port, with these limits."""
    all_limits = HttpLimits(linger_seconds=linger_seconds, **limits)
    async with open_http_server(app, "127.0.0.1", 0, all_limits) as server:
        yield server


@asynccontextmanager
async def connected(server: Server) -> AsyncIterator[Client]:
    stream = await trio.open_tcp_stream(*server.address)
    async with stream:
        yield Client(stream)


async def all_gone(server: Server) -> None:
    with trio.fail_after(PATIENCE):
        while server.connections:
            await trio.sleep(0.005)


# ---- ordinary clients


async def test_requests_follow_each_other_on_one_connection() -> None:
    async with serving() as server, connected(server) as client:
        for number in range(3):
            await client.get(f"/{number}")
            assert (await client.until(b"\r\n0\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert server.connections == 1


async def test_requests_sent_ahead_are_answered_in_order() -> None:
    async with serving() as server, connected(server) as client:
        await client.send("".join(f"GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n" for number in range(5)))
        received = await client.until(b"/4\r\n0\r\n\r\n")
        assert [received.index(f"/{number}\r\n0".encode()) for number in range(5)] == sorted(
            received.index(f"/{number}\r\n0".encode()) for number in range(5)
        )


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
        assert f"\r\n{path}\r\n".encode() in await client.rest()


async def test_a_client_of_http_1_0_is_answered() -> None:
    async with serving() as server, connected(server) as client:
        await client.send("GET /old HTTP/1.0\r\n\r\n")
        assert (await client.rest()).endswith(b"/old")


# ---- HTTP/1.1 and nothing else


async def test_an_upgrade_to_http2_is_passed_over() -> None:
    async with serving() as server, connected(server) as client:
        await client.get("/", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n")
        assert (await client.until(b"0\r\n\r\n")).startswith(b"HTTP/1.1 200")


async def test_http2_without_asking_is_refused() -> None:
    async with serving() as server, connected(server) as client:
        await client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9))
        assert not (await client.rest()).startswith(b"\x00")
        await all_gone(server)


async def test_an_upgrade_to_websocket_is_passed_over() -> None:
    upgrade = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAA\r\n"
    async with serving() as server, connected(server) as client:
        await client.get("/", upgrade)
        assert (await client.until(b"0\r\n\r\n")).startswith(b"HTTP/1.1 200")


# ---- slow, silent and rude clients


async def test_a_client_that_stops_reading_is_cut_off_and_hurts_nobody() -> None:
    async with serving(send_seconds=0.2) as server, connected(server) as stalled, connected(server) as other:
        await stalled.get("/large")
        await other.get("/other")
        assert b"/other" in await other.until(b"0\r\n\r\n")
        with trio.fail_after(PATIENCE):
            while server.connections > 1:
                await trio.sleep(0.005)
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
        await all_gone(server)


async def test_the_oldest_idle_connection_makes_room_for_another() -> None:
    async with serving(max_connections=2) as server, connected(server) as first, connected(server) as second:
        for client in (first, second):
            await client.get()
            await client.until(b"0\r\n\r\n")
        async with connected(server) as third:
            for client in (third, second):
                await client.get("/still")
                await client.until(b"/still\r\n0\r\n\r\n")
            assert await first.rest() == b""
            assert server.connections == 2


async def test_a_connection_over_the_limit_is_closed_if_all_others_are_busy() -> None:
    begun, go_on = trio.Event(), trio.Event()

    async def slow(scope: Any, receive: Receive, send: Send) -> None:
        begun.set()
        await go_on.wait()
        await application(scope, receive, send)

    async with serving(slow, max_connections=1) as server, connected(server) as first:
        await first.get("/still")
        await begun.wait()
        async with connected(server) as second:
            assert await second.rest() == b""
        go_on.set()
        await first.until(b"/still\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "sent", ["\x00\x01\x02\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n", "x" * 40_000]
)
async def test_what_is_not_http_is_refused_and_closed(sent: str) -> None:
    async with serving() as server, connected(server) as client:
        await client.send(sent)
        assert (await client.rest()).startswith(b"HTTP/1.1 4")
        await all_gone(server)


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
        await all_gone(server)


async def test_an_application_that_breaks_ends_only_its_request() -> None:
    async with serving() as server, connected(server) as client, connected(server) as other:
        await client.get("/broken")
        assert (await client.rest()).startswith(b"HTTP/1.1 500")
        await other.get("/fine")
        await other.until(b"/fine\r\n0\r\n\r\n")


# ---- stopping


async def test_a_stop_closes_idle_connections_at_once() -> None:
    async with AsyncExitStack() as clients:
        async with serving(drain_seconds=NEVER) as server:
            client = await clients.enter_async_context(connected(server))
            await client.get()
            await client.until(b"0\r\n\r\n")
            started = trio.current_time()
        assert trio.current_time() - started < NEVER / 2
        assert await client.rest() == b""


async def test_a_stop_lets_a_request_in_work_finish() -> None:
    begun, finish = trio.Event(), trio.Event()

    async def slow(scope: Any, receive: Receive, send: Send) -> None:
        begun.set()
        await finish.wait()
        await application(scope, receive, send)

    async with AsyncExitStack() as clients, trio.open_nursery() as nursery:
        async with serving(slow, drain_seconds=PATIENCE) as server:
            client = await clients.enter_async_context(connected(server))
            await client.get("/slow")
            await begun.wait()
            nursery.start_soon(_later, finish)
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
    """Ask once the stop has begun."""
    await trio.sleep(0.05)
    await client.get("/late")


async def _later(event: trio.Event) -> None:
    """Set the event once the stop has begun."""
    await trio.sleep(0.05)
    event.set()


async def test_clients_that_never_read_or_finish_do_not_keep_it() -> None:
    async with AsyncExitStack() as clients:
        async with serving(send_seconds=NEVER, idle_seconds=NEVER, drain_seconds=0.2) as server:
            six = [await clients.enter_async_context(connected(server)) for _ in range(6)]
            for client in six[:3]:
                await client.get("/large")
            await six[3].send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf")
            await six[4].send("GET / HT")
            with trio.fail_after(PATIENCE):
                while server.connections < 6:
                    await trio.sleep(0.005)
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


async def test_a_body_that_is_too_large_is_refused_while_it_is_still_sent(api: "Api") -> None:
    async with serving(api.app, linger_seconds=PATIENCE) as server, connected(server) as client:
        await client.send("POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 2000000\r\n\r\n")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.send, b"x" * 2_000_000)
            received = await client.rest()
    assert received.startswith(b"HTTP/1.1 413")
    assert b"too_large" in received


async def test_a_chunked_body_that_is_too_large_is_refused(api: "Api") -> None:
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    async with serving(api.app, linger_seconds=PATIENCE) as server, connected(server) as client:
        await client.send("POST /v1/users HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        await client.send(chunk * 8)
        assert b"too_large" in await client.rest()


async def test_a_body_that_never_comes_is_a_time_out(api: "Api", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "REQUEST_DEADLINE", 0.1)
    async with serving(api.app) as server, connected(server) as client:
        await client.send("POST /v1/users HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
        assert b"timed_out" in await client.rest()


@pytest.mark.parametrize("host", ["a" * 300, "[::1", "a..b", "\xe4", "x y"])
async def test_a_strange_host_is_answered(api: "Api", host: str) -> None:
    async with serving(api.app) as server, connected(server) as client:
        await client.send(f"GET /v1/none HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode("latin-1"))
        assert (await client.rest()).startswith(b"HTTP/1.1 404")


async def test_an_answer_without_a_body_keeps_the_connection(api: "Api", token: str) -> None:
    async with serving(api.app) as server, connected(server) as client:
        await client.send(f"DELETE /v1/tokens/current HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n")
        assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
        await client.get("/livez")
        assert b'"ok"' in await client.until(b"}]}")
