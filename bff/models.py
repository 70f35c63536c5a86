"""Bodies and queries of the HTTP API, with their limits. Ids and times are strings of digits in JSON."""

import unicodedata
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from rookery.v1.groups_pb2 import ROLE_UNSPECIFIED, GroupSettings, Invite, Member
from shared.accounts import store as accounts
from shared.accounts.people import MAX_REPORTED_MESSAGES, Relationship, WhoMayStart
from shared.contract.changes import LISTED, VERSIONED
from shared.contract.chats import MAX_CLIENT_ID
from shared.contract.groups import (
    ALL_PERMISSIONS,
    MAX_CHANNEL_MEMBERS,
    MAX_INVITE_MS,
    MAX_MEMBERS,
    MAX_NAME_BYTES,
    MAX_TOPIC_BYTES,
    MAX_USES,
    Permission,
)
from shared.contract.ids import MAX_ID

DELETED_ACCOUNT = "Deleted account"
"""The display name of a deleted account, for clients that do not translate it."""

MAX_PROFILES = 100
"""User ids in one query."""

MAX_SIGN_INS = 100
"""Sign-ins in the list of an account."""

MAX_PUBLIC_CURSOR = 1_024
"""Characters of a cursor of public groups, which has a name."""

MAX_ADDRESS = 300
"""Characters of a gateway's address."""


_INVISIBLE = frozenset(("Cc", "Cf", "Cs", "Zl", "Zp", "Zs"))
"""Categories of characters that show nothing. An unassigned one may be an emoji that is newer than this Python."""

NAME_PATTERN = "^[A-Za-z0-9._-]+$"

PATTERNS = {NAME_PATTERN: "only letters from a to z, digits, dots, underscores and hyphens"}
"""The form that a pattern requires, in words."""

ONE_LINE_PATTERN = "^[^\\u0000-\\u001f\\u007f-\\u009f]*$"

ONE_LINE = Field(json_schema_extra={"pattern": ONE_LINE_PATTERN})
"""`one_line` in the JSON Schema."""


def digits(value: Any) -> Any:
    """Accept whole numbers as digits only: no sign, spaces or fraction; at most 19 digits. Not `false` as 0."""
    if isinstance(value, bool):
        raise PydanticCustomError("int_type", "Must be a whole number")
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 19):
        raise PydanticCustomError("int_parsing", "Must be a whole number of 1 to 19 digits")
    return value


def whole(value: Any) -> Any:
    """Accept 7.0 as 7: JSON does not tell them apart."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def one_line(text: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise PydanticCustomError("control_characters", "Must not have line breaks or other control characters")
    return text


def visible(text: str) -> str:
    if all(unicodedata.category(character) in _INVISIBLE for character in text):
        raise PydanticCustomError("blank", "Must not be only white space")
    return text


def _one_of(names: Sequence[str]) -> tuple[AfterValidator, Any]:
    """The validation and the schema of a text that is one of the names."""

    def check(text: str) -> str:
        if text not in names:
            raise PydanticCustomError("enum", "Must be one of: {names}", {"names": ", ".join(names)})
        return text

    return AfterValidator(check), Field(json_schema_extra={"enum": [*names]})


def utf8_bytes(least: int, most: int) -> tuple[AfterValidator, Any]:
    """The validation and the schema of a text of this many bytes in UTF-8, which has at most as many characters."""

    def check(text: str) -> str:
        if not least <= len(text.encode()) <= most:
            message = "Must have {least} to {most} bytes" if least else "Must have at most {most} bytes"
            raise PydanticCustomError("bytes", message, {"least": least, "most": most})
        return text

    return AfterValidator(check), Field(json_schema_extra={"minLength": least, "maxLength": most})


def _split(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


# The bounds come before the validators, so that the JSON Schema has them as `minimum` and `maximum`.
Digits = Annotated[int, Field(ge=0, le=MAX_ID), BeforeValidator(digits)]
UserId = Annotated[int, Field(ge=1, le=MAX_ID), BeforeValidator(digits)]
UserIds = Annotated[
    tuple[UserId, ...],
    BeforeValidator(_split),
    Field(min_length=1, max_length=MAX_PROFILES, description="User ids, separated by commas"),
]
Limit = Annotated[int, Field(ge=1, le=100, description="Entries on a page"), BeforeValidator(digits)]
ReportsLimit = Annotated[int, Field(ge=1, le=20, description="Reports on a page"), BeforeValidator(digits)]
Cursor = Annotated[str, StringConstraints(max_length=256)]
Name = Annotated[
    str,
    StringConstraints(min_length=3, max_length=32, pattern=NAME_PATTERN, to_lower=True),
    Field(description="3 to 32 of a-z, 0-9, dot, underscore and hyphen; stored in lower case"),
]
NewPassword = Annotated[str, StringConstraints(min_length=10, max_length=128), Field(repr=False)]
Password = Annotated[str, StringConstraints(min_length=1, max_length=128), Field(repr=False)]
DeviceToken = Annotated[str, StringConstraints(max_length=2_048), Field(repr=False)]
LinkToken = Annotated[str, StringConstraints(max_length=128), Field(repr=False)]
RefreshToken = Annotated[str, StringConstraints(min_length=1, max_length=128), Field(repr=False)]
DisplayName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, strip_whitespace=True),
    AfterValidator(one_line),
    AfterValidator(visible),
    ONE_LINE,
]
About = Annotated[str, StringConstraints(max_length=200), AfterValidator(one_line), ONE_LINE]
Avatar = Annotated[
    str,
    StringConstraints(max_length=64),
    Field(description="The token of a picture, uploaded for this profile or group; empty to have none"),
]
SearchPart = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64),
    AfterValidator(one_line),
    ONE_LINE,
    Field(
        description="Words in any order, each a part of the name or display name; one of 1 or 2 characters is the "
        "beginning of a word. Case and an `@` in front of a word do not matter"
    ),
]
ListedKind = Annotated[str, *_one_of(LISTED)]
VersionedKind = Annotated[str, *_one_of(VERSIONED)]
StartedBy = Annotated[str, *_one_of([str(each) for each in WhoMayStart])]
DeviceName = Annotated[str, StringConstraints(max_length=64), AfterValidator(one_line), ONE_LINE]


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
NewRole = Annotated[str, *_one_of(("ROLE_GUEST", "ROLE_MEMBER"))]
AnyRole = Annotated[str, *_one_of(("ROLE_GUEST", "ROLE_MEMBER", "ROLE_ADMIN", "ROLE_OWNER"))]


class Input(BaseModel):
    """A body or query from a client. Unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Registration(Input):
    """A new account. `invite` is the token of an invite's link; it is needed if sign-up is not open."""

    name: Name
    password: NewPassword
    display_name: DisplayName | None = Field(None, description="Defaults to the name")
    invite: LinkToken = ""


class SignIn(Input):
    """A sign-in with a password."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64, to_lower=True)]
    password: Password
    device_name: DeviceName = ""
    device_token: DeviceToken = ""


class Refresh(Input):
    """A refresh token. It is valid once, and for a retry within 30 seconds: store the one in the response."""

    refresh_token: RefreshToken


class ProfileChange(Input):
    """A change of the profile. Omitted fields stay. `version` is the profile version that the change is based on."""

    display_name: DisplayName | None = None
    about: About | None = None
    who_may_start: StartedBy | None = Field(
        None, description="Who may send the user the first message of a direct chat; at first `everyone`"
    )
    shows_presence: Annotated[bool, Field(strict=True)] | None = Field(
        None, description="Whether others see that the user is online, and the user that others are; at first true"
    )
    shows_read_marks: Annotated[bool, Field(strict=True)] | None = Field(
        None, description="Whether others see how far the user has read, and the user how far others; at first true"
    )
    avatar: Avatar | None = None
    version: Annotated[int, BeforeValidator(whole)] = Field(strict=True, ge=1, le=2**31 - 1)


class NewReport(Input):
    """A report of a user, perhaps with messages of one chat. Line breaks are allowed in the reason."""

    user_id: UserId
    chat_id: Annotated[str, StringConstraints(max_length=64)] = ""
    message_ids: Annotated[tuple[UserId, ...], Field(max_length=MAX_REPORTED_MESSAGES)] = ()
    reason: Annotated[
        str, StringConstraints(min_length=1, max_length=1_000, strip_whitespace=True), AfterValidator(visible)
    ]


class PasswordChange(Input):
    """The current and the new password."""

    current_password: Password
    new_password: NewPassword


class Confirmation(Input):
    """The current password, as the confirmation of an act that can't be undone."""

    current_password: Password


class NewPasswordByLink(Input):
    """The token of a password reset's link, and the new password."""

    token: LinkToken
    password: NewPassword


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


class GatewayQuery(Input):
    """The gateway of the user; `unreachable` is the address that did not answer, if one did not."""

    unreachable: str = Field(
        "",
        max_length=MAX_ADDRESS,
        description="The last address, if no gateway answered there: the response waits for another one",
    )


class ChatsQuery(Input):
    """A page of the list of chats."""

    changed_since_ms: Digits = Field(0, description="Only chats changed at or after this time, milliseconds since 1970")
    limit: Limit | None = None
    cursor: Cursor = ""


class MessagesQuery(Input):
    """A page of the history at one anchor, a message id or a time (milliseconds since 1970); by default the newest."""

    before_id: Digits | None = None
    after_id: Digits | None = None
    around_id: Digits | None = None
    before_ms: Digits | None = None
    after_ms: Digits | None = None
    around_ms: Digits | None = None
    limit: Limit | None = None
    having: ListedKind | None = Field(
        None, description="Only messages with this change. Not with an anchor other than `before_id`"
    )


class ChangesQuery(Input):
    """The events of a chat after an id, the `complete_up_to` of an earlier response about this chat."""

    after: Digits


class VersionsQuery(Input):
    """The former and the current changes of one kind and message."""

    kind: VersionedKind


class NewGroup(Input):
    """A group with these users beside its owner, the user who creates it."""

    client_change_id: ClientChangeId
    name: GroupName
    topic: Topic = ""
    user_ids: Others = ()
    permissions: NewPermissions | None = None
    shows_history: bool = Field(False, description="Whether members may read messages from before they joined")
    is_public: bool = Field(False, description="Whether every user may find the group and join it")
    asks_to_join: bool = Field(False, description="Whether users who join become members only when they are added")
    is_channel: bool = Field(
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
    shows_history: bool | None = None
    is_public: bool | None = None
    asks_to_join: bool | None = None
    is_channel: bool | None = Field(None, description="True makes the group a channel; false is refused")
    avatar: Avatar | None = None
    without_previews: bool | None = Field(None, description="Whether links in messages get no previews")


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
    """The removal of a member, a request to join or an invite link. The removal of oneself leaves the group, or takes
    the own request back."""

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
        StringConstraints(max_length=64),
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
    """The members who have read or received a message, or a later one."""

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
            asks_to_join=settings.asks_to_join,
            has_asked=own.asked_at_ms > 0,
            is_channel=settings.is_channel,
            avatar=settings.avatar,
        )


class PublicChats(BaseModel):
    """A page of public groups, by name. `after` is the parameter for the next page."""

    chats: list[JoinableChat]
    has_more: bool
    after: str


class User(BaseModel):
    """An account, as its owner sees it."""

    user_id: str
    name: str
    display_name: str
    about: str
    avatar: str
    version: int
    created_at_ms: str
    is_admin: bool
    who_may_start: str
    shows_presence: bool
    shows_read_marks: bool

    @classmethod
    def of(cls, user: accounts.User, *, is_admin: bool = False) -> "User":
        return cls(
            user_id=str(user.user_id),
            name=user.name,
            display_name=user.display_name,
            about=user.about,
            avatar=user.avatar,
            version=user.version,
            created_at_ms=str(user.created_at_ms),
            is_admin=is_admin,
            who_may_start=user.who_may_start,
            shows_presence=user.shows_presence,
            shows_read_marks=user.shows_read_marks,
        )


class Tokens(BaseModel):
    """Tokens of a sign-in. The access token goes into `Authorization: Bearer` and into `Authenticate` of a session."""

    access_token: str
    access_token_expires_at_ms: str
    refresh_token: str
    token_type: str = "Bearer"  # noqa: S105 - no secret: the token type of RFC 6750
    user: User


class SignedIn(Tokens):
    """Tokens of a new sign-in, and the token of its device: send it with the next sign-in to this account, which failed
    sign-ins of others then do not delay."""

    device_token: str


class SignInDetails(BaseModel):
    """A sign-in of the user. `last_seen_at_ms` is the time of its last refresh, or of its start: a client that is in
    use refreshes before each access token expires. `is_current` marks the sign-in of this request."""

    sign_in_id: str
    device_name: str
    created_at_ms: str
    last_seen_at_ms: str
    is_current: bool

    @classmethod
    def of(cls, family: accounts.Family, *, current_id: str) -> "SignInDetails":
        return cls(
            sign_in_id=family.family_id,
            device_name=family.device_name,
            created_at_ms=str(family.created_at_ms),
            last_seen_at_ms=str(family.last_seen_at_ms),
            is_current=family.family_id == current_id,
        )


class OwnSignIns(BaseModel):
    """The user's sign-ins, the newest first; 100 at most."""

    sign_ins: list[SignInDetails]


class GatewayLocation(BaseModel):
    """The gateway of a user: a URL for WebSocket; for gRPC `host:port`, or `grpcs://host:port` with TLS."""

    websocket: str
    grpc: str


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
