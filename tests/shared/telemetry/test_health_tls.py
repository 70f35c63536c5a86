"""Probes over TLS."""

import json
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from shared.net.health_server import CONNECTION_DEADLINE, serve_health
from shared.net.tls import ServerTls
from shared.telemetry.health import Health
from tools.launch.certificates import Authority

REQUEST = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def port(authority: Authority, nursery: trio.Nursery) -> int:
    issued = authority.issue()
    tls = ServerTls(issued.settings(), issued.certificate)
    bound: int = await nursery.start(partial(serve_health, Health(), "127.0.0.1", 0, tls=tls))
    return bound


async def ask(port: int, authority: Authority) -> bytes:
    stream = await trio.open_ssl_over_tcp_stream(
        "127.0.0.1", port, ssl_context=authority.trusting(), https_compatible=True
    )
    async with stream:
        await stream.send_all(REQUEST)
        return b"".join([part async for part in stream])


async def test_a_probe_over_tls_gets_its_report(port: int, authority: Authority) -> None:
    head, _, body = (await ask(port, authority)).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert json.loads(body)["status"] == "ok"


async def test_plain_text_ends_the_connection_and_no_other(port: int, authority: Authority) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as plain:
        await plain.send_all(REQUEST)
        answer = b"".join([part async for part in plain])
    assert not answer.startswith(b"HTTP")
    assert b" 200 " in await ask(port, authority)


async def test_a_handshake_that_does_not_end_is_cut_off(port: int, mock_clock: MockClock) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", port) as silent:
        await trio.testing.wait_all_tasks_blocked(0.02)
        mock_clock.jump(CONNECTION_DEADLINE + 1)
        assert await silent.receive_some() == b""
