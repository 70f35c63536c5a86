"""Platforms, stubs for a stock client, and a pair that bad clients must not disturb."""

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.system.sessions import TRANSPORTS, connector, make_stubs, open_session
from tests.system.undisturbed import FRAME_BURST, FRAMES_PER_SECOND, chatting_pair
from tools.launch.cluster import UNHURRIED, Cluster, running_cluster
from tools.launch.people import Person, open_http
from tools.launch.process import Process, Rookery, running, wait_until

TAIL_BYTES = 1024 * 1024
"""Bound of the tail of `platform`: a test can fill it."""

MODES = ["embedded", pytest.param("distributed", marks=pytest.mark.slow)]

IDLE_WORKERS = 4
"""Idle worker threads that Trio keeps for 10 s."""


@pytest.fixture(scope="session")
def stubs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python generated from protos/ by the stock tools."""
    return make_stubs(tmp_path_factory.mktemp("stubs"))


@pytest.fixture(scope="session", params=MODES)
def platform(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Process]]:
    """The address of a BFF, and the process of the gateway. Each test registers its own users, and stops no process."""
    with open_platform(request, tmp_path_factory.mktemp("platform")) as ready:
        yield ready


@pytest.fixture(params=MODES)
def own_platform(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Process]]:
    """One for one test, which may stop it."""
    with open_platform(request, tmp_path) as ready:
        yield ready


@contextmanager
def open_platform(request: pytest.FixtureRequest, folder: Path) -> Iterator[tuple[str, Process]]:
    """Run the platform in the mode of the request's parameter."""
    if request.param == "embedded":
        with running(Rookery(folder / "data", tail_bytes=TAIL_BYTES)) as ready:
            yield ready.url, ready
    else:
        engines = request.getfixturevalue("engines")
        cluster = Cluster(
            folder / "cluster", engines, bffs=1, gateways=1, archives=1, settings=UNHURRIED, tail_bytes=TAIL_BYTES
        )
        with running_cluster(cluster) as together:
            yield together.bffs[0].url, together.gateways[0]


@pytest.fixture(scope="session")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rookery]:
    """One with low limits for bad clients, which must not cause warnings or errors in its log."""
    data = tmp_path_factory.mktemp("rookery") / "data"
    with running(Rookery(data, frame_burst=FRAME_BURST, frames_per_second=FRAMES_PER_SECOND)) as ready:
        before = ready.threads
        yield ready
        assert wait_until(lambda: ready.threads <= before + IDLE_WORKERS)
    lines = ready.log_lines()
    assert [line for line in lines if line["level"] not in ("info", "debug")] == []
    (drained,) = [line for line in lines if line["event"] == "gateway_drained"]
    assert drained["sessions"] == 0


@pytest.fixture
async def undisturbed(strict: Rookery) -> AsyncIterator[None]:
    """A pair chats during the test. Afterwards, the process has no more open files and sockets than before."""
    async with chatting_pair(strict) as person:
        yield
        await check_new_clients(strict, person)


async def check_new_clients(rookery: Rookery, person: Person) -> None:
    """Connect to each listener: earlier connections are then accepted or closed."""
    for transport in TRANSPORTS:
        async with open_session(connector(rookery, transport), person):
            pass
    async with open_http(rookery.url) as http:
        assert (await http.get("/v1/me", headers=person.headers)).is_success
