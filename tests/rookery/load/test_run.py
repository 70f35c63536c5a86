"""What the load generator promises: honest numbers, and frames that a WebSocket server takes."""

import json
import math
import os
import socket
from collections.abc import Sequence
from functools import partial
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from rookery.client import GatewayEndpoints
from rookery.load.measure import Latencies, Record, Schedule, summarize
from rookery.load.process import cpu_seconds, pid_listening_on, resident_bytes
from rookery.load.report import show
from rookery.load.run import Load, Plan, Result, check_plan, check_target
from rookery.load.sessions import LoadError, LoadUser, for_each
from rookery.load.websocket import TEXT, client_message, open_websocket_sessions, take_messages


def test_percentiles_are_of_the_nearest_rank() -> None:
    assert summarize([number / 1000 for number in range(100, 0, -1)]) == Latencies(100, 50.0, 99.0, 100.0)
    assert summarize([0.004]) == Latencies(1, 4.0, 4.0, 4.0)
    assert math.isnan(summarize([]).p50)


@given(st.lists(st.floats(0, 100), min_size=1))
def test_percentiles_are_among_the_values_and_in_order(values: Sequence[float]) -> None:
    found = summarize(values)
    assert min(values) * 1000 <= found.p50 <= found.p99 <= found.max == max(values) * 1000


@given(st.floats(0.1, 10_000), st.floats(0, 100))
def test_as_many_are_due_as_the_rate_says(rate: float, elapsed: float) -> None:
    schedule = Schedule(1_000.0, rate)
    due = schedule.due_by(1_000.0 + elapsed)
    assert schedule.due(due - 1) <= 1_000.0 + elapsed + 1e-6
    assert schedule.due(due) >= 1_000.0 + elapsed - 1e-6


def test_latency_counts_from_the_intended_moment() -> None:
    record = Record()
    number = record.sent(intended=10.0, now=12.0)  # the generator was held up for two seconds
    record.accept(number, 12.5)
    record.deliver(number, 13.0)
    report = record.report(10.0, 20.0)
    assert report.delivered == Latencies(1, 3_000.0, 3_000.0, 3_000.0)
    assert report.accepted.max == 2_500.0
    assert report.generator_late.max == 2_000.0


def test_only_the_window_counts_but_every_loss_does() -> None:
    record = Record()
    for intended, delivered in ((1.0, 1.5), (2.0, 2.5), (3.0, None), (9.0, 9.5)):
        number = record.sent(intended, intended)
        record.accept(number, intended)
        if delivered:
            record.deliver(number, delivered)
    report = record.report(2.0, 4.0)
    assert (report.sent, report.delivered.count, report.lost) == (2, 1, 1)
    assert report.delivered_per_second == 0.5


def test_a_second_delivery_is_a_duplicate_and_no_new_latency() -> None:
    record = Record()
    number = record.sent(1.0, 1.0)
    record.deliver(number, 2.0)
    record.deliver(number, 9.0)
    report = record.report(0.0, 10.0)
    assert (report.duplicates, report.delivered.max) == (1, 1_000.0)


@given(st.lists(st.binary(max_size=300)), st.integers(1, 50))
def test_frames_are_found_however_they_are_cut(payloads: Sequence[bytes], cut: int) -> None:
    stream = b"".join(server_message(payload) for payload in payloads)
    buffer = bytearray()
    found = []
    for start in range(0, len(stream), cut):
        buffer += stream[start : start + cut]
        found += [payload for _, payload in take_messages(buffer)]
    assert found == list(payloads)
    assert not buffer


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_message_of_any_size_is_framed(size: int) -> None:
    frame = client_message(TEXT, b"x" * size)
    unmasked = bytes((frame[0], frame[1] & 0x7F)) + frame[2:].replace(b"\0\0\0\0", b"", 1)
    if size < 65_536:
        assert list(take_messages(bytearray(unmasked))) == [(TEXT, b"x" * size)]
    assert len(frame) == size + {0: 6, 125: 6, 126: 8, 65_535: 8, 65_536: 14}[size]


def server_message(payload: bytes) -> bytes:
    size = len(payload)
    return b"\x81" + (bytes((size,)) if size < 126 else b"\x7e" + size.to_bytes(2, "big")) + payload


async def test_what_is_done_for_each_keeps_its_order_and_its_first_failure() -> None:
    async def double(number: int) -> int:
        await trio.lowlevel.checkpoint()
        if number == 7:
            raise ValueError("seven")
        return 2 * number

    assert await for_each(double, [1, 2, 3], at_once=2) == [2, 4, 6]
    with pytest.raises(ValueError, match="seven"):
        await for_each(double, [6, 7, 8], at_once=2)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "ws://localhost:1/session", "//[::1]:8082"])
def test_this_machine_may_be_loaded(url: str) -> None:
    check_target(url, anywhere=False)


def test_another_machine_may_not_unless_one_owns_it() -> None:
    with pytest.raises(LoadError, match="--i-own-this-server"):
        check_target("http://192.0.2.1", anywhere=False)
    check_target("http://192.0.2.1", anywhere=True)


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (Plan("http://127.0.0.1", users=3), "even"),
        (Plan("http://127.0.0.1", seconds=1e6), "3600 s"),
        (Plan("http://127.0.0.1", rate=1e9), "messages at most"),
        (Plan("127.0.0.1"), "names no host"),
    ],
)
def test_a_run_is_bounded(plan: Plan, reason: str) -> None:
    with pytest.raises(LoadError, match=reason):
        check_plan(plan)


def test_the_process_on_a_port_and_its_use_are_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert pid_listening_on(listener.getsockname()[1]) == os.getpid()
    assert cpu_seconds(os.getpid()) > 0
    assert resident_bytes(os.getpid()) > 1024**2


class EchoGateway:
    """Speaks just enough of the protocol: two users, each message goes to the other."""

    def __init__(self) -> None:
        self.connections: dict[str, Any] = {}

    async def serve(self, request: WebSocketRequest) -> None:
        connection = await request.accept(subprotocol="rookery.v1.json")
        first = json.loads(await connection.get_message())
        token = first["authenticate"]["access_token"]
        self.connections[token] = connection
        await connection.send_message('{"sequence":"1","welcome":{"session_id":"s","user_id":"1"}}')
        try:
            while True:
                await self._pass_on(token, json.loads(await connection.get_message())["send"])
        except ConnectionClosed:
            pass

    async def _pass_on(self, token: str, send: dict[str, Any]) -> None:
        key = send["client_message_id"]
        other = self.connections[str(send["recipient_id"])]
        await self.connections[token].send_message(json.dumps({"accepted": {"client_message_id": key}}))
        await other.ping(b"are you there")
        await other.send_message(json.dumps({"event": {"message": {"client_message_id": key, "text": send["text"]}}}))


@pytest.mark.parametrize("rate", [None, 400.0])
async def test_a_run_over_websocket_delivers_everything(nursery: trio.Nursery, rate: float | None) -> None:
    serve = partial(serve_websocket, EchoGateway().serve, "127.0.0.1", 0, ssl_context=None, message_queue_size=100)
    server = await nursery.start(serve)
    gateway = GatewayEndpoints(websocket=f"ws://127.0.0.1:{server.port}/session", grpc="")
    users = [LoadUser(1, 2, "1", gateway), LoadUser(2, 1, "2", gateway)]
    seconds = 0.1 if rate else 1.0  # at a rate all are sent that are due; else as many as there is time for
    plan = Plan("http://127.0.0.1", users=2, rate=rate, in_flight=2, seconds=seconds, warm_up=0.02, size=300)
    async with open_websocket_sessions(users, "run-", plan.size) as sessions:
        load = Load(plan, sessions, "run-")
        with trio.fail_after(60):
            report, _, _, own_cpu = await load.run([os.getpid()])
    assert report.sent == report.accepted.count == report.delivered.count > 5
    assert (report.lost, report.duplicates, report.refused, report.errors) == (0, 0, {}, {})
    result = Result(plan, report, (os.getpid(),), 100.0, 0.5, 2**20, 300.0, 2048.0, own_cpu)
    assert "lost           0" in show(result, as_json=False)
    assert json.loads(show(result, as_json=True))["report"]["lost"] == 0
