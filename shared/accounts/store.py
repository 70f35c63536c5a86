"""The account store: users, their status, sign-ins, links, and the keys that sign access tokens.

A sign-in is a family: a chain of refresh tokens, of which one is current and each is replaced by the next. The use of a
replaced token means that it was stolen, and ends the family, except shortly after its replacement (`may_repeat`).
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from shared.accounts.audit import AuditStore
from shared.accounts.links import LinkStore
from shared.accounts.people import PeopleStore, WhoMayStart
from shared.contract.errors import Unavailable

REUSE_GRACE_MS = 30_000
"""How long the newest replaced token may be used again: a client whose response was lost retries after its timeout of
10 s, and tabs without a common lock refresh at the same moment."""

MAX_IDS = 100
"""Users in one read or write of the store."""


def batches(user_ids: Iterable[int]) -> Iterator[tuple[int, ...]]:
    """Split the ids into parts of MAX_IDS at most."""
    remaining = iter(user_ids)
    return iter(lambda: tuple(itertools.islice(remaining, MAX_IDS)), ())


@dataclass(frozen=True, slots=True)
class User:
    """An account. `version` increases by one with each change of the profile; `about` is a line of text, or empty.

    A deleted account keeps its id and its name, so that neither is used again; the rest of its profile is empty.
    """

    user_id: int
    name: str
    display_name: str
    about: str
    version: int
    created_at_ms: int
    is_deleted: bool = False
    who_may_start: WhoMayStart = WhoMayStart.EVERYONE
    shows_presence: bool = True
    """Whether others see when the user is online, and the user sees when others are."""
    shows_read_marks: bool = True
    """Whether others see how far the user has read, and the user sees how far others have."""
    avatar: str = ""
    """The token of the user's picture; empty without one."""

    @classmethod
    def new(cls, user_id: int, name: str, display_name: str | None, created_at_ms: int) -> "User":
        """A new account. The display name defaults to the name."""
        return cls(user_id, name, display_name or name, about="", version=1, created_at_ms=created_at_ms)


@dataclass(frozen=True, slots=True)
class AccountStatus:
    """Whether an account is an admin, or suspended; it is never both."""

    is_admin: bool = False
    suspended_at_ms: int | None = None
    """Time of the suspension; None without one."""
    suspended_reason: str = ""

    @property
    def is_suspended(self) -> bool:
        return self.suspended_at_ms is not None


@dataclass(frozen=True, slots=True)
class Credentials:
    """The id and password hash that a sign-in is checked against."""

    user_id: int
    password_hash: str


@dataclass(frozen=True, slots=True)
class Family:
    """One sign-in, from POST /v1/tokens until it is signed out, revoked or expired."""

    family_id: str
    user_id: int
    device_name: str
    created_at_ms: int
    refreshed_at_ms: int = field(default=0, compare=False)
    """Time of the last refresh; 0 before the first. It does not count in comparisons."""

    @property
    def last_seen_at_ms(self) -> int:
        """Time of the last refresh, or of the start: a client in use refreshes before its access token expires."""
        return max(self.created_at_ms, self.refreshed_at_ms)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key as JSON (an OKP JWK with Ed25519), named by `key_id`. The newest one signs; all verify."""

    key_id: str
    jwk: str
    created_at_ms: int


class Rotation(Enum):
    """Reasons to reject a refresh token."""

    UNKNOWN = auto()
    EXPIRED = auto()
    REUSED = auto()
    """It had been replaced: this attempt has ended its family."""


class UnconfirmedEnd(Unavailable):
    """A replaced refresh token was used, and the store has not confirmed the end of its family, which may end later."""

    def __init__(self, family: Family) -> None:
        super().__init__("the end of a sign-in whose token was reused is not confirmed")
        self.family = family


class AccountStore(AuditStore, LinkStore, PeopleStore, Protocol):
    """Every method raises Unavailable if the engine does not answer. Tokens are stored as SHA-256 digests."""

    async def add_user(self, user: User, password_hash: str) -> bool:
        """Create the account. False if the name is taken, in any case of its letters.

        A retry with the same user, after a lost answer, may return True or False.
        """
        ...

    async def users(self, user_ids: Sequence[int]) -> Sequence[User]:
        """Return the accounts with these ids, in the same order, without missing ones. At most MAX_IDS."""
        ...

    async def find_users(self, query: str, *, after_name: str, limit: int) -> Sequence[User]:
        """Return accounts that the query finds by `shared.accounts.names`, by name; none if it has no word.
        Deleted accounts are left out."""
        ...

    async def list_users(self, *, after_id: int, limit: int) -> Sequence[User]:
        """Return the accounts with ids below this one (0: all), deleted ones too, the newest first."""
        ...

    async def delete_user(self, user_id: int) -> None:
        """Clear the profile and the password, and leave the user out of searches. It can't be undone; repeating it
        changes nothing. Suspend the user first: this ends no sign-in."""
        ...

    async def user_id_of(self, name: str) -> int | None:
        """Return the id of the account with this name, also of a deleted one; None if the name is not taken."""
        ...

    async def credentials(self, name: str) -> Credentials | None:
        """Return the credentials of this name; None if no user has it, or the account is deleted."""
        ...

    async def password_hash(self, user_id: int) -> str | None: ...

    async def set_password(self, user_id: int, password_hash: str, *, former: str | None = None) -> bool:
        """Replace the password. False if the account is deleted, or if its password hash is not `former`."""
        ...

    async def update_profile(
        self,
        user_id: int,
        *,
        display_name: str,
        about: str,
        version: int,
        who_may_start: WhoMayStart | None = None,
        shows_presence: bool | None = None,
        shows_read_marks: bool | None = None,
        avatar: str | None = None,
    ) -> User | None:
        """Change the profile if it is still at `version`, and return it; else None. A setting that is None stays."""
        ...

    async def note_last_seen(self, seen: Mapping[int, int]) -> None:
        """Store when the last session of each of these users ended, in milliseconds since 1970, unless a later time is
        stored. At most MAX_IDS users. It changes nothing for a deleted account."""
        ...

    async def last_seen(self, user_ids: Sequence[int]) -> Mapping[int, int]:
        """Return this time of each of these users that has one. At most MAX_IDS."""
        ...

    async def account_statuses(self, user_ids: Sequence[int]) -> Mapping[int, AccountStatus]:
        """Return the status of each of these users, existing or not. At most MAX_IDS."""
        ...

    async def make_admin(self, user_id: int) -> bool:
        """Make the user an admin. False, without a change, for a suspended user."""
        ...

    async def revoke_admin(self, user_id: int) -> None: ...

    async def suspend(self, user_id: int, reason: str, at_ms: int) -> bool:
        """Suspend the user, or replace the reason of the suspension. False, without a change, for an admin."""
        ...

    async def restore(self, user_id: int) -> None:
        """End the suspension."""
        ...

    async def start_family(self, family: Family, token_digest: bytes, expires_at_ms: int) -> None:
        """Start a sign-in with its first refresh token."""
        ...

    async def rotate(
        self, old_digest: bytes, new_digest: bytes, *, now_ms: int, expires_at_ms: int
    ) -> Family | Rotation:
        """Replace the current token of a family by the next, atomically. A reuse ends the family atomically; raises
        UnconfirmedEnd if that is not known.

        A repeat with the same two digests returns the family again, if `may_repeat` and the new one is current.
        """
        ...

    async def family_of(self, token_digest: bytes) -> Family | None:
        """Return the live family of a current or replaced refresh token."""
        ...

    async def end_family(self, family_id: str) -> None: ...

    async def end_families(self, user_id: int, *, except_family_id: str = "") -> Sequence[str]:
        """End all of a user's sign-ins, except one if it is given, and return the ids of the ended ones."""
        ...

    async def families(self, user_id: int, *, now_ms: int, limit: int) -> Sequence[Family]:
        """Return the user's live sign-ins, the newest first; any `limit` of them if there are more."""
        ...

    async def is_live(self, family_id: str) -> bool:
        """Whether the sign-in has not ended."""
        ...

    async def sign_in_status(self, family_id: str, user_id: int) -> AccountStatus | None:
        """Return the status of a sign-in's user; None if the sign-in has ended, or is another user's."""
        ...

    async def signing_keys(self) -> Sequence[SigningKey]:
        """Return all signing keys, the newest first."""
        ...

    async def add_signing_key(self, key: SigningKey, *, if_none: bool = False) -> None:
        """Store a key. With `if_none`, only if there is none yet: of several processes at once, one succeeds."""
        ...

    async def remove_signing_key(self, key_id: str) -> None:
        """Remove a key, if it exists."""
        ...


async def deleted_users(accounts: AccountStore, user_ids: Iterable[int]) -> set[int]:
    """Return the users whose accounts are deleted. Raises Unavailable."""
    users = [user for batch in batches(user_ids) for user in await accounts.users(batch)]
    return {user.user_id for user in users if user.is_deleted}


def may_repeat(replaced_expires_at_ms: int, expires_at_ms: int) -> bool:
    """Whether a replacement may be repeated: the expiry that it set and the one of the repeat differ as their times do.

    They also differ if the configured life of tokens was changed in between; then a repeat is a reuse.
    """
    return abs(expires_at_ms - replaced_expires_at_ms) <= REUSE_GRACE_MS
