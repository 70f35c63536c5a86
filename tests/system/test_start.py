"""The start of a process while an engine is away: it waits, is unready, and names the engine."""

from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from tests.waiting import PATIENCE
from tools.engines.engine import HOST, free_port
from tools.engines.kinds import Engines
from tools.launch.cluster import Cluster
from tools.launch.process import Process, stop_all


async def readiness(process: Process) -> tuple[int, str]:
    """The status and the text of the archive's readiness; 0 while nothing listens."""
    url = f"http://127.0.0.1:{process.environment['ROOKERY_ARCHIVE__HEALTH_PORT']}/readyz"
    async with httpx.AsyncClient(timeout=PATIENCE) as http:
        try:
            response = await http.get(url)
        except httpx.TransportError:
            return 0, ""
    return response.status_code, response.text


async def until_unready(process: Process) -> None:
    with trio.fail_after(PATIENCE):
        status, text = await readiness(process)
        while status != 503 or '"kafka: ' not in text:
            await trio.sleep(0.02)
            status, text = await readiness(process)


async def forward(target: int, client: trio.SocketStream) -> None:
    """Carry bytes between a client and the port of an engine, which names its own address to Kafka's clients."""
    async with await trio.open_tcp_stream(HOST, target) as server, trio.open_nursery() as nursery:

        async def carry(source: trio.SocketStream, sink: trio.SocketStream) -> None:
            async for data in source:
                await sink.send_all(data)
            nursery.cancel_scope.cancel()

        nursery.start_soon(carry, client, server)
        nursery.start_soon(carry, server, client)


@pytest.mark.slow
async def test_a_process_waits_for_an_engine_and_then_serves(tmp_path: Path, engines: Engines) -> None:
    cluster = Cluster(tmp_path / "cluster", engines, bffs=0, gateways=0, archives=1)
    (archive,) = cluster.archives
    assert archive.run("migrate").returncode == 0
    port = free_port()
    archive.environment["ROOKERY_KAFKA__SERVERS"] = f"{HOST}:{port}"
    try:
        async with trio.open_nursery() as nursery:
            archive.launch()
            await until_unready(archive)
            assert await trio.to_thread.run_sync(archive.terminate) == 0, "it ends while it waits"
            archive.launch()
            await until_unready(archive)
            nursery.start_soon(trio.serve_tcp, partial(forward, engines.kafka.port), port)
            await trio.to_thread.run_sync(archive.wait_until_announced)
            assert (await readiness(archive))[0] == 200
            assert await trio.to_thread.run_sync(archive.terminate) == 0
            nursery.cancel_scope.cancel()
    finally:
        await trio.to_thread.run_sync(stop_all, [archive])
