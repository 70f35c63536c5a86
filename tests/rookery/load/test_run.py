"""A run is bounded, and reports every message that it sends."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from rookery.client import GatewayEndpoints
from rookery.load.grpc import open_grpc_sessions
from rookery.load.report import show
from rookery.load.run import Counted, Load, Plan, Result, check_plan, check_target, run
from rookery.load.sessions import LoadError, LoadUser
from rookery.load.websocket import open_websocket_sessions
from shared.net.tls import ServerTls
from tests.rookery.client.gateways import EchoGateway, Serve, serve_grpc, serve_websocket
from tools.engines.engine import free_port
from tools.launch.certificates import Authority


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "ws://localhost:1/session", "//[::1]:8082"])
def test_this_machine_may_be_loaded(url: str) -> None:
    check_target(url, anywhere=False)


def test_another_machine_may_not_be_loaded_except_by_its_owner() -> None:
    with pytest.raises(LoadError, match="--i-own-this-server"):
        check_target("http://192.0.2.1", anywhere=False)
    check_target("http://192.0.2.1", anywhere=True)


@pytest.mark.parametrize(
    ("plan", "reason"),
    [
        (Plan("http://127.0.0.1", users=3), "even"),
        (Plan("http://127.0.0.1", seconds=1e6), "3600 s"),
        (Plan("http://127.0.0.1", users=2, files=3), "number of users, at most 200"),
        (Plan("http://127.0.0.1", rate=1e9), "messages at most"),
        (Plan("127.0.0.1"), "names no host"),
        (Plan("http://127.0.0.1", group=2, users=3), "--online from 2"),
        (Plan("http://127.0.0.1", group=2, users=2, rate=None), "have a rate"),
        (Plan("http://127.0.0.1", group=100_001, users=2), "--group must be from 2 to 100000"),
        (Plan("http://127.0.0.1", group=50_000, users=20_001), "at most 20000"),
        (Plan("http://127.0.0.1", group=1_000, users=100, open=10), "--open is for groups of more than 1000"),
        (Plan("http://127.0.0.1", group=1_001, users=100, open=101), "--open is for"),
        (Plan("http://127.0.0.1", group=1_000, users=1_000, rate=500), "counted for each recipient"),
    ],
)
def test_a_run_is_bounded(plan: Plan, reason: str) -> None:
    with pytest.raises(LoadError, match=reason):
        check_plan(plan)


async def test_metrics_that_a_server_does_not_return_end_a_run_before_it_begins() -> None:
    plan = Plan(f"http://127.0.0.1:{free_port()}", users=2, metrics=(f"http://127.0.0.1:{free_port()}/metrics",))
    with pytest.raises(LoadError, match="/metrics returns no metrics"):
        await run(plan)


def ended_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


async def test_a_run_whose_server_ends_has_a_report(nursery: trio.Nursery) -> None:
    endpoint = await serve_websocket(EchoGateway(), nursery, None)
    users = [LoadUser(user_id, 3 - user_id, "token", GatewayEndpoints(endpoint, endpoint)) for user_id in (1, 2)]
    metrics = (f"http://127.0.0.1:{free_port()}/metrics",)
    plan = Plan("http://127.0.0.1", rate=100, users=2, seconds=0.1, warm_up=0.02, metrics=metrics)
    async with open_websocket_sessions(users, "run-", plan.size, None) as sessions:
        with trio.fail_after(60):
            report, server_cpu, engine_cpu, _, counted = await Load(plan, sessions, "run-").run([ended_process()])
    assert report.sent == report.accepted.count > 0
    assert report.errors == {"metrics": 1}
    assert (server_cpu, engine_cpu, counted) == (None, None, None)


@pytest.mark.parametrize(
    ("serve", "opened", "rate", "chat_id"),
    [
        (serve_websocket, open_websocket_sessions, None, ""),
        (serve_grpc, open_grpc_sessions, 100.0, ""),
        (serve_websocket, open_websocket_sessions, 100.0, "g-1"),
        (serve_grpc, open_grpc_sessions, 100.0, "g-1"),
    ],
    ids=["websocket, saturating", "grpc, at a rate", "websocket, in a group", "grpc, in a group"],
)
async def test_a_run_over_tls_delivers_everything(
    serve: Serve, opened: Any, rate: float | None, chat_id: str, tmp_path: Path, nursery: trio.Nursery
) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue()
    echo = EchoGateway()
    endpoint = await serve(echo, nursery, ServerTls(issued.settings(), issued.certificate))
    gateway = GatewayEndpoints(websocket=endpoint, grpc=endpoint)
    users = [LoadUser(user_id, 3 - user_id, "token", gateway, chat_id) for user_id in (1, 2)]
    size = 40_000  # bytes: more than a record of TLS has
    # At a rate the due messages are sent; without one, as many as there is time for.
    plan = Plan(
        "https://127.0.0.1",
        rate=rate,
        users=2,
        group=2 if chat_id else 0,
        in_flight=2,
        seconds=0.1 if rate else 1,
        warm_up=0.02,
        size=size,
    )
    async with opened(users, "run-", size, authority.file) as sessions:
        with trio.fail_after(60):
            report, _, _, own_cpu, _ = await Load(plan, sessions, "run-").run([os.getpid()])
    assert report.sent == report.accepted.count == report.delivered.count > 5
    assert echo.chat_ids == {chat_id}
    assert (report.last is not None) == bool(chat_id)
    assert (report.lost, report.unanswered, report.duplicates, report.refused, report.errors) == (0, 0, 0, {}, {})
    counted = Counted(accepted=10, records=40.0, writes=12.0, roster_bytes=2**20)
    result = Result(plan, report, (os.getpid(),), 100.0, 0.5, 2**20, 300.0, 2048.0, own_cpu, counted, None, 0.417)
    assert "lost           0" in show(result, as_json=False)
    assert "created        in 0.42 s, with all members" in show(result, as_json=False)
    assert "4.0 log records, 1.2 writes" in show(result, as_json=False)
    assert json.loads(show(result, as_json=True))["report"]["lost"] == 0
    assert plan.password not in show(result, as_json=True) + repr(result)
