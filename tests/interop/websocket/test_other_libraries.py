"""Sessions over the WebSocket libraries of other languages, against the real process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest
import trio

from tests.needed import needed
from tools.launch.freezing import freeze
from tools.launch.people import sign_up
from tools.launch.process import Rookery, running, wait_until
from tools.toolchains import go_programs, node_modules

HERE = Path(__file__).parent

SECONDS = 120.0
"""For all cases of a program; only a test that has failed takes that long."""

HEARTBEAT = 1.0
"""Seconds: the shortest possible. Only for a client that hangs: a working client may be slow to answer a ping."""

EXPECTED: dict[str, Any] = {
    "negotiated": ["rookery.v1.json", ""],
    "chat": "grüße 👍",
    "fragments": "grüße 👍",
    "ping": "there?",
    "own close": 4000,
    "goodbye": ["unauthenticated", 1000],
    "binary": 1003,
    "not UTF-8": 1007,
    "too big": 1009,
    "path": 404,
    "protocol": 400,
    "origin": 403,
}
"""The expected result of each case, the same for every program."""


def program(language: str) -> list[str]:
    match language:
        case "go":
            return [str(needed(go_programs, HERE / "go") / "websocket")]
        case "node":
            return ["env", f"NODE_PATH={needed(node_modules, HERE / 'node')}", "node", str(HERE / "node/client.js")]
        case _:
            return [sys.executable, str(HERE / "python/client.py")]


@pytest.mark.parametrize(
    "language", [pytest.param("go", marks=pytest.mark.slow), pytest.param("node", marks=pytest.mark.slow), "python"]
)
def test_a_program_with_another_library_gets_the_expected_frames(rookery: Rookery, language: str) -> None:
    before = len(rookery.log_lines())
    ada, grace = [trio.run(sign_up, rookery.url, name) for name in ("ada", "grace")]
    command = [*program(language), rookery.websocket, ada.access_token, str(grace.user_id)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    results = {line["case"]: line["result"] for line in map(json.loads, done.stdout.splitlines())}
    assert results == EXPECTED
    assert [line for line in rookery.log_lines()[before:] if line["level"] not in ("info", "debug")] == []


@pytest.mark.slow
def test_a_client_whose_process_hangs_is_found(tmp_path: Path) -> None:
    """Its connection stays open, and its kernel acknowledges sent data: only its silence shows that it hangs."""
    with running(Rookery(tmp_path / "data", heartbeat_seconds=HEARTBEAT)) as impatient:
        person = trio.run(sign_up, impatient.url, "ann")
        command = [*program("go"), impatient.websocket, person.access_token]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
            try:
                assert client.stdout is not None
                assert client.stdout.readline() == "signed in\n"
                assert are_connected(impatient, client.pid)
                freeze(client.pid)
                assert wait_until(lambda: not are_connected(impatient, client.pid))
            finally:
                client.kill()


def are_connected(rookery: Rookery, client: int) -> bool:
    """Whether the server's process still has the other end of one of the client's connections."""
    ports = {connection.laddr.port for connection in psutil.Process(client).net_connections("tcp")}
    others = psutil.Process(rookery.process.pid).net_connections("tcp")
    return any(other.raddr.port in ports for other in others if other.raddr)
