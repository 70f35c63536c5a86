"""Fixtures of all tests: real engines, recorded spans, Hypothesis profiles, and the logs attached to a failure."""

import fcntl
import gc
import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from hypothesis import HealthCheck, settings

from rookery.serve.schema import MIGRATIONS
from shared.settings import CassandraSettings
from shared.telemetry.health import Health
from tests.cassandra_sessions import OpenSession, migrate_patiently, patient_driver, sessions
from tests.hanging import ended_after
from tests.needed import needed, skip_or_fail
from tests.spans import Spans, recorded
from tools.engines.cassandra import Cassandra
from tools.engines.engine import ENGINES_VARIABLE, Engine, Options, running
from tools.engines.kafka import Kafka
from tools.engines.kinds import Engines
from tools.engines.redis import Redis
from tools.launch.certificates import Authority, Issued
from tools.launch.process import Rookery, log_tails
from tools.launch.process import running as running_process
from tools.page.bundle import ESBUILD, bundle
from tools.toolchains import ROOT

# No deadline: the machines that run these are shared and noisy, and a time limit there is a flaky test.
# autojump_clock and tmp_path are safe to share between the examples of one test where each example uses fresh names.
settings.register_profile(
    "rookery", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
settings.register_profile("deep", settings.get_profile("rookery"), max_examples=1_000)
settings.load_profile("rookery")

CASSANDRA_TIMEOUT = 30.0
"""Seconds for a request to Cassandra, on a machine that is busy with other tests."""

TIME_LIMIT = 180.0
"""Seconds for a test, which takes a few, and for a `slow` one: SLOW_TIME_LIMIT."""

SLOW_TIME_LIMIT = 1_800.0

LONG = ("tests/system/", "tests/browser/", "tests/operations/", "tests/tools/wheel/")
"""Folders of the longest test files."""

E = TypeVar("E", bound=Engine)


def pytest_configure() -> None:
    """Reset SIGINT, so that tests can interrupt the processes that they start.

    A shell without job control starts a background job with SIGINT ignored, and each process passes that on.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start the longest files first, so that parallel processes end at about the same time."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONG))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Exclude from full collections, of which each takes half a second with them, the modules and tests so far."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that hangs, with the stacks of its threads and tasks, its fixtures included."""
    with ended_after(SLOW_TIME_LIMIT if item.get_closest_marker("slow") else TIME_LIMIT):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach the log tails of platform processes to the report of a failed test."""
    report = yield
    if report.failed:
        report.sections += [(f"log of {name}", tail) for name, tail in log_tails(since=call.start)]
    return report


@pytest.fixture(scope="session", autouse=True)
def state_of_user(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give programs another folder than the developer's own for what they keep, such as device tokens."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """The certificate authority of one test."""
    return Authority(tmp_path / "certificates")


@pytest.fixture
def issued(authority: Authority) -> Issued:
    """A certificate of that authority."""
    return authority.issue()


@pytest.fixture
def health() -> Health:
    """The health of a process that has started, without checks."""
    health = Health()
    health.mark_started()
    return health


@pytest.fixture(scope="session")
def rookery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rookery]:
    """One for all tests that neither stop nor configure it: each registers its own users."""
    with running_process(Rookery(tmp_path_factory.mktemp("rookery") / "data")) as ready:
        yield ready


@pytest.fixture
def own_rookery(tmp_path: Path) -> Iterator[Rookery]:
    """One for one test, which may stop, kill and configure it."""
    with running_process(Rookery(tmp_path / "data")) as ready:
        yield ready


@contextmanager
def shared(kind: type[E], folders: pytest.TempPathFactory) -> Iterator[E]:
    """The engine that the test runner has started for all pytest processes, or one for this process."""
    if started := os.environ.get(ENGINES_VARIABLE):
        yield kind(Path(started) / kind.name)
        return
    needed(kind.install)
    with running(kind(folders.mktemp("engines") / kind.name)) as engine:
        yield engine


@pytest.fixture(scope="session")
def kafka_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """One for all tests: each uses topics and groups of its own, and leaves the server as it is."""
    with shared(Kafka, tmp_path_factory) as kafka:
        yield kafka


@pytest.fixture(scope="session")
def cassandra_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cassandra]:
    """One for all tests: each, or each module, uses a keyspace of its own, and leaves the server as it is."""
    with shared(Cassandra, tmp_path_factory) as cassandra:
        yield cassandra


@pytest.fixture(scope="session")
def cassandra_settings(cassandra_server: Cassandra) -> CassandraSettings:
    """A keyspace with all tables, for the stores. A test uses ids of its own, or empties the tables first."""
    settings = CassandraSettings(
        hosts=(cassandra_server.host,),
        port=cassandra_server.port,
        keyspace=f"stores_{uuid.uuid4().hex[:12]}",
        timeout_seconds=CASSANDRA_TIMEOUT,
    )
    with patient_driver():
        trio.run(migrate_patiently, settings, MIGRATIONS)
    return settings


@pytest.fixture(scope="session")
def open_session(cassandra_settings: CassandraSettings) -> Iterator[OpenSession]:
    """Opens a session in that keyspace: quickly, since all share a connection."""
    with sessions(cassandra_settings) as opener:
        yield opener


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """One for all tests: each uses a prefix of its own, and leaves the server as it is."""
    with shared(Redis, tmp_path_factory) as redis:
        yield redis


@pytest.fixture(scope="session")
def engines(kafka_server: Kafka, cassandra_server: Cassandra, redis_server: Redis) -> Engines:
    """The engines of all tests, for a cluster."""
    return Engines(kafka_server, cassandra_server, redis_server)


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Callable[..., Kafka]]:
    """Starts engines for one test, which may stop and kill them. Takes options, as `Kafka` does."""
    with factory(Kafka, tmp_path) as start:
        yield start


@pytest.fixture
def own_cassandra(tmp_path: Path) -> Iterator[Callable[..., Cassandra]]:
    """Starts engines for one test, which may stop and kill them. Takes options, as `Cassandra` does."""
    with factory(Cassandra, tmp_path) as start:
        yield start


@pytest.fixture
def own_redis(tmp_path: Path) -> Iterator[Callable[..., Redis]]:
    """Starts engines for one test, which may stop and kill them. Takes options, as `Redis` does."""
    with factory(Redis, tmp_path) as start:
        yield start


@pytest.fixture
def spans() -> Iterator[Spans]:
    """Records the spans of this process."""
    with recorded() as kept:
        yield kept


@contextmanager
def factory(kind: type[E], folder: Path) -> Iterator[Callable[..., E]]:
    """A function that starts an engine; the engines are killed at the end of the block."""
    needed(kind.install)
    numbers = count()
    with ExitStack() as stack:

        def start(options: Options | None = None) -> E:
            return stack.enter_context(running(kind(folder / f"{kind.name}-{next(numbers)}", options)))

        yield start


@pytest.fixture(scope="session")
def bundled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page as a release has it."""
    if not ESBUILD.exists():
        skip_or_fail(f"there is no {ESBUILD}: npm ci")
    folder = tmp_path_factory.mktemp("page") / "web"
    bundle(folder)
    return folder


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of `make wheel`, built outside of the checkout, once for all pytest processes."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "wheel"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "dist").exists():
            build_wheel(folder)
    (built,) = (folder / "dist").iterdir()
    return built


def build_wheel(folder: Path) -> None:
    """Build the wheel in `folder/dist`, which exists only once it is built."""
    config = folder / "setup.cfg"
    config.write_text(f"[build]\nbuild_base = {folder}/build\n[egg_info]\negg_base = {folder}\n")
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder / "building"))
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", *options, str(ROOT)],
        env=os.environ | {"DIST_EXTRA_CONFIG": str(config)},
        check=True,
    )
    (folder / "building").rename(folder / "dist")
