"""A session while its only node hangs or is dead."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from rookery.serve.schema import MIGRATIONS
from shared.contract.errors import Unavailable
from shared.drivers.cassandra import open_cassandra
from shared.drivers.cassandra.migrations import migrate
from shared.drivers.cassandra.session import CassandraSession
from shared.settings import CassandraSettings
from tests.shared.drivers.cassandra.conftest import settings_for
from tests.waiting import until
from tools.engines.cassandra import Cassandra

pytestmark = pytest.mark.slow

TIMEOUT = 1.5
"""Seconds for a request here: short, so that a test need not wait long for its end."""

AT_ONCE = 20.0
"""Seconds that many refusals may take on a busy machine. One takes microseconds; if each waited for its time-out, they
took minutes."""

PROMPT = 5.0
"""Seconds that closing may take on a busy machine. Half a second is promised."""

SOON = 60.0
"""Seconds in which a session must have recovered. It takes about one, but the node may take longer to be ready."""

READ = "SELECT message_id FROM messages_by_chat WHERE chat_id = ? AND bucket = ?"


@pytest.fixture(scope="module")
def settings(node: Cassandra) -> CassandraSettings:
    """Of a keyspace with the schema."""
    patient = settings_for(node)
    trio.run(migrate, patient, MIGRATIONS)
    return patient.model_copy(update={"timeout_seconds": TIMEOUT})


@asynccontextmanager
async def opened(settings: CassandraSettings) -> AsyncIterator[CassandraSession]:
    """Open a session and use it. Another test may have just woken the node, and the time for a request is short."""
    deadline = trio.current_time() + SOON
    async with AsyncExitStack() as stack:
        while True:
            try:
                session = await stack.enter_async_context(open_cassandra(settings, MIGRATIONS))
                break
            except Unavailable:
                if trio.current_time() > deadline:
                    raise
                await trio.sleep(0.05)
        await recovers(session)
        yield session


async def read(session: CassandraSession) -> None:
    await session.execute(await session.prepare(READ), ("chat", 0))


async def recovers(session: CassandraSession) -> None:
    with trio.fail_after(SOON):
        while True:
            try:
                await read(session)
            except Unavailable:
                await trio.sleep(0.05)
            else:
                return


async def is_refused_at_once(session: CassandraSession) -> None:
    with trio.fail_after(AT_ONCE):
        for _ in range(100):
            with pytest.raises(Unavailable, match="does not answer"):
                await read(session)


async def first_failure(session: CassandraSession) -> None:
    """The first requests after a fault may wait for their time-out, all at the same time."""

    async def fail() -> None:
        with pytest.raises(Unavailable):
            await read(session)

    with trio.fail_after(TIMEOUT + PROMPT):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(fail)


async def test_a_frozen_node_is_detected_and_used_again_when_it_wakes(
    node: Cassandra, settings: CassandraSettings, no_thread_stays: Callable[[], list[str]]
) -> None:
    async with opened(settings) as session:
        node.freeze()
        try:
            await first_failure(session)
            assert session.statistics().is_silent
            await is_refused_at_once(session)
            driver: Any = session._driver
            # until the driver has closed its connections
            await until(lambda: not any(host.is_up for host in driver.cluster.metadata.all_hosts()))
            await is_refused_at_once(session)
        finally:
            node.thaw()
        await recovers(session)
        await until(lambda: not session.statistics().under_way)


async def test_while_a_node_is_frozen_opening_can_be_cancelled_or_ends_and_closing_is_prompt(
    node: Cassandra, settings: CassandraSettings, no_thread_stays: Callable[[], list[str]]
) -> None:
    try:
        async with opened(settings) as session, trio.open_nursery() as nursery:
            node.freeze()
            with trio.move_on_after(0.3):
                async with open_cassandra(settings, MIGRATIONS):
                    raise AssertionError("it is frozen")
            started = trio.current_time()
            with pytest.raises(Unavailable, match="answers"):
                async with open_cassandra(settings, MIGRATIONS):
                    pass
            assert trio.current_time() - started < 10
            for _ in range(10):
                nursery.start_soon(read, session)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            started = trio.current_time()
        assert trio.current_time() - started < PROMPT
    finally:
        node.thaw()


async def test_a_killed_node_is_used_again_when_it_is_back(
    node: Cassandra, settings: CassandraSettings, no_thread_stays: Callable[[], list[str]]
) -> None:
    async with opened(settings) as session:
        async with trio.open_nursery() as nursery:

            async def keep_reading() -> None:
                while not session.statistics().is_silent:
                    try:
                        await read(session)
                    except Unavailable:
                        return

            for _ in range(5):
                nursery.start_soon(keep_reading)
            await trio.to_thread.run_sync(node.kill)
        await first_failure(session)
        await is_refused_at_once(session)
        with pytest.raises(Unavailable, match=f"{node.port}"):
            async with open_cassandra(settings, MIGRATIONS):
                pass
        await trio.to_thread.run_sync(node.start)
        await recovers(session)
        await until(lambda: not session.statistics().under_way)
