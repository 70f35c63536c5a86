"""What the BFF keeps of users: accounts, what each may do, sign-ins and the keys that sign their tokens.

A sign-in makes a family: a chain of refresh tokens of which one is current, each replaced by the next. A token that was
replaced and comes back means that it was stolen, and ends its family.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from shared.accounts.audit import AuditStore


@dataclass(frozen=True, slots=True)
class User:
    """An account. `version` rises by one with each change of the profile; `about` is a line of text, or empty."""

    user_id: int
    name: str
    display_name: str
    about: str
    version: int
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """What an account may do. An admin is never suspended, and who is suspended is never made an admin."""

    is_admin: bool = False
    suspended_at_ms: int | None = None
    """Since when the user is let in no more; None for one who is."""
    suspended_reason: str = ""

    @property
    def is_suspended(self) -> bool:
        return self.suspended_at_ms is not None


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a sign-in is checked against."""

    user_id: int
    password_hash: str


@dataclass(frozen=True, slots=True)
class Family:
    """One sign-in, from POST /v1/tokens until it is signed out, revoked or expired."""

    family_id: str
    user_id: int
    device_name: str
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key as JSON (an OKP JWK with Ed25519), named by `key_id`. The newest one signs; all verify."""

    key_id: str
    jwk: str
    created_at_ms: int


class Rotation(Enum):
    """Why a refresh token gives no new one."""

    UNKNOWN = auto()
    EXPIRED = auto()
    REUSED = auto()
    """It was replaced before: its family has been ended now."""


class AccountStore(AuditStore, Protocol):
    """Every method raises Unavailable if the engine does not answer. Tokens are stored as SHA-256 digests only."""

    async def add_user(self, user: User, password_hash: str) -> bool:
        """Take the name and make the account. False if the name is taken; names differ by more than case.

        The same user again, after an answer that never came, may be True or False.
        """
        ...

    async def users(self, user_ids: Sequence[int]) -> Sequence[User]:
        """The accounts that exist of these, in the order asked; at most 100 are asked for."""
        ...

    async def find_users(self, part: str, *, after_name: str, limit: int) -> Sequence[User]:
        """Accounts whose name or display name has the part (3 characters or more, case ignored), by name."""
        ...

    async def credentials(self, name: str) -> Credentials | None: ...

    async def password_hash(self, user_id: int) -> str | None: ...

    async def set_password(self, user_id: int, password_hash: str) -> None: ...

    async def update_profile(self, user_id: int, *, display_name: str, about: str, version: int) -> User | None:
        """Change the profile if it is still at `version`; None if it is not."""
        ...

    async def account_statuses(self, user_ids: Sequence[int]) -> Mapping[int, AccountStatus]:
        """What each of these may do, who may not exist; at most 100 are asked for."""
        ...

    async def make_admin(self, user_id: int) -> bool:
        """False, with nothing changed, for a user who is suspended."""
        ...

    async def revoke_admin(self, user_id: int) -> None: ...

    async def suspend(self, user_id: int, reason: str, at_ms: int) -> bool:
        """False, with nothing changed, for an admin. Who is suspended already is so for this reason from now on."""
        ...

    async def restore(self, user_id: int) -> None:
        """Take a suspension back."""
        ...

    async def start_family(self, family: Family, token_digest: bytes, expires_at_ms: int) -> None:
        """A sign-in with its first refresh token."""
        ...

    async def rotate(
        self, old_digest: bytes, new_digest: bytes, *, now_ms: int, expires_at_ms: int
    ) -> Family | Rotation:
        """Replace the current token of a family by the next, in one step. A reuse ends the family in that step."""
        ...

    async def family_of(self, token_digest: bytes) -> Family | None:
        """The family that a refresh token is or was of, while that lives."""
        ...

    async def end_family(self, family_id: str) -> None: ...

    async def end_families(self, user_id: int, *, except_family_id: str = "") -> Sequence[str]:
        """End all of a user's sign-ins but perhaps one; the ids of those that ended."""
        ...

    async def families(self, user_id: int, *, now_ms: int, limit: int) -> Sequence[Family]:
        """The user's sign-ins that have not ended or expired, the newest first; of more than `limit`, some."""
        ...

    async def is_live(self, family_id: str) -> bool:
        """Whether the sign-in has not ended."""
        ...

    async def sign_in_status(self, family_id: str, user_id: int) -> AccountStatus | None:
        """What the user of a sign-in may do now; None if the sign-in has ended."""
        ...

    async def signing_keys(self) -> Sequence[SigningKey]:
        """All, newest first."""
        ...

    async def add_signing_key(self, key: SigningKey, *, if_none: bool = False) -> None:
        """Keep a key. With `if_none`, only if there is none yet: of several processes at once, one succeeds."""
        ...

    async def remove_signing_key(self, key_id: str) -> None:
        """Forget a key, if it is there."""
        ...
