"""Chat ids. A direct chat is not created: its id is made of its two members' ids. And the limit of clients' own ids."""

import re

from shared.contract.ids import MAX_ID

MAX_CLIENT_ID = 64
"""Bytes of the id that a client chooses for a message or a change."""

_DIRECT = re.compile(r"d-([1-9][0-9]{0,18})-([1-9][0-9]{0,18})")


def direct_chat_id(user_id: int, other_id: int) -> str:
    """The chat of two users, the same for both: `d-`, the lower id, `-`, the higher id."""
    low, high = sorted((user_id, other_id))
    return f"d-{low}-{high}"


def direct_members(chat_id: str) -> tuple[int, int] | None:
    """The two members of a direct chat, lower id first; None if the id is not that of a direct chat."""
    match = _DIRECT.fullmatch(chat_id)
    if match is None:
        return None
    low, high = int(match[1]), int(match[2])
    return (low, high) if low < high <= MAX_ID else None
