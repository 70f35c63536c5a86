"""Bodies and queries about other users: profiles, connections, blocks and reports."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from bff.models.fields import Cursor, Digits, Input, Limit, SearchPart, UserId, UserIds, visible
from shared.accounts import store as accounts
from shared.accounts.people import MAX_REPORTED_MESSAGES, Relationship

DELETED_ACCOUNT = "Deleted account"
"""The display name of a deleted account, for clients that do not translate it."""


class NewReport(Input):
    """A report of a user, perhaps with messages of one chat. Line breaks are allowed in the reason."""

    user_id: UserId
    chat_id: Annotated[str, StringConstraints(max_length=64)] = ""
    message_ids: Annotated[tuple[UserId, ...], Field(max_length=MAX_REPORTED_MESSAGES)] = ()
    reason: Annotated[
        str, StringConstraints(min_length=1, max_length=1_000, strip_whitespace=True), AfterValidator(visible)
    ]


class PeopleQuery(Input):
    """A page of people."""

    limit: Limit | None = None
    cursor: Digits = Field(0, description="The `next_cursor` of the previous page; 0 for the first page")


class ProfilesQuery(Input):
    """Profiles by `user_ids`, or a search with `name_contains`."""

    user_ids: UserIds | None = None
    name_contains: SearchPart | None = None
    limit: Limit | None = None
    cursor: Cursor = ""


class Profile(BaseModel):
    """The public profile of a user. Of a deleted account only the id is left: its name is empty, its display name is
    "Deleted account", and messages to it are refused."""

    user_id: str
    name: str
    display_name: str
    about: str
    avatar: str
    deleted: bool

    @classmethod
    def of(cls, user: accounts.User) -> "Profile":
        return cls(
            user_id=str(user.user_id),
            name="" if user.is_deleted else user.name,
            display_name=DELETED_ACCOUNT if user.is_deleted else user.display_name,
            about=user.about,
            avatar=user.avatar,
            deleted=user.is_deleted,
        )


class Profiles(BaseModel):
    """A page of profiles. `next_cursor` is the cursor of the next page, empty on the last one."""

    profiles: list[Profile]
    next_cursor: str = ""

    @classmethod
    def of(cls, users: Sequence[accounts.User], next_cursor: str = "") -> "Profiles":
        return cls(profiles=[Profile.of(user) for user in users], next_cursor=next_cursor)


class Connection(BaseModel):
    """A user's connection to another user: `connected`, `invited` by the user, or `invites_me`."""

    user_id: str
    state: str
    since_ms: str

    @classmethod
    def of(cls, relationship: Relationship) -> "Connection":
        return cls(user_id=str(relationship.other_id), state=relationship.state, since_ms=str(relationship.since_ms))


class Connections(BaseModel):
    """The user's connections and invitations, by rising user id."""

    connections: list[Connection]


class OneConnection(BaseModel):
    """A connection after its change."""

    connection: Connection


class Blocks(BaseModel):
    """The users whom the user blocks."""

    user_ids: list[str]


class ReportReceipt(BaseModel):
    """A report that was stored."""

    report_id: str
