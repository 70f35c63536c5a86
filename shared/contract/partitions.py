"""The partition of a user's events. Code in other languages must compute the same (docs/architecture/partitions.md)."""

PARTITION_MAP_EPOCH = 1
"""The epoch of all positions: one of another epoch gets a Gap. A new log, as for another partition count, has it too. A
position in the former log gets a Gap there as well, unless the tail of the new one has its offset."""

_MASK = 2**64 - 1


def partition_of(user_id: int, partitions: int) -> int:
    """The user's partition, 0 to `partitions` - 1: the finalizer of MurmurHash3's 128-bit form, mod the count.

    On unsigned 64-bit integers: h ^= h >> 33; h *= 0xff51afd7ed558ccd; h ^= h >> 33; h *= 0xc4ceb9fe1a85ec53;
    h ^= h >> 33. `tests/shared/contract/partition_vectors.json` has test vectors.
    """
    mixed = user_id
    mixed ^= mixed >> 33
    mixed = mixed * 0xFF51AFD7ED558CCD & _MASK
    mixed ^= mixed >> 33
    mixed = mixed * 0xC4CEB9FE1A85EC53 & _MASK
    mixed ^= mixed >> 33
    return mixed % partitions
