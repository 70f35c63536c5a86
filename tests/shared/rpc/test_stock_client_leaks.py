"""Ten thousand streams that a stock client cancels leave no task, socket or byte behind."""

import asyncio
import gc
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import grpc.aio
import psutil
import trio
import trio.testing

from shared.rpc import Limits, Status

if TYPE_CHECKING:
    from tests.shared.rpc.conftest import GrpcStubs, IdleListeners, Serve

Eventually = Callable[[Callable[[], bool]], Awaitable[None]]

STREAMS = 10_000
AT_ONCE = 100
WARM_UP = 500

BLOCKS_PER_STREAM = 0.05
"""Of Python's memory that may stay: Python's own caches grow a little. Any object of a stream would be a whole one."""


async def listen_and_leave(stub: type, port: int, streams: int) -> None:
    """Open so many streams on one connection, a hundred at a time, and cancel each when its first frame is there."""
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        connect = stub(channel).Connect

        async def listen(times: int) -> None:
            for _ in range(times):
                call = connect()
                await call.read()
                call.cancel()

        await asyncio.gather(*(listen(streams // AT_ONCE) for _ in range(AT_ONCE)))


async def test_ten_thousand_cancelled_streams_leave_nothing_behind(
    serve: "Serve", grpc_stubs: "GrpcStubs", idle_listeners: "IdleListeners", eventually: Eventually
) -> None:
    """DESIGN 4: RST_STREAM and a closed connection cancel handlers."""
    running = await serve(connect=idle_listeners, limits=Limits())
    statistics = running.server.statistics
    process = psutil.Process()

    async def use(streams: int) -> tuple[int, int, int]:
        """Tasks, files and blocks of memory once all have left."""
        stub = grpc_stubs.session.SessionServiceStub
        await trio.to_thread.run_sync(lambda: asyncio.run(listen_and_leave(stub, running.port, streams)))
        await eventually(lambda: statistics().connections == 0 == statistics().calls)
        await trio.testing.wait_all_tasks_blocked(0.05)
        return left()

    def left() -> tuple[int, int, int]:
        gc.collect()
        return trio.lowlevel.current_statistics().tasks_living, process.num_fds(), sys.getallocatedblocks()

    def is_as_before() -> bool:
        tasks_after, files_after, blocks_after = left()
        grown = blocks_after - blocks
        return tasks_after <= tasks and files_after <= files and grown < STREAMS * BLOCKS_PER_STREAM

    tasks, files, blocks = await use(WARM_UP)
    await use(STREAMS)
    await eventually(is_as_before)  # grpcio's own threads close its files and free its calls a little later
    assert statistics().calls_ended == {Status.CANCELLED: STREAMS + WARM_UP}
    assert statistics().connections_abused == 0
