"""Finds the read marks that a user may not see, in a response of the archive."""

from collections.abc import Iterable

from rookery.v1.archive_pb2 import Mark
from shared.accounts.store import AccountStore, batches


async def hidden_marks(accounts: AccountStore, user_id: int, marks: Iterable[Mark]) -> list[Mark]:
    """Return the marks of others that must not show how far they have read: all of them if the user hides their own
    read marks, else those of users with `shows_read_marks` off. Raises Unavailable."""
    others = _of_others(user_id, marks)
    if not others:
        return []
    hiding: set[int] = set()
    for user_ids in batches([user_id, *_authors(others)]):
        users = await accounts.users(user_ids)
        hiding.update(user.user_id for user in users if not user.shows_read_marks)
        if user_id in hiding:
            return others
    return [mark for mark in others if mark.user_id in hiding]


async def blocked_marks(accounts: AccountStore, user_id: int, marks: Iterable[Mark]) -> list[Mark]:
    """Return the marks of the other users in direct chats where either user blocks the other: such marks show when the
    other user is online. Raises Unavailable."""
    others = _of_others(user_id, marks)
    relationships = await accounts.relationships(user_id, _authors(others)) if others else {}
    return [mark for mark in others if relationships[mark.user_id].is_blocked]


def _of_others(user_id: int, marks: Iterable[Mark]) -> list[Mark]:
    return [mark for mark in marks if mark.user_id != user_id]


def _authors(marks: Iterable[Mark]) -> list[int]:
    return list(dict.fromkeys(mark.user_id for mark in marks))
