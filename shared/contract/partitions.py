"""Which partition a user's events are in. Other languages may need the same answer: see docs/architecture.md."""

PARTITION_MAP_EPOCH = 1
"""Of positions. It rises when the partition count of a platform changes, which makes old positions void."""

_MASK = 2**64 - 1


def partition_of(user_id: int, partitions: int) -> int:
    """The user's partition, 0 to `partitions` - 1: the finalizer of MurmurHash3's 128-bit form, mod the count.

    On unsigned 64-bit integers: h ^= h >> 33; h *= 0xff51afd7ed558ccd; h ^= h >> 33; h *= 0xc4ceb9fe1a85ec53;
    h ^= h >> 33. `tests/shared/contract/partition_vectors.json` has written-down results.
    """
    mixed = user_id
    mixed ^= mixed >> 33
    mixed = mixed * 0xFF51AFD7ED558CCD & _MASK
    mixed ^= mixed >> 33
    mixed = mixed * 0xC4CEB9FE1A85EC53 & _MASK
    mixed ^= mixed >> 33
    return mixed % partitions
