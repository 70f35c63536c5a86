"""Finds the read marks in a response of the archive that a user may not see."""

from collections.abc import Iterable

from rookery.v1.archive_pb2 import Mark
from shared.accounts.store import AccountStore, batches


async def hidden_marks(accounts: AccountStore, user_id: int, marks: Iterable[Mark], *, are_direct: bool) -> list[Mark]:
    """Return the hidden read marks of others: all of them if the user hides their own, else the marks of users with
    `shows_read_marks` off and, of direct chats, the mark of the other user if one blocks the other.

    Raises Unavailable."""
    others = [mark for mark in marks if mark.user_id != user_id]
    if not others:
        return []
    other_ids = list(dict.fromkeys(mark.user_id for mark in others))
    hiding: set[int] = set()
    for user_ids in batches([user_id, *other_ids]):
        users = await accounts.users(user_ids)
        hiding.update(user.user_id for user in users if not user.shows_read_marks)
        if user_id in hiding:
            return others
    if are_direct:
        relationships = await accounts.relationships(user_id, other_ids)
        hiding.update(other_id for other_id, each in relationships.items() if each.is_blocked)
    return [mark for mark in others if mark.user_id in hiding]
