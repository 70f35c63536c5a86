"""The limit of connections follows the limit of open files."""

import resource
from collections.abc import Iterator

import pytest

from shared.net.open_files import (
    MOST_CONNECTIONS,
    MOST_LISTENERS,
    allow_most_open_files,
    connections_allowed,
    open_files,
)


@pytest.fixture(autouse=True)
def restored_limits() -> Iterator[None]:
    """Restore the limit of this process after the test."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("files", [500, 1024, 4096])
def test_all_listeners_together_leave_a_fifth_of_the_files_for_other_uses(files: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))
    assert open_files() == files
    assert 0.75 * files < connections_allowed() <= 0.8 * files


def test_a_process_raises_its_limit_to_the_system_s() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (500, hard))
    allow_most_open_files()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)


def test_connections_are_bounded_where_files_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert open_files() is None
    assert connections_allowed() == MOST_LISTENERS * MOST_CONNECTIONS
    monkeypatch.undo()
