"""The health server serves probes over HTTP, whatever its clients do."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from shared.net.heads import MAX_FIELDS
from shared.net.health_server import CONNECTION_DEADLINE, MAX_CONNECTIONS, serve_health
from shared.net.turns import Turns
from shared.telemetry.health import PROBES, Health


@pytest.fixture
async def connect(health: Health, nursery: trio.Nursery) -> Callable[[], Any]:
    """Opens a connection to the health server."""
    port = await nursery.start(serve_health, health, "127.0.0.1", 0)
    return partial(trio.open_tcp_stream, "127.0.0.1", port)


async def ask(stream: trio.SocketStream, request: bytes) -> tuple[bytes, bytes]:
    """Return the head and the body of the response; both are empty if there was none."""
    response = b""
    async with stream:
        with suppress(trio.BrokenResourceError):  # closed before the request was read
            await stream.send_all(request)
            response = b"".join([part async for part in stream])
    head, _, body = response.partition(b"\r\n\r\n")
    return head, body


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


@pytest.mark.parametrize("probe", PROBES)
async def test_a_probe_gets_json_and_its_head_has_no_body(
    connect: Callable[[], Any], health: Health, probe: str
) -> None:
    head, body = await ask(await connect(), get(f"/{probe}?verbose"))
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    assert json.loads(body)["status"] == "ok"
    health.mark_draining()
    expected = (b"503", "failing") if probe == "readyz" else (b"200", "ok")
    head, body = await ask(await connect(), get(f"/{probe}"))
    assert (head.split()[1], json.loads(body)["status"]) == expected
    head, body = await ask(await connect(), get(f"/{probe}", "HEAD"))
    assert (head.split()[1], body) == (expected[0], b"")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get("/"), b"404"),
        (get("/other"), b"404"),
        (get("/livez", "POST"), b"405"),
        (b"\x16\x03\x01\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\n\r\n", b"400"),  # without Host
        (get("/livez").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"), b"400"),
        (get("/livez").replace(b"/1.1", b"/3.0"), b"400"),
        (get("/livez").replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: gzip\r\n\r\n"), b"400"),
        (get("/livez").replace(b"\r\n\r\n", b"\r\na:" * MAX_FIELDS + b"\r\n\r\n"), b"431"),
        (get(f"/livez?{'x' * 20_000}"), b"431"),
        (get(f"/livez?{'x' * 20_000}")[:-1], b"431"),  # without end
    ],
)
async def test_other_requests_are_refused(connect: Callable[[], Any], request_bytes: bytes, status: bytes) -> None:
    head, _ = await ask(await connect(), request_bytes)
    assert head.split()[1] == status


async def test_a_probe_waits_for_the_turn_of_its_address_on_all_listeners(
    health: Health, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    turns, may_begin = Turns(), trio.Event()
    turn = turns.of("127.0.0.2")  # which connections to other listeners have
    monkeypatch.setattr(turn, "wait", may_begin.wait)
    port = await nursery.start(partial(serve_health, health, "127.0.0.1", 0, turns=turns))
    connect = partial(trio.open_tcp_stream, "127.0.0.1", port)
    async with await connect(local_address="127.0.0.2") as waiting:
        await waiting.send_all(get("/livez"))
        assert (await ask(await connect(), get("/livez")))[0].split()[1] == b"200"
        with trio.move_on_after(0.05) as scope:
            await waiting.receive_some()
        assert scope.cancelled_caught
        may_begin.set()
        assert (await waiting.receive_some()).startswith(b"HTTP/1.1 200")


async def test_a_request_without_end_is_cut_off_and_an_early_disconnection_does_no_harm(
    connect: Callable[[], Any],
) -> None:
    async with await connect() as stream:
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"GET /" + b"a" * 100_000_000)
    for begun in (b"", b"GET /livez"):
        async with await connect() as stream:
            await stream.send_all(begun)
    assert (await ask(await connect(), get("/livez")))[0].split()[1] == b"200"


async def test_silent_clients_are_cut_off_at_the_deadline_and_keep_out_no_probe(
    mock_clock: MockClock, connect: Callable[..., Any]
) -> None:
    addresses = [f"127.0.0.{number}" for number in range(2, 8)] * (MAX_CONNECTIONS // 4)
    silent = [await connect(local_address=address) for address in addresses]
    assert (await ask(await connect(), get("/livez")))[0].split()[1] == b"200"
    mock_clock.jump(CONNECTION_DEADLINE + 1)
    for stream in silent:
        with suppress(trio.BrokenResourceError):
            assert await stream.receive_some() == b""
        await stream.aclose()


async def test_cancellation_stops_the_server_at_once(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.net.health_server.CONNECTION_DEADLINE", 600)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(serve_health, health, "127.0.0.1", 0)
            async with await trio.open_tcp_stream("127.0.0.1", port):
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
