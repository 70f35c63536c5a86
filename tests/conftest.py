"""What all tests share: how Hypothesis runs, and real engines, which start when the first test asks for them."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from hypothesis import HealthCheck, settings

from rookery.serve.schema import MIGRATIONS
from shared.drivers.cassandra.migrations import migrate
from shared.settings import CassandraSettings
from tests.spans import Spans, recorded
from tools.engines.cassandra import Cassandra
from tools.engines.engine import Backend, Options, running
from tools.engines.kafka import Kafka
from tools.engines.redis import Redis
from tools.toolchains import needed

# No deadline: the machines that run these are shared and noisy, and a time limit there is a flaky test.
# autojump_clock and tmp_path are safe to share between the examples of one test where each example uses fresh names.
settings.register_profile("rookery", deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
settings.load_profile("rookery")

PATIENT = 30.0
"""Seconds for a request to Cassandra, on a machine that is busy with other tests."""

B = TypeVar("B", bound=Backend)


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One for all tests: each has topics and groups of its own, and leaves the server as it is."""
    needed(Kafka.install)
    with running(Kafka(tmp_path_factory.mktemp("engines") / "kafka")) as ready:
        yield ready


@pytest.fixture(scope="session")
def cassandra_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cassandra]:
    """One for all tests: each, or each module, has a keyspace of its own, and leaves the server as it is."""
    needed(Cassandra.install)
    with running(Cassandra(tmp_path_factory.mktemp("engines") / "cassandra")) as ready:
        yield ready


@pytest.fixture(scope="session")
def cassandra_settings(cassandra_server: Cassandra) -> CassandraSettings:
    """A keyspace with all tables, for the stores. A test uses ids of its own, or empties the tables first."""
    settings = CassandraSettings(
        hosts=(cassandra_server.host,),
        port=cassandra_server.port,
        keyspace=f"stores_{uuid.uuid4().hex[:12]}",
        timeout_seconds=PATIENT,
    )
    trio.run(migrate, settings, MIGRATIONS)
    return settings


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """One for all tests: each has a prefix of its own, and leaves the server as it is."""
    needed(Redis.install)
    with running(Redis(tmp_path_factory.mktemp("engines") / "redis")) as ready:
        yield ready


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Callable[..., Kafka]]:
    """Starts one for a test alone, that may do with it what it likes. It takes options, as `Kafka` does."""
    with factory(Kafka, tmp_path) as start:
        yield start


@pytest.fixture
def own_cassandra(tmp_path: Path) -> Iterator[Callable[..., Cassandra]]:
    """Starts one for a test alone, that may do with it what it likes. It takes options, as `Cassandra` does."""
    with factory(Cassandra, tmp_path) as start:
        yield start


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Callable[..., Redis]]:
    """Starts one for a test alone, that may do with it what it likes. It takes options, as `Redis` does."""
    with factory(Redis, tmp_path) as start:
        yield start


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Has what this process does traced, where it is chosen to be; and keeps the spans."""
    with recorded() as kept:
        yield kept


@contextmanager
def factory(kind: type[B], folder: Path) -> Iterator[Callable[..., B]]:
    """A function that starts an instance; those that it has started end at the end of the block."""
    needed(kind.install)
    numbers = count()
    with ExitStack() as stack:

        def start(options: Options | None = None) -> B:
            return stack.enter_context(running(kind(folder / f"{kind.name}-{next(numbers)}", options)))

        yield start
