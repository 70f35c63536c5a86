"""Bodies and queries about the own account, its sign-ins and its gateway."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints

from bff.models.fields import ONE_LINE, Avatar, DisplayName, Flag, Input, LinkToken, Name, one_line, one_of, whole
from bff.models.people import Profile
from shared.accounts import store as accounts
from shared.accounts.people import WhoMayStart

MAX_SIGN_INS = 100
"""Sign-ins in the list of an account."""

MAX_ADDRESS = 300
"""Characters of a gateway's address."""

NewPassword = Annotated[str, StringConstraints(min_length=10, max_length=128), Field(repr=False)]
Password = Annotated[str, StringConstraints(min_length=1, max_length=128), Field(repr=False)]
DeviceToken = Annotated[str, StringConstraints(max_length=2_048), Field(repr=False)]
RefreshToken = Annotated[str, StringConstraints(min_length=1, max_length=128), Field(repr=False)]
StartedBy = Annotated[str, *one_of([str(each) for each in WhoMayStart])]
DeviceName = Annotated[str, StringConstraints(max_length=64), AfterValidator(one_line), ONE_LINE]
About = Annotated[str, StringConstraints(max_length=200), AfterValidator(one_line), ONE_LINE]


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
    shows_presence: Flag | None = Field(
        None, description="Whether others see that the user is online, and the user that others are; at first true"
    )
    shows_read_marks: Flag | None = Field(
        None, description="Whether others see how far the user has read, and the user how far others; at first true"
    )
    avatar: Avatar | None = None
    version: Annotated[int, BeforeValidator(whole)] = Field(strict=True, ge=1, le=2**31 - 1)


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


class GatewayQuery(Input):
    """The gateway of the user; `unreachable` is the address that did not answer, if one did not."""

    unreachable: str = Field(
        "",
        max_length=MAX_ADDRESS,
        description="The last address, if no gateway answered there: the response waits for another one",
    )


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


class PasswordReset(Profile):
    """The profile of the user whose password was set by a link, and the token of the device, as at a sign-in."""

    device_token: str


class ChangedPassword(BaseModel):
    """The token of the device, in place of the one of its sign-in, which ends with the former password."""

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
