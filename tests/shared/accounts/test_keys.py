"""What both stores of accounts promise of keys that are retired."""

from functools import partial
from pathlib import Path

import pytest

from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.store import SigningKey
from tests.shared.accounts.stores import OpenStore, over_cassandra

OLD, NEW = SigningKey("old", "{}", 1), SigningKey("new", "{}", 2)


@pytest.fixture(params=["sqlite", "cassandra"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens the one store of a test."""
    if request.param == "cassandra":
        return over_cassandra(request.getfixturevalue("cassandra_settings"))
    return partial(open_sqlite_accounts, tmp_path / "accounts.db")


async def test_a_removed_key_leaves_the_others(open_store: OpenStore) -> None:
    async with open_store() as one, open_store() as other:
        for key in (OLD, NEW):
            await one.add_signing_key(key)
        await one.remove_signing_key(OLD.key_id)
        assert await other.signing_keys() == [NEW]
        await one.remove_signing_key(OLD.key_id)
        await one.remove_signing_key("never there")
        assert await other.signing_keys() == [NEW]


async def test_a_first_key_is_not_made_again_because_an_old_one_was_removed(open_store: OpenStore) -> None:
    async with open_store() as store:
        for key in (OLD, NEW):
            await store.add_signing_key(key)
        await store.remove_signing_key(OLD.key_id)
        await store.add_signing_key(OLD, if_none=True)
        assert await store.signing_keys() == [NEW]
