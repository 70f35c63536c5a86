"""Public profiles of users: `/v1/profiles` and `/v1/people`."""

from collections.abc import Sequence
from dataclasses import dataclass

from bff.http.endpoints import Response, endpoint
from bff.models import people as models
from bff.services import Services
from shared.accounts.store import AccountStore, User
from shared.accounts.tokens import Claims
from shared.contract.errors import Code, Refusal

BEFORE_ALL = " "
"""A cursor before every name."""


@dataclass(frozen=True, slots=True)
class FoundUsers:
    """A page of a search by a part of a name: first the user whose whole name is the text, then the others by name."""

    users: Sequence[User]
    named: Sequence[User]
    """The user whose whole name is the text, if there is one."""
    has_more: bool

    @property
    def next_cursor(self) -> str:
        """The cursor of the next page; empty on the last one."""
        return self.cursor_after(self.users[-1]) if self.has_more else ""

    def cursor_after(self, user: User) -> str:
        """The cursor of a page that begins after this user of the page."""
        return BEFORE_ALL if user in self.named else user.name


async def search_users(accounts: AccountStore, text: str, *, cursor: str, limit: int) -> FoundUsers:
    """Return a page of the users whom a text finds by `shared.accounts.names`. The first page has an empty cursor."""
    named = await _named(accounts, text)
    found = await accounts.find_users(text, after_name=cursor, limit=limit + 2)
    first = [] if cursor else named
    others = [user for user in found if user.user_id not in [each.user_id for each in named]]
    users = [*first, *others]
    return FoundUsers(users[:limit], named, has_more=len(users) > limit)


async def _named(accounts: AccountStore, text: str) -> Sequence[User]:
    """The user with this name, if there is one."""
    credentials = await accounts.credentials(text.strip().lstrip("@"))
    return await accounts.users([credentials.user_id]) if credentials else []


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
            return Response(models.Profiles.of(users))
        limit = query.limit or self._services.live.value.profiles_page_size
        found = await search_users(self._services.accounts, query.name_contains or "", cursor=query.cursor, limit=limit)
        return Response(models.Profiles.of(found.users, found.next_cursor))

    @endpoint("GET", "/v1/people", models.Profiles)
    async def list_people(self, claims: Claims, query: models.PeopleQuery) -> Response | Refusal:
        """Everybody with an account, page by page, the newest first. A page may be shorter than its limit."""
        limit = query.limit or self._services.live.value.profiles_page_size
        users = await self._services.accounts.list_users(after_id=query.cursor, limit=limit + 1)
        next_cursor = str(users[limit - 1].user_id) if len(users) > limit else ""
        return Response(models.Profiles.of([user for user in users[:limit] if not user.is_deleted], next_cursor))

    @endpoint("GET", "/v1/profiles/<user_id>", models.Profile)
    async def get_profile(self, claims: Claims, user_id: int) -> Response | Refusal:
        """One profile."""
        users = await self._services.accounts.users([user_id])
        if not users:
            return Refusal(Code.NOT_FOUND, f"There is no user {user_id}.", field="user_id")
        return Response(models.Profile.of(users[0]), etag=f"{user_id}-{users[0].version}")
