"""What admins do, by HTTP or by command: each act is in the audit log before it is done, so that none goes unrecorded.

An act that can't be recorded is not done. One that then fails half-way may be done again.
"""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from shared.accounts.audit import Act, Actor, AuditEntry, new_entry
from shared.accounts.store import AccountStore, User
from shared.configuration import ConfigurationStore, InvalidConfiguration, LiveConfiguration, validate
from shared.configuration.live import describe
from shared.configuration.model import Value
from shared.contract.errors import Code, Refusal
from shared.contract.ids import wall_clock_ms

Announce = Callable[[int], Awaitable[None]]
"""Has the gateways end all sessions of the user that began before now."""

DEFAULTS = LiveConfiguration()

_log = structlog.get_logger("rookery.audit")


def log_admin_act(entry: AuditEntry) -> None:
    """Tell the logs of an act."""
    actor = entry.actor
    who = {"actor_id": actor.user_id, "actor": actor.name} if actor.user_id else {"actor": str(actor)}
    _log.info("admin_act", entry_id=entry.entry_id, act=str(entry.act), target=entry.target, detail=entry.detail, **who)


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of the live configuration, and what holds of it. `bounds` says in words what it may be."""

    key: str
    value: Value
    default: Value
    is_set: bool
    description: str
    bounds: str


class Administration:
    """Every act raises Unavailable, and returns a Refusal if it may not be; `tell` hears of each that is begun."""

    def __init__(
        self,
        accounts: AccountStore,
        configuration: ConfigurationStore,
        announce: Announce,
        *,
        tell: Callable[[AuditEntry], None] = log_admin_act,
        clock_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._accounts = accounts
        self._configuration = configuration
        self._announce = announce
        self._tell = tell
        self._clock_ms = clock_ms

    # ---- users

    async def add_user(self, actor: Actor, user: User, password_hash: str) -> Refusal | None:
        if await self._accounts.credentials(user.name) is not None:
            return _name_taken(user)
        await self._record(actor, Act.ADD_USER, named(user))
        return None if await self._accounts.add_user(user, password_hash) else _name_taken(user)

    async def make_admin(self, actor: Actor, user: User) -> Refusal | None:
        if (await self._accounts.account_statuses([user.user_id]))[user.user_id].is_suspended:
            return _is_suspended(user)
        await self._record(actor, Act.MAKE_ADMIN, named(user))
        return None if await self._accounts.make_admin(user.user_id) else _is_suspended(user)

    async def revoke_admin(self, actor: Actor, user: User) -> None:
        """The next request of the user is not an admin's any more."""
        await self._record(actor, Act.REVOKE_ADMIN, named(user))
        await self._accounts.revoke_admin(user.user_id)

    async def suspend(self, actor: Actor, user: User, reason: str) -> Refusal | None:
        """Let the user in no more: no sign-in is believed from now on, and all sessions end.

        Not an admin: so nobody can be shut out by another admin, nor the last one by themselves.
        """
        if (await self._accounts.account_statuses([user.user_id]))[user.user_id].is_admin:
            return _is_admin(user)
        await self._record(actor, Act.SUSPEND_USER, named(user), reason)
        if not await self._accounts.suspend(user.user_id, reason, self._clock_ms()):
            return _is_admin(user)
        await self._announce(user.user_id)
        return None

    async def restore(self, actor: Actor, user: User) -> None:
        """Let the user in again, by a new sign-in: those from before the suspension have ended."""
        await self._record(actor, Act.RESTORE_USER, named(user))
        if (await self._accounts.account_statuses([user.user_id]))[user.user_id].is_suspended:
            await self._accounts.end_families(user.user_id)  # first: none of them may come alive again
        await self._accounts.restore(user.user_id)

    async def sign_out(self, actor: Actor, user: User) -> None:
        """End all sign-ins of the user, with their sessions."""
        await self._record(actor, Act.SIGN_OUT_USER, named(user))
        await self._accounts.end_families(user.user_id)
        await self._announce(user.user_id)

    # ---- live configuration

    async def settings(self) -> list[Setting]:
        """Every key. What is stored and can't be used counts as not set, as in every process that starts now."""
        stored = await self._configuration.load()
        settings = []
        for key, field in LiveConfiguration.model_fields.items():
            default: Value = getattr(DEFAULTS, key)
            value = default
            if key in stored:
                with suppress(InvalidConfiguration):
                    value = validate(key, stored[key].value)
            bounds = describe(field)
            settings.append(Setting(key, value, default, key in stored, field.description or "", bounds))
        return settings

    async def set_configuration(self, actor: Actor, key: str, text: str) -> Value | Refusal:
        """Store the value that the text is for, as `validate` takes it, and return it."""
        try:
            value = validate(key, text)
        except InvalidConfiguration as error:
            code = Code.INVALID if key in LiveConfiguration.model_fields else Code.NOT_FOUND
            return Refusal(code, str(error), field="value" if code is Code.INVALID else "key")
        await self._record(actor, Act.SET_CONFIGURATION, key, json.dumps(value))
        await self._configuration.set(key, json.dumps(value), by=str(actor))
        return value

    async def unset_configuration(self, actor: Actor, key: str) -> Refusal | None:
        """Forget a value. A key that this release does not know can be forgotten too, if it is stored."""
        if key not in LiveConfiguration.model_fields and key not in await self._configuration.load():
            try:
                validate(key, "")
            except InvalidConfiguration as error:
                return Refusal(Code.NOT_FOUND, str(error), field="key")
        await self._record(actor, Act.UNSET_CONFIGURATION, key)
        await self._configuration.unset(key, by=str(actor))
        return None

    async def _record(self, actor: Actor, act: Act, target: str, detail: str = "") -> None:
        entry = new_entry(actor, act, target, detail)
        await self._accounts.add_audit_entry(entry)
        self._tell(entry)


def named(user: User) -> str:
    """A user as the audit log and the history of the configuration name them."""
    return f"{user.name} ({user.user_id})"


def _name_taken(user: User) -> Refusal:
    return Refusal(Code.NAME_TAKEN, f"the name {user.name} is taken", field="name")


def _is_admin(user: User) -> Refusal:
    how = f"rookery user admin {user.name} --revoke"
    return Refusal(Code.OUT_OF_ORDER, f"{user.name} is an admin: revoke that first, on the server, by `{how}`.")


def _is_suspended(user: User) -> Refusal:
    return Refusal(Code.OUT_OF_ORDER, f"{user.name} is suspended: restore them first.")
