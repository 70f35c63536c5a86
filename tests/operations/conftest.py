"""Platforms and Prometheus, shared by the tests of operations."""

from collections.abc import Iterator

import pytest

from tests.needed import needed
from tests.operations.watched import Platforms, Watched, running_platforms, watched
from tools.operations.prometheus import Prometheus


@pytest.fixture(scope="session")
def platforms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platforms]:
    with running_platforms(tmp_path_factory.mktemp("platforms")) as ready:
        yield ready


@pytest.fixture(scope="session")
def watch(platforms: Platforms, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """Platforms and their Prometheus; a test counts from the values that it finds."""
    needed(Prometheus.install)
    with watched(tmp_path_factory.mktemp("prometheus"), platforms) as ready:
        yield ready
