"""The bodies and queries of the HTTP API, and what they may hold. Ids and times are strings of digits in JSON."""

import unicodedata
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from shared.accounts import store as accounts
from shared.contract.ids import MAX_ID

MAX_PROFILES = 100
"""Profiles that may be asked for at once."""


def _digits(value: Any) -> Any:
    """Whole numbers are digits, without sign, spaces or fraction; at most 19 of them."""
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 19):
        raise PydanticCustomError("int_parsing", "Must be a whole number of 1 to 19 digits")
    return value


def one_line(text: str) -> str:
    if any(unicodedata.category(character) == "Cc" for character in text):
        raise PydanticCustomError("control_characters", "Must not have line breaks or other control characters")
    return text


def visible(text: str) -> str:
    if all(unicodedata.category(character)[0] in "CZ" for character in text):
        raise PydanticCustomError("blank", "Must not be only white space")
    return text


def _split(value: Any) -> Any:
    return value.split(",") if isinstance(value, str) else value


Digits = Annotated[int, BeforeValidator(_digits), Field(ge=0, le=MAX_ID)]
UserId = Annotated[int, BeforeValidator(_digits), Field(ge=1, le=MAX_ID)]
Limit = Annotated[int, BeforeValidator(_digits), Field(ge=1, le=100, description="Entries on a page")]
Cursor = Annotated[str, StringConstraints(max_length=256)]
Name = Annotated[
    str,
    StringConstraints(min_length=3, max_length=32, pattern="^[A-Za-z0-9._-]+$", to_lower=True),
    Field(description="3 to 32 of a-z, 0-9, dot, underscore and hyphen; capitals are made small"),
]
NewPassword = Annotated[str, StringConstraints(min_length=10, max_length=128), Field(repr=False)]
Password = Annotated[str, StringConstraints(min_length=1, max_length=128), Field(repr=False)]
RefreshToken = Annotated[str, StringConstraints(min_length=1, max_length=128), Field(repr=False)]
DisplayName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=64, strip_whitespace=True),
    AfterValidator(one_line),
    AfterValidator(visible),
]
About = Annotated[str, StringConstraints(max_length=200), AfterValidator(one_line)]
SearchPart = Annotated[str, StringConstraints(min_length=3, max_length=64), AfterValidator(one_line)]
DeviceName = Annotated[str, StringConstraints(max_length=64), AfterValidator(one_line)]


class Input(BaseModel):
    """What a client sends: a field that we do not know is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class Registration(Input):
    """A new account."""

    name: Name
    password: NewPassword
    display_name: DisplayName | None = Field(None, description="The name, if left out")


class SignIn(Input):
    """A sign-in with a password."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64, to_lower=True)]
    password: Password
    device_name: DeviceName = ""


class Refresh(Input):
    """A refresh token, which is used once: keep the one that comes back."""

    refresh_token: RefreshToken


class ProfileChange(Input):
    """What to change; what is left out stays. `version` is the one that the change was made on."""

    display_name: DisplayName | None = None
    about: About | None = None
    version: int = Field(strict=True, ge=1, le=2**31 - 1)


class PasswordChange(Input):
    """The password that holds and the one that shall."""

    current_password: Password
    new_password: NewPassword


class ProfilesQuery(Input):
    """Either `user_ids` or `name_contains`."""

    user_ids: Annotated[
        tuple[UserId, ...] | None,
        BeforeValidator(_split),
        Field(min_length=1, max_length=MAX_PROFILES, description="User ids, with commas between"),
    ] = None
    name_contains: Annotated[
        SearchPart | None,
        Field(description="A part of the name or display name, 3 characters or more; case does not matter"),
    ] = None
    limit: Limit | None = None
    cursor: Cursor = ""


class ChatsQuery(Input):
    """Which chats."""

    changed_since_ms: Digits = Field(0, description="Only chats changed at or after this, milliseconds since 1970")
    limit: Limit | None = None
    cursor: Cursor = ""


class MessagesQuery(Input):
    """Where in the history, by message or by time (milliseconds since 1970); without any, its newest page."""

    before_id: Digits | None = None
    after_id: Digits | None = None
    around_id: Digits | None = None
    before_ms: Digits | None = None
    after_ms: Digits | None = None
    around_ms: Digits | None = None
    limit: Limit | None = None


class User(BaseModel):
    """An account, as its owner sees it."""

    user_id: str
    name: str
    display_name: str
    about: str
    version: int
    created_at_ms: str
    is_admin: bool

    @classmethod
    def of(cls, user: accounts.User, *, is_admin: bool = False) -> "User":
        return cls(
            user_id=str(user.user_id),
            name=user.name,
            display_name=user.display_name,
            about=user.about,
            version=user.version,
            created_at_ms=str(user.created_at_ms),
            is_admin=is_admin,
        )


class Tokens(BaseModel):
    """A sign-in. The access token goes into `Authorization: Bearer` and into `Authenticate` of a session."""

    access_token: str
    access_token_expires_at_ms: str
    refresh_token: str
    token_type: str = "Bearer"  # noqa: S105 - no secret, but RFC 6750's word
    user: User


class GatewayLocation(BaseModel):
    """Where the user's sessions go: a URL for WebSocket; for gRPC `host:port`, or `grpcs://host:port` with TLS."""

    websocket: str
    grpc: str


class Profile(BaseModel):
    """A user, as everyone sees them."""

    user_id: str
    name: str
    display_name: str
    about: str

    @classmethod
    def of(cls, user: accounts.User) -> "Profile":
        return cls(user_id=str(user.user_id), name=user.name, display_name=user.display_name, about=user.about)


class Profiles(BaseModel):
    """Some profiles. `next_cursor` gives the next page, and is empty on the last."""

    profiles: list[Profile]
    next_cursor: str = ""
