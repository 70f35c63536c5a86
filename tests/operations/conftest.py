"""Platforms and Prometheus, shared by the tests of operations."""

from collections.abc import Iterator

import pytest

from tests.needed import needed
from tests.operations.watched import Platforms, Watched
from tools.engines.engine import running
from tools.launch.certificates import Authority
from tools.launch.process import Rookery
from tools.launch.process import running as running_process
from tools.operations.prometheus import Prometheus


@pytest.fixture(scope="session")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rookery]:
    """A platform with TLS, which nobody uses."""
    folder = tmp_path_factory.mktemp("secured")
    tls = Authority(folder / "certificates").issue().environment()
    with running_process(Rookery(folder / "secured", settings=tls)) as ready:
        yield ready


@pytest.fixture(scope="session")
def platforms(tmp_path_factory: pytest.TempPathFactory, secured: Rookery) -> Iterator[Platforms]:
    """The platforms that Prometheus scrapes."""
    with running_process(Rookery(tmp_path_factory.mktemp("platforms") / "data")) as ready:
        yield Platforms(ready, secured)


@pytest.fixture(scope="session")
def watch(platforms: Platforms, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Platforms and their Prometheus; a test counts from the values that it finds."""
    needed(Prometheus.install)
    jobs = {"rookery": [platforms.rookery.url], "secured": [platforms.secured.url]}
    with running(Prometheus(tmp_path_factory.mktemp("prometheus"), jobs)) as prometheus:
        yield Watched(platforms.rookery, platforms.secured, prometheus)
