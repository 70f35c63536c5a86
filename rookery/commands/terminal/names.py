"""The names of users that `rookery chat` shows."""

from collections.abc import Iterable
from contextlib import suppress

from rookery.client import Api, RookeryError

AT_ONCE = 100
"""Profiles of a request: the server's maximum."""


class UserNames:
    """The names of users by their ids, read when they are needed first."""

    def __init__(self, api: Api, known: dict[int, str]) -> None:
        self.known = known
        self._api = api

    async def read(self, user_ids: Iterable[int]) -> None:
        """Read the names that are not known yet; without an answer they stay unknown."""
        unknown = [user_id for user_id in dict.fromkeys(user_ids) if user_id not in self.known]
        with suppress(RookeryError):
            for start in range(0, len(unknown), AT_ONCE):
                for profile in await self._api.profiles(unknown[start : start + AT_ONCE]):
                    self.known[profile.user_id] = profile.name or profile.display_name  # a deleted account has no name

    async def of(self, user_id: int) -> str:
        """Return the name of a user."""
        await self.read([user_id])
        return self.known.get(user_id, f"user {user_id}")
