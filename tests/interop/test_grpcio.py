"""The ends and the long lives of connections with grpcio, which its interop cases do not show."""

import asyncio
import gc
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import grpc.aio
import psutil
import pytest
import trio
import trio.testing

from shared.rpc import Limits, Status, open_channel
from tests.interop.cases import TIMEOUT, empty_unary, fails_with, next_response, streaming_request
from tests.interop.client import Address, OurClient
from tests.interop.generated import stock_services
from tests.interop.python.client import open_client as open_stock_client
from tests.interop.python.server import TestService as StockService
from tests.interop.server import TestService
from tests.shared.rpc.conftest import QUICK, RunningServer, eventually

if TYPE_CHECKING:
    from shared.rpc.client.connection import ClientConnection

AT_ONCE = 100
WARM_UP = 500

BLOCKS_PER_STREAM = 0.5
"""Blocks of Python's memory that may stay. On a busy machine grpcio's client keeps up to 0.25 of cancelled calls whose
event loop ended first. A stream that our server leaks keeps several."""

MakeStockServer = Callable[..., tuple[grpc.Server, int]]


# ---- our server, grpcio's client


async def serve(nursery: trio.Nursery, limits: Limits) -> RunningServer:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    running = RunningServer()
    running.server = await nursery.start(running.run, [TestService()], listeners, limits)
    return running


async def open_and_cancel(port: int, streams: int) -> None:
    """Open streams on one connection, `AT_ONCE` at a time, and cancel each after its first message."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        method = stock_services.TestServiceStub(channel).FullDuplexCall

        async def repeat(times: int) -> None:
            for _ in range(times):
                call = method()
                await call.write(streaming_request(1))
                await call.read()
                call.cancel()

        await asyncio.gather(*(repeat(streams // AT_ONCE) for _ in range(AT_ONCE)))


@pytest.mark.parametrize("streams", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
async def test_cancelled_streams_leave_no_task_file_or_memory_behind(streams: int, nursery: trio.Nursery) -> None:
    running = await serve(nursery, Limits(drain_timeout=0))
    statistics = running.server.statistics
    process = psutil.Process()

    async def use(count: int) -> tuple[int, int, int]:
        await trio.to_thread.run_sync(lambda: asyncio.run(open_and_cancel(running.port, count)))
        await eventually(lambda: statistics().connections == 0 == statistics().calls)
        await trio.testing.wait_all_tasks_blocked(0.05)
        return resources()

    def resources() -> tuple[int, int, int]:
        """Tasks, open files and blocks of memory."""
        gc.collect()
        return trio.lowlevel.current_statistics().tasks_living, process.num_fds(), sys.getallocatedblocks()

    def are_as_before() -> bool:
        tasks_after, files_after, blocks_after = resources()
        return tasks_after <= tasks and files_after <= files and blocks_after - blocks < streams * BLOCKS_PER_STREAM

    tasks, files, blocks = await use(WARM_UP)
    await use(streams)
    await eventually(are_as_before)  # grpcio's threads close its files and free its calls a little later
    assert statistics().calls_ended == {Status.CANCELLED: streams + WARM_UP}
    assert statistics().connections_abused == 0


async def test_calls_under_way_finish_while_our_server_drains(nursery: trio.Nursery) -> None:
    running = await serve(nursery, Limits(drain_timeout=TIMEOUT, close_timeout=QUICK.close_timeout))
    responded, draining = threading.Event(), threading.Event()

    async def use() -> None:
        async with open_stock_client(running.port, None) as client, client.open("FullDuplexCall") as stream:
            await stream.send(streaming_request(1))
            await next_response(stream)
            responded.set()
            draining.wait()
            with fails_with(Status.UNAVAILABLE):
                await empty_unary(client)
            await stream.send(streaming_request(1))
            await next_response(stream)
            await stream.end()
            assert await stream.receive() is None

    async with trio.open_nursery() as client:
        client.start_soon(run_in_thread, use)
        await trio.to_thread.run_sync(responded.wait)
        nursery.start_soon(running.stop)
        (connection,) = running.server.connections
        await eventually(lambda: connection.going_away)
        draining.set()
    await running.ended.wait()


async def run_in_thread(use: Callable[[], Awaitable[None]]) -> None:
    """Run a function that blocks, such as a case with grpcio's client, in a thread."""
    await trio.to_thread.run_sync(trio.run, use)


# ---- our client, grpcio's server


@pytest.fixture
async def make_stock_server() -> AsyncIterator[MakeStockServer]:
    """Starts grpcio servers with options; returns each with its port."""
    servers: list[grpc.Server] = []
    with ThreadPoolExecutor(4) as pool:

        def make(**options: int) -> tuple[grpc.Server, int]:
            server = grpc.server(pool, options=[(f"grpc.{name}", value) for name, value in options.items()])
            servers.append(server)
            stock_services.add_TestServiceServicer_to_server(StockService(), server)
            port = server.add_insecure_port("127.0.0.1:0")
            server.start()
            return server, port

        yield make
        for server in servers:
            await trio.to_thread.run_sync(server.stop(None).wait)


async def test_no_call_is_lost_to_a_server_that_limits_the_age_of_its_connections(
    make_stock_server: MakeStockServer,
) -> None:
    _, port = make_stock_server(max_connection_age_ms=50, max_connection_age_grace_ms=10_000)
    connections: set[ClientConnection] = set()
    async with Address(port).open_client() as client, trio.open_nursery() as nursery:

        async def call_repeatedly() -> None:
            with trio.fail_after(TIMEOUT):
                while len(connections) < 5:
                    await empty_unary(client)
                    connections.update(client.channel.connections)

        for _ in range(3):
            nursery.start_soon(call_repeatedly)


async def test_a_call_under_way_finishes_while_the_server_stops(make_stock_server: MakeStockServer) -> None:
    server, port = make_stock_server()
    async with Address(port).open_client() as client:
        async with client.open("FullDuplexCall", timeout=TIMEOUT) as stream:
            await stream.send(streaming_request(1))
            await next_response(stream)
            stopping = server.stop(TIMEOUT)
            await eventually(lambda: not client.channel.statistics().servers_ready)
            await stream.send(streaming_request(2))
            assert len((await next_response(stream)).payload.body) == 2
            await stream.end()
            assert await stream.receive() is None
        await trio.to_thread.run_sync(stopping.wait)
        with fails_with(Status.UNAVAILABLE):
            await empty_unary(client)


async def test_a_server_that_wants_fewer_pings_gets_fewer(make_stock_server: MakeStockServer) -> None:
    _, port = make_stock_server()
    limits = Limits(keepalive_interval=0.02, keepalive_timeout=TIMEOUT)
    intervals = []
    async with open_channel("127.0.0.1", port, limits=limits) as channel:
        for _ in range(3):
            await empty_unary(OurClient(channel))
            (connection,) = channel.connections
            intervals.append(connection.limits.keepalive_interval)
            with trio.fail_after(TIMEOUT):
                while connection in channel.connections:
                    connection.check_alive()
                    await trio.sleep(0.005)
    assert intervals == [0.02, 0.04, 0.08]
