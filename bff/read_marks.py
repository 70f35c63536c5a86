"""Finds the marks in a response of the archive of which a user may not see how far their owners have read."""

from collections.abc import Iterable

from rookery.v1.archive_pb2 import Mark
from shared.accounts.store import AccountStore

USERS_AT_ONCE = 100
"""In one read of accounts."""


async def hidden_marks(accounts: AccountStore, user_id: int, marks: Iterable[Mark]) -> list[Mark]:
    """Return the read marks of others that are hidden: of users who show nobody how far they have read, or all of them
    if the user is one of these. Raises Unavailable."""
    others = [mark for mark in marks if mark.user_id != user_id and mark.read_up_to]
    if not others:
        return []
    asked = list(dict.fromkeys([user_id, *(mark.user_id for mark in others)]))
    hiding: set[int] = set()
    for start in range(0, len(asked), USERS_AT_ONCE):
        users = await accounts.users(asked[start : start + USERS_AT_ONCE])
        hiding.update(user.user_id for user in users if not user.shows_read_marks)
        if user_id in hiding:
            return others
    return [mark for mark in others if mark.user_id in hiding]
