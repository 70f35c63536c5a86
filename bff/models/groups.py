"""Bodies and queries about groups and channels, their members, invite links and requests to join."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints

from bff.models.fields import (
    ONE_LINE,
    Avatar,
    Cursor,
    Digits,
    Flag,
    Input,
    Limit,
    SearchPart,
    UserId,
    UserIds,
    digits,
    one_line,
    one_of,
    utf8_bytes,
)
from rookery.v1.groups_pb2 import ROLE_UNSPECIFIED, GroupSettings, Invite, Member
from shared.contract.chats import MAX_CLIENT_ID
from shared.contract.groups import (
    ALL_PERMISSIONS,
    MAX_CHANNEL_MEMBERS,
    MAX_INVITE_MS,
    MAX_MEMBERS,
    MAX_NAME_BYTES,
    MAX_QUERY,
    MAX_TOPIC_BYTES,
    MAX_USES,
    Permission,
)

MAX_PUBLIC_CURSOR = 1_024
"""Characters of a cursor of public groups, which has a name."""

ClientChangeId = Annotated[
    str,
    *utf8_bytes(1, MAX_CLIENT_ID),
    Field(description="Chosen by the client, unique among the user's: a retry with the same id has no second effect"),
]
ExpectedVersion = Annotated[
    Digits, Field(description="The version of the group that the change is meant for; 0 for any")
]
GroupName = Annotated[str, *utf8_bytes(1, MAX_NAME_BYTES), Field(description="1 to 128 bytes of UTF-8, on one line")]
Topic = Annotated[str, *utf8_bytes(0, MAX_TOPIC_BYTES), Field(description="At most 1,024 bytes of UTF-8, on one line")]
_PERMISSIONS = ", ".join(f"{each.value} ({str(each.name).lower()})" for each in Permission)
Permissions = Annotated[
    int, Field(ge=0, le=int(ALL_PERMISSIONS), description=f"A sum of {_PERMISSIONS}"), BeforeValidator(digits)
]
NewPermissions = Annotated[
    int,
    Field(ge=1, le=int(ALL_PERMISSIONS), description=f"Of members: a sum of {_PERMISSIONS}; by default 31"),
    BeforeValidator(digits),
]
Others = Annotated[tuple[UserId, ...], Field(max_length=MAX_MEMBERS - 1, description="Each user once")]
NewRole = Annotated[str, *one_of(("ROLE_GUEST", "ROLE_MEMBER"))]
AnyRole = Annotated[str, *one_of(("ROLE_GUEST", "ROLE_MEMBER", "ROLE_ADMIN", "ROLE_OWNER"))]


class NewGroup(Input):
    """A new group: its creator becomes the owner, and these users become its members."""

    client_change_id: ClientChangeId
    name: GroupName
    topic: Topic = ""
    user_ids: Others = ()
    permissions: NewPermissions | None = None
    shows_history: Flag = Field(False, description="Whether members may read messages from before they joined")
    is_public: Flag = Field(False, description="Whether every user may find the group and join it")
    asks_to_join: Flag = Field(False, description="Whether users who join become members only when they are added")
    is_channel: Flag = Field(
        False,
        description=f"Whether the group is a channel, which may have {MAX_CHANNEL_MEMBERS:,} members in place of "
        f"{MAX_MEMBERS:,}, and whose events only the sessions receive that follow it. A channel stays one",
    )


class GroupChange(Input):
    """A change of a group's settings. Omitted fields stay."""

    client_change_id: ClientChangeId
    expected_version: ExpectedVersion = 0
    name: GroupName | None = None
    topic: Topic | None = None
    permissions: Permissions | None = None
    shows_history: Flag | None = None
    is_public: Flag | None = None
    asks_to_join: Flag | None = None
    is_channel: Flag | None = Field(None, description="True makes the group a channel; false is refused")
    avatar: Avatar | None = None
    without_previews: Flag | None = Field(None, description="Whether links in messages get no previews")


class NewMembers(Input):
    """The users to add to a group."""

    client_change_id: ClientChangeId
    expected_version: ExpectedVersion = 0
    user_ids: Annotated[Others, Field(min_length=1)]
    role: NewRole = "ROLE_MEMBER"


class MemberChange(Input):
    """A change of a member. Omitted fields stay. `ROLE_OWNER` hands the group over. `allow` and `deny` are the
    permissions that only this member has or lacks."""

    client_change_id: ClientChangeId
    expected_version: ExpectedVersion = 0
    role: AnyRole | None = None
    allow: Permissions | None = None
    deny: Permissions | None = None


class RemovalQuery(Input):
    """The removal of a member, a request to join or an invite link. The removal of oneself leaves the group, or
    withdraws one's own request."""

    client_change_id: ClientChangeId
    expected_version: ExpectedVersion = 0


class NewInvite(Input):
    """An invite link to a group."""

    client_change_id: ClientChangeId
    expires_in_seconds: Annotated[
        int,
        Field(ge=0, le=MAX_INVITE_MS // 1000, description="Seconds until the link ends; 0 for never"),
        BeforeValidator(digits),
    ] = 7 * 24 * 3600
    max_uses: Annotated[
        int,
        Field(ge=0, le=MAX_USES, description="How many users may join by the link; 0 for any number"),
        BeforeValidator(digits),
    ] = 0


class JoiningUser(Input):
    """The user joins a group, or asks to join it."""

    client_change_id: ClientChangeId


class PublicChatsQuery(Input):
    """A search of public groups by their names; all of them without `query`."""

    query: Annotated[
        str,
        StringConstraints(max_length=MAX_QUERY),
        AfterValidator(one_line),
        ONE_LINE,
        Field(description="As `name_contains` of profiles"),
    ] = ""
    limit: Limit | None = None
    after: Annotated[
        str, StringConstraints(max_length=MAX_PUBLIC_CURSOR), Field(description="The `after` of the previous page")
    ] = ""


class MembersQuery(Input):
    """A page of members, by rising user id; or the members among `user_ids`, all on one page."""

    after: Digits = Field(0, description="Only members with a higher user id")
    limit: Annotated[int, Field(ge=1, le=MAX_MEMBERS, description="Members on a page"), BeforeValidator(digits)] = 100
    user_ids: UserIds | None = None


class MemberSearch(Input):
    """A search of members by their names."""

    name_contains: SearchPart
    limit: Limit | None = None
    cursor: Annotated[Cursor, Field(description="The `next_cursor` of the previous page")] = ""


class MarksQuery(Input):
    """The members whose marks are at a message or above it: they have read or received it."""

    from_id: Digits = Field(0, description="The id of the message; 0 for the marks of all members")


class GroupInvite(BaseModel):
    """An invite link. Times are milliseconds since 1970; 0 for never. `max_uses` is 0 for any number. `is_usable`:
    whether users join by it now."""

    invite_id: str
    creator_id: str
    expires_at_ms: str
    max_uses: int
    uses: int
    is_revoked: bool
    is_usable: bool

    @classmethod
    def of(cls, invite: Invite, *, is_usable: bool) -> "GroupInvite":
        return cls(
            invite_id=str(invite.invite_id),
            creator_id=str(invite.creator_id),
            expires_at_ms=str(invite.expires_at_ms),
            max_uses=invite.max_uses,
            uses=invite.uses,
            is_revoked=invite.is_revoked,
            is_usable=is_usable,
        )


class NewGroupInvite(BaseModel):
    """A new invite link and its token, which no other response has."""

    invite: GroupInvite
    token: str


class GroupInvites(BaseModel):
    """The invite links of a group, the oldest first, and the version of the group."""

    invites: list[GroupInvite]
    version: str


class JoinRequest(BaseModel):
    """The user and the time of a request to join."""

    user_id: str
    asked_at_ms: str


class JoinRequests(BaseModel):
    """The requests to join a group, oldest first, and the version of the group."""

    requests: list[JoinRequest]
    version: str


class JoinableChat(BaseModel):
    """A group or channel that the user may join, as they see it before. `members` is their number."""

    chat_id: str
    name: str
    topic: str
    members: int
    is_member: bool
    asks_to_join: bool
    has_asked: bool
    is_channel: bool
    avatar: str

    @classmethod
    def of(cls, chat_id: str, settings: GroupSettings, members: int, own: Member) -> "JoinableChat":
        """`own` is the user in the group; empty if they are not in it."""
        return cls(
            chat_id=chat_id,
            name=settings.name,
            topic=settings.topic,
            members=members,
            is_member=own.role != ROLE_UNSPECIFIED,
            asks_to_join=settings.asks_to_join or own.was_removed,
            has_asked=own.asked_at_ms > 0,
            is_channel=settings.is_channel,
            avatar=settings.avatar,
        )


class PublicChats(BaseModel):
    """A page of public groups, by name. `after` is the parameter for the next page."""

    chats: list[JoinableChat]
    has_more: bool
    after: str
