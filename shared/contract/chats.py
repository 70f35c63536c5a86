"""Chat ids, and the limit of clients' own ids.

A direct chat is not created: its id is made of its two members' ids. The id of a group is made of its creator's id and
the client id of its creation, so that a retry creates the same group.
"""

import hashlib
import re

from shared.contract.errors import Code, Refusal
from shared.contract.ids import MAX_ID
from shared.contract.partitions import partition_of

MAX_CLIENT_ID = 64
"""Bytes of the id that a client chooses for a message or a change."""

MAX_STORED_CLIENT_ID = 72
"""Bytes of the client id of a stored message: a control change has a longer one, made of the id that its client
chose."""

_DIRECT = re.compile(r"d-([1-9][0-9]{0,18})-([1-9][0-9]{0,18})")
_GROUP = re.compile(r"g-([1-9][0-9]{0,18})")


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


def group_chat_id(creator_id: int, client_id: str) -> str:
    """The group that this user creates with this client id: `g-` and a number from 1 to MAX_ID, which others can't
    guess if the client id is random."""
    digest = hashlib.sha256(f"{creator_id} {client_id}".encode()).digest()
    return f"g-{int.from_bytes(digest[:8]) % MAX_ID + 1}"


def group_number(chat_id: str) -> int | None:
    """The number in the id of a group; None if the id is not that of a group."""
    match = _GROUP.fullmatch(chat_id)
    if match is None:
        return None
    number = int(match[1])
    return number if number <= MAX_ID else None


def is_group(chat_id: str) -> bool:
    """Whether the id is that of a group."""
    return group_number(chat_id) is not None


def is_chat(chat_id: str) -> bool:
    """Whether the id is that of a direct chat or of a group."""
    return direct_members(chat_id) is not None or is_group(chat_id)


def home_partition(chat_id: str, partitions: int) -> int:
    """The partition that orders the control changes of a group. Raises ValueError if the id is not that of a group."""
    number = group_number(chat_id)
    if number is None:
        raise ValueError(f"{chat_id!r} is not the id of a group")
    return partition_of(number, partitions)


def no_such_chat(field: str = "chat_id") -> Refusal:
    """The refusal of a chat that does not exist, or of which the user is no member: the same, to disclose no chat of
    other users."""
    return Refusal(Code.NOT_FOUND, "There is no such chat among yours.", field)
