"""The audit log: who did what to whom as an admin, over HTTP or by a command on the server.

Nothing is ever taken out.
"""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Act(StrEnum):
    """What an admin can do. The texts are stored: they never change."""

    ADD_USER = "add_user"
    MAKE_ADMIN = "make_admin"
    REVOKE_ADMIN = "revoke_admin"
    SUSPEND_USER = "suspend_user"
    RESTORE_USER = "restore_user"
    SIGN_OUT_USER = "sign_out_user"
    SET_CONFIGURATION = "set_configuration"
    UNSET_CONFIGURATION = "unset_configuration"
    ROTATE_KEYS = "rotate_keys"
    RETIRE_KEY = "retire_key"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a user, from an address, or whoever ran a command on a server, by the name that the system has."""

    user_id: int = 0
    """0 for a command."""
    name: str = ""
    """Of the user, or the system's user."""
    address: str = ""
    """Of the user; empty for a command."""

    def __str__(self) -> str:
        return f"{self.name} ({self.user_id})" if self.user_id else f"command:{self.name}"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One act. `entry_id` begins with its time in nanoseconds, so that the order of ids is that of the acts."""

    entry_id: str
    at_ms: int
    actor: Actor
    act: str
    target: str
    """Whom or what it was done to: `name (user_id)`, or a key of the configuration."""
    detail: str
    """With what: a reason, or a value; often empty."""


def new_entry(actor: Actor, act: Act, target: str, detail: str = "") -> AuditEntry:
    """An act of now."""
    now = time.time_ns()
    return AuditEntry(f"{now:020}-{secrets.token_hex(4)}", now // 1_000_000, actor, act, target, detail)


class AuditStore(Protocol):
    """Both methods raise Unavailable if the engine does not answer."""

    async def add_audit_entry(self, entry: AuditEntry) -> None:
        """Keep the entry. The same entry again changes nothing."""
        ...

    async def audit_entries(self, *, limit: int, before: str = "") -> Sequence[AuditEntry]:
        """The newest entries, or the newest before the one with this id; the newest first."""
        ...
