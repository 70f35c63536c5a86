"""The engines on which the contract suite runs. A further twin needs a line in ENGINES."""

from collections.abc import AsyncIterator, Callable
from functools import partial

import pytest

from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.store import AccountStore
from tests.shared.accounts.stores import OpenStore, over_cassandra


def sqlite(request: pytest.FixtureRequest, *, trigrams: bool = True) -> OpenStore:
    path = request.getfixturevalue("tmp_path") / "accounts.db"
    return partial(open_sqlite_accounts, path, trigrams=trigrams)


def cassandra(request: pytest.FixtureRequest) -> OpenStore:
    return over_cassandra(request.getfixturevalue("open_session"))


ENGINES = {"sqlite": sqlite, "cassandra": cassandra}

VARIANTS: dict[str, Callable[[pytest.FixtureRequest], OpenStore]] = {**ENGINES, "scan": partial(sqlite, trigrams=False)}
"""The engines, and SQLite without its index of trigrams, for the tests of the search."""


@pytest.fixture(params=sorted(ENGINES))
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    """Opens the one store of a test. Opening it twice is how two processes share it."""
    return VARIANTS[request.param](request)


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[AccountStore]:
    async with open_store() as store:
        yield store
