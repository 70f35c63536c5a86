"""The stores that the contract suite runs over."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.store import AccountStore
from tests.shared.accounts.stores import OpenStore, over_cassandra


@pytest.fixture(params=["sqlite", "cassandra"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens the one store of a test. Opening it twice is how two processes share it. "scan" is SQLite without its
    index of trigrams."""
    if request.param == "cassandra":
        return over_cassandra(request.getfixturevalue("cassandra_settings"))
    return partial(open_sqlite_accounts, tmp_path / "accounts.db", trigrams=request.param == "sqlite")


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[AccountStore]:
    async with open_store() as store:
        yield store
