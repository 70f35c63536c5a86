"""Public profiles of users: `/v1/profiles` and `/v1/people`."""

from bff import models
from bff.http.endpoints import Response, endpoint
from bff.services import Services
from shared.accounts.tokens import Claims
from shared.contract.errors import Code, Refusal


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
        """Everybody with an account, page by page, in no particular order. A page may be shorter than its limit."""
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

    async def _find(self, part: str, query: models.ProfilesQuery) -> Response:
        """A page of users, sorted by name. The cursor is the last name of the previous page."""
        limit = query.limit or self._services.live.value.profiles_page_size
        users = await self._services.accounts.find_users(part, after_name=query.cursor, limit=limit + 1)
        page = [models.Profile.of(user) for user in users[:limit]]
        return Response(models.Profiles(profiles=page, next_cursor=page[-1].name if len(users) > limit else ""))
