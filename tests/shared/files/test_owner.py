"""A store of files has one owner."""

import pytest

from shared.contract.errors import Unavailable
from shared.files.keys import OWNER_KEY
from shared.files.owner import claim
from shared.files.protocol import FileStore


async def test_a_store_belongs_to_the_platform_that_claims_it_first(files: FileStore) -> None:
    for _ in range(2):
        await claim(files, "the embedded engines")
    with pytest.raises(Unavailable, match="belongs to a platform on the embedded engines, and this one, on Cassandra"):
        await claim(files, "Cassandra's keyspace rookery")
    assert [stored.key for stored in await files.keys()] == [OWNER_KEY]
