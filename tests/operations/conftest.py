"""What the tests of operations share."""

from collections.abc import Iterator

import pytest

from tests.needed import needed
from tests.operations.watched import Watched, watched
from tools.operations.prometheus import Prometheus


@pytest.fixture(scope="session")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """A platform and its Prometheus, for all tests that count from where they find it."""
    needed(Prometheus.install)
    with watched(tmp_path_factory.mktemp("watched")) as ready:
        yield ready
