"""Probes get a report of named checks, whatever the checks and the probing clients do."""

import json
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from shared.contract.errors import Unavailable
from shared.telemetry.health import (
    CHECK_DEADLINE,
    CONNECTION_DEADLINE,
    FRESH,
    MAX_CONNECTIONS,
    PROBES,
    Health,
    serve_health,
)


async def passes() -> None:
    await trio.lowlevel.checkpoint()


async def is_away() -> None:
    raise Unavailable("the disk is full")


def failing(report: dict[str, Any]) -> dict[str, str]:
    return {check["name"]: check["reason"] for check in report["checks"] if not check["ok"]}


async def test_live_before_it_has_started() -> None:
    health = Health()
    assert [(await health.report(probe))[0] for probe in PROBES] == [200, 503, 503]
    health.started()
    assert [(await health.report(probe))[0] for probe in PROBES] == [200, 200, 200]


async def test_draining_is_not_ready_and_lives() -> None:
    health = Health()
    health.started()
    health.draining()
    status, report = await health.report("readyz")
    assert (status, failing(report)) == (503, {"draining": "stopping"})
    assert (await health.report("livez"))[0] == 200


async def test_every_check_is_named_and_explained() -> None:
    health = Health()
    health.started()
    health.add("log", "the log takes writes", passes)
    health.add("store", "the store answers", is_away)
    status, report = await health.report("readyz")
    assert (status, report["status"]) == (503, "failing")
    by_name = {check["name"]: check for check in report["checks"]}
    assert by_name["log"]["explanation"] == "the log takes writes"
    assert by_name["log"]["ok"]
    assert failing(report) == {"store": "the disk is full"}


async def test_a_failing_check_does_not_kill() -> None:
    health = Health()
    health.add("store", "the store answers", is_away)
    assert (await health.report("livez"))[0] == 200


async def test_a_broken_check_tells_its_kind_and_no_more() -> None:
    async def is_broken() -> None:
        raise KeyError("a secret")

    health = Health()
    health.started()
    health.add("broken", "it works", is_broken)
    _, report = await health.report("readyz")
    assert failing(report) == {"broken": "KeyError"}


async def test_checks_that_hang_are_given_up_together(autojump_clock: MockClock) -> None:
    health = Health()
    health.started()
    health.add("first", "it answers", trio.sleep_forever)
    health.add("second", "it answers", trio.sleep_forever, deadline=1)
    began = trio.current_time()
    status, report = await health.report("readyz")
    assert trio.current_time() - began == pytest.approx(CHECK_DEADLINE)
    assert status == 503
    assert failing(report) == {"first": "no answer within 2 s", "second": "no answer within 1 s"}


async def test_many_probes_cost_one_run_of_the_checks(autojump_clock: MockClock) -> None:
    runs = 0

    async def slow() -> None:
        nonlocal runs
        runs += 1
        await trio.sleep(FRESH / 2)

    health = Health()
    health.add("slow", "it answers", slow)
    async with trio.open_nursery() as nursery:
        for _ in range(100):
            nursery.start_soon(health.report, "readyz")
    assert runs == 1
    await trio.sleep(2 * FRESH)
    await health.report("readyz")
    assert runs == 2


def test_a_name_is_used_once() -> None:
    health = Health()
    health.add("log", "one", passes)
    with pytest.raises(ValueError, match="log"):
        health.add("log", "another", passes)


# ---- over HTTP


@pytest.fixture
def health() -> Health:
    health = Health()
    health.started()
    return health


@pytest.fixture
async def connect(health: Health, nursery: trio.Nursery) -> Callable[[], Any]:
    """Opens a connection to the health server."""
    port = await nursery.start(serve_health, health, "127.0.0.1", 0)
    return partial(trio.open_tcp_stream, "127.0.0.1", port)


async def ask(stream: trio.SocketStream, request: bytes) -> tuple[bytes, bytes]:
    """The head and the body of the answer; both empty if there was none."""
    answer = b""
    async with stream:
        with suppress(trio.BrokenResourceError):  # it was closed before what we say was read
            await stream.send_all(request)
            answer = b"".join([part async for part in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


def get(path: str, method: str = "GET") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


@pytest.mark.parametrize("probe", PROBES)
async def test_a_probe_gets_json(connect: Callable[[], Any], probe: str) -> None:
    head, body = await ask(await connect(), get(f"/{probe}?verbose"))
    assert head.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
    assert json.loads(body)["status"] == "ok"


async def test_not_ready_is_503(connect: Callable[[], Any], health: Health) -> None:
    health.draining()
    head, body = await ask(await connect(), get("/readyz"))
    assert head.startswith(b"HTTP/1.1 503 ")
    assert json.loads(body)["status"] == "failing"


async def test_head_has_no_body(connect: Callable[[], Any]) -> None:
    head, body = await ask(await connect(), get("/livez", "HEAD"))
    assert head.startswith(b"HTTP/1.1 200 ")
    assert body == b""


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (get("/"), b"404"),
        (get("/other"), b"404"),
        (get("/livez", "POST"), b"405"),
        (b"\x16\x03\x01\r\n\r\n", b"400"),
        (b"GET /livez HTTP/1.1\r\n\r\n", b"400"),  # without Host
    ],
)
async def test_other_requests_are_refused(connect: Callable[[], Any], request_bytes: bytes, status: bytes) -> None:
    head, _ = await ask(await connect(), request_bytes)
    assert head.split()[1] == status


async def test_a_request_without_end_is_cut_off(connect: Callable[[], Any]) -> None:
    async with await connect() as stream:
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"GET /" + b"a" * 100_000_000)
    assert (await ask(await connect(), get("/livez")))[0].split()[1] == b"200"


async def test_clients_that_say_nothing_and_leave_do_no_harm(connect: Callable[[], Any]) -> None:
    for begun in (b"", b"GET /livez"):
        stream = await connect()
        if begun:
            await stream.send_all(begun)
        await stream.aclose()
    assert (await ask(await connect(), get("/livez")))[0].split()[1] == b"200"


async def test_silent_clients_can_not_hold_it_for_long(mock_clock: MockClock, connect: Callable[[], Any]) -> None:
    silent = [await connect() for _ in range(MAX_CONNECTIONS)]
    await trio.testing.wait_all_tasks_blocked(0.02)
    assert await ask(await connect(), get("/livez")) == (b"", b"")
    mock_clock.jump(CONNECTION_DEADLINE + 1)
    for stream in silent:
        assert await stream.receive_some() == b""
    assert (await ask(await connect(), get("/livez")))[0].split()[1] == b"200"
    for stream in silent:
        await stream.aclose()


async def test_cancellation_stops_it_at_once(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.telemetry.health.CONNECTION_DEADLINE", 600)
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            port = await nursery.start(serve_health, health, "127.0.0.1", 0)
            async with await trio.open_tcp_stream("127.0.0.1", port):
                await trio.testing.wait_all_tasks_blocked()
                nursery.cancel_scope.cancel()
