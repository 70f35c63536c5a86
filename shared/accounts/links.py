"""Links with a secret: an invite creates accounts, a password reset sets the password of one account.

A link's token is `key.secret`. Of the secret, 256 random bits, only the SHA-256 digest is stored: a reader of the store
can't use it. The key finds the digest: the id of the invite, or of the user. The secret of a password reset ends with
the id of the admin who made it, `.id`, if it was made over HTTP.
"""

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol


@dataclass(frozen=True, slots=True)
class Invite:
    """A link that creates `uses` accounts at most, until it expires. `created_by` is the label of its author."""

    invite_id: str
    created_by: str
    created_at_ms: int
    expires_at_ms: int
    uses: int
    uses_left: int


class Link(NamedTuple):
    """The token of a new link, and the digest that is stored of it."""

    token: str
    digest: bytes


def new_link(key: str, creator_id: int = 0) -> Link:
    """Make the token of an invite or of a password reset. The key has no dot."""
    secret = secrets.token_urlsafe(32) + (f".{creator_id}" if creator_id else "")
    return Link(f"{key}.{secret}", _digest(secret))


def read_link(token: str) -> tuple[str, bytes]:
    """Return the key and the digest of any text: no link has the digest of a text that is no token."""
    key, _, secret = token.partition(".")
    return key, _digest(secret)


def creator_of(token: str) -> str:
    """Return the id of the link's creator, an admin, from a token or from any other text; empty if there is no id. The
    digest covers the id, so a token with another id has no link."""
    return "".join(token.split(".", 2)[2:])


def new_invite_id() -> str:
    """Return 48 random bits as 12 characters: an id to list and to revoke, not a secret."""
    return secrets.token_hex(6)


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


class LinkStore(Protocol):
    """Every method raises Unavailable if the engine does not answer."""

    async def add_invite(self, invite: Invite, digest: bytes) -> None:
        """Store the invite, and remove invites that had expired when it was created."""
        ...

    async def invites(self, *, now_ms: int) -> Sequence[Invite]:
        """Return the invites that have not expired, used-up ones too, the newest first."""
        ...

    async def use_invite(self, invite_id: str, digest: bytes, *, now_ms: int) -> bool:
        """Take one use of the invite, atomically. False if it has none left, has expired, or has another digest.

        After a lost answer a use may be taken without a True.
        """
        ...

    async def return_use(self, invite_id: str) -> None:
        """Undo one `use_invite` that returned True."""
        ...

    async def revoke_invite(self, invite_id: str) -> bool:
        """Remove the invite. False if there is none."""
        ...

    async def add_password_reset(self, user_id: int, digest: bytes, expires_at_ms: int) -> None:
        """Store the user's password reset, in place of an earlier one."""
        ...

    async def use_password_reset(self, user_id: int, digest: bytes, *, now_ms: int) -> bool:
        """Remove the password reset, atomically. False if it does not exist, has expired, or has another digest."""
        ...
