"""Real nodes for the tests of sessions and of the schema."""

import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from shared.drivers.cassandra.driver import _EXECUTOR_THREADS
from shared.settings import CassandraSettings
from tests.needed import needed
from tools.engines.cassandra import DURABLE, Cassandra
from tools.engines.engine import running

PATIENT = 30.0
"""Seconds for a request, on a machine that is busy with other tests."""

DRIVER_THREADS = "Task Scheduler", "Connection heartbeat", "ThreadPoolExecutor"
"""The names of an open session's threads. One more, `event_loop`, is the process's: it ends by itself."""


def settings_for(server: Cassandra, *, timeout_seconds: float = PATIENT) -> CassandraSettings:
    """Settings with a new keyspace, which does not exist yet."""
    return CassandraSettings(
        hosts=(server.host,),
        port=server.port,
        keyspace=f"test_{uuid.uuid4().hex[:12]}",
        timeout_seconds=timeout_seconds,
    )


@pytest.fixture
def empty(cassandra_server: Cassandra) -> CassandraSettings:
    """Settings with a keyspace of the test's own, which does not exist yet."""
    return settings_for(cassandra_server)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cassandra]:
    """A node that tests freeze and kill; each leaves it running."""
    needed(Cassandra.install)
    with running(Cassandra(tmp_path_factory.mktemp("node") / "cassandra", DURABLE)) as ready:
        yield ready


@pytest.fixture
def no_thread_stays() -> Iterator[Callable[[], list[str]]]:
    """Fails the test if threads of the driver are left soon after its end."""

    def left() -> list[str]:
        names = [thread.name for thread in threading.enumerate()]
        return [name for name in names if name.startswith(DRIVER_THREADS)]

    def counted() -> Counter[str]:
        return Counter(name.partition("-")[0] for name in left())

    most = counted()
    # The session of all tests may start the other threads of its executor meanwhile.
    most["ThreadPoolExecutor"] = max(most["ThreadPoolExecutor"], _EXECUTOR_THREADS * most["Task Scheduler"])
    yield left
    deadline = time.monotonic() + PATIENT
    while not counted() <= most and time.monotonic() < deadline:
        time.sleep(0.02)
    assert counted() <= most, left()
