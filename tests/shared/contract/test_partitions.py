import json
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contract.partitions import partition_of

VECTORS = json.loads((Path(__file__).parent / "partition_vectors.json").read_text())["vectors"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["user_id"])
def test_the_hash_is_the_documented_one(vector: dict[str, str | int]) -> None:
    """A client in another language computes the same; 0xb456bcfc34c2cb2c is fmix64(1) as published with MurmurHash3."""
    for count in (1, 4, 12, 1024):
        assert partition_of(int(vector["user_id"]), count) == vector[f"partition_of_{count}"]
        assert int(vector["hash"]) % count == vector[f"partition_of_{count}"]
    if vector["user_id"] == "1":
        assert int(vector["hash"]) == 0xB456BCFC34C2CB2C


@given(st.integers(1, 2**63 - 1), st.integers(1, 1024))
def test_a_partition_is_in_range(user_id: int, partitions: int) -> None:
    assert 0 <= partition_of(user_id, partitions) < partitions


def test_neighbouring_ids_spread_evenly() -> None:
    counts = Counter(partition_of(user_id << 22, 12) for user_id in range(1, 12_001))
    assert min(counts.values()) > 850
    assert max(counts.values()) < 1150
