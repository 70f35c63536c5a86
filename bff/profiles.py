"""Public profiles of users: `/v1/profiles` and `/v1/people`."""

from collections.abc import Sequence

from bff import models
from bff.http.endpoints import Response, endpoint
from bff.services import Services
from shared.accounts.store import User
from shared.accounts.tokens import Claims
from shared.contract.errors import Code, Refusal

BEFORE_ALL = " "
"""A cursor before every name."""


class Profiles:
    """Find users and read their public profiles."""

    def __init__(self, services: Services) -> None:
        self._services = services

    @endpoint("GET", "/v1/profiles", models.Profiles)
    async def list_profiles(self, claims: Claims, query: models.ProfilesQuery) -> Response | Refusal:
        """The existing profiles with these ids, in this order; or a search by a part of a name."""
        if (query.user_ids is None) == (query.name_contains is None):
            return Refusal(Code.INVALID, "Give either `user_ids` or `name_contains`.", field="user_ids")
        if query.user_ids is not None:
            users = await self._services.accounts.users(query.user_ids)
            return Response(models.Profiles(profiles=[models.Profile.of(user) for user in users]))
        return await self._find(query.name_contains or "", query)

    @endpoint("GET", "/v1/people", models.Profiles)
    async def list_people(self, claims: Claims, query: models.PeopleQuery) -> Response | Refusal:
        """Everybody with an account, page by page, the newest first. A page may be shorter than its limit."""
        limit = query.limit or self._services.live.value.profiles_page_size
        users = await self._services.accounts.list_users(after_id=query.cursor, limit=limit + 1)
        people = [models.Profile.of(user) for user in users[:limit] if not user.is_deleted]
        next_cursor = str(users[limit - 1].user_id) if len(users) > limit else ""
        return Response(models.Profiles(profiles=people, next_cursor=next_cursor))

    @endpoint("GET", "/v1/profiles/<user_id>", models.Profile)
    async def get_profile(self, claims: Claims, user_id: int) -> Response | Refusal:
        """One profile."""
        users = await self._services.accounts.users([user_id])
        if not users:
            return Refusal(Code.NOT_FOUND, f"There is no user {user_id}.", field="user_id")
        return Response(models.Profile.of(users[0]), etag=f"{user_id}-{users[0].version}")

    async def _find(self, text: str, query: models.ProfilesQuery) -> Response:
        """A page of users: the one whose whole name is the text, then the others by name.

        The cursor is the last of the others' names on the previous page.
        """
        limit = query.limit or self._services.live.value.profiles_page_size
        named = await self._named(text)
        found = await self._services.accounts.find_users(text, after_name=query.cursor, limit=limit + 2)
        first = [] if query.cursor else named
        others = [user for user in found if user.user_id not in [each.user_id for each in named]]
        page = [*first, *others][:limit]
        last = page[-1].name if len(page) > len(first) else BEFORE_ALL
        more = len(first) + len(others) > limit
        return Response(
            models.Profiles(profiles=[models.Profile.of(user) for user in page], next_cursor=last if more else "")
        )

    async def _named(self, text: str) -> Sequence[User]:
        """The user with this name, if there is one."""
        accounts = self._services.accounts
        credentials = await accounts.credentials(text.strip().lstrip("@"))
        return await accounts.users([credentials.user_id]) if credentials else []
