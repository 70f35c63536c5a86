"""The audit log: the acts of admins, over HTTP or by a command on the server. Entries are never deleted."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Act(StrEnum):
    """An act of an admin. The values are stored, so they never change."""

    ADD_USER = "add_user"
    MAKE_ADMIN = "make_admin"
    REVOKE_ADMIN = "revoke_admin"
    SUSPEND_USER = "suspend_user"
    RESTORE_USER = "restore_user"
    SIGN_OUT_USER = "sign_out_user"
    DELETE_USER = "delete_user"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - no secret: the name of an act
    CREATE_INVITE = "create_invite"
    REVOKE_INVITE = "revoke_invite"
    CLOSE_REPORT = "close_report"
    OPEN_REPORTED_FILE = "open_reported_file"
    SET_CONFIGURATION = "set_configuration"
    UNSET_CONFIGURATION = "unset_configuration"
    ROTATE_KEYS = "rotate_keys"
    RETIRE_KEY = "retire_key"


@dataclass(frozen=True, slots=True)
class Actor:
    """The author of an act: a user at an address, or the system's user who ran a command on a server."""

    user_id: int = 0
    """0 for a command."""
    name: str = ""
    """The name of the user, or of the system's user."""
    address: str = ""
    """The user's address; empty for a command."""

    def __str__(self) -> str:
        return f"{self.name} ({self.user_id})" if self.user_id else f"command:{self.name}"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act. `entry_id` begins with its time in nanoseconds, so that ids sort by time."""

    entry_id: str
    at_ms: int
    actor: Actor
    act: str
    target: str
    """The object of the act: `name (user_id)`, an invite, a key of the configuration, or a signing key."""
    detail: str
    """A reason or a value; often empty."""


def new_entry(actor: Actor, act: Act, target: str, detail: str = "") -> AuditEntry:
    """Make an entry for an act at this moment."""
    now = time.time_ns()
    return AuditEntry(f"{now:020}-{secrets.token_hex(4)}", now // 1_000_000, actor, act, target, detail)


class AuditStore(Protocol):
    """Both methods raise Unavailable if the engine does not answer."""

    async def add_audit_entry(self, entry: AuditEntry) -> None:
        """Store the entry. Storing it again changes nothing."""
        ...

    async def audit_entries(self, *, limit: int, before: str = "") -> Sequence[AuditEntry]:
        """Return the newest entries, or the newest before this id, the newest first."""
        ...
