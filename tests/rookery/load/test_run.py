"""A run is bounded, and reports every message that it sends."""

import json
import os
from functools import partial
from typing import Any

import pytest
import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, serve_websocket

from rookery.client import GatewayEndpoints
from rookery.load.report import show
from rookery.load.run import Load, Plan, Result, check_plan, check_target
from rookery.load.sessions import LoadError, LoadUser
from rookery.load.websocket import open_websocket_sessions


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


class EchoGateway:
    """The part of the protocol that a load uses: each message goes to the other of two users."""

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
                await self._deliver(token, json.loads(await connection.get_message())["send"])
        except ConnectionClosed:
            pass

    async def _deliver(self, token: str, send: dict[str, Any]) -> None:
        key = send["client_message_id"]
        other = self.connections[str(send["recipient_id"])]
        await self.connections[token].send_message(json.dumps({"accepted": {"client_message_id": key}}))
        await other.ping(b"alive?")
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
