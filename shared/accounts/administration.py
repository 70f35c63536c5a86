"""Acts of admins, over HTTP or by command. Each is recorded in the audit log, and logged, before it is done.

An act that can't be recorded is not done. One that then fails half-way may be repeated.
"""

import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

import structlog

from shared.accounts.audit import Act, Actor, AuditStore, new_entry
from shared.accounts.store import AccountStore, User
from shared.configuration import ConfigurationStore, InvalidConfiguration, LiveConfiguration, validate
from shared.configuration.live import describe
from shared.configuration.model import Value
from shared.contract.errors import Code, Refusal
from shared.contract.ids import wall_clock_ms

Announce = Callable[[int], Awaitable[None]]
"""Tells the gateways to end all sessions of the user that began before now."""

DEFAULTS = LiveConfiguration()

AUDIT_LOGGER = "rookery.audit"
"""Logs each act as `admin_act`, for operators that ship logs to a place where admins can't change them."""

_log = structlog.get_logger(AUDIT_LOGGER)


async def record_act(store: AuditStore, actor: Actor, act: Act, target: str, detail: str = "") -> None:
    """Add an entry to the audit log and log it; call this before the act. Raises Unavailable."""
    entry = new_entry(actor, act, target, detail)
    await store.add_audit_entry(entry)
    author = {"actor_id": actor.user_id, "actor": actor.name} if actor.user_id else {"actor": str(actor)}
    _log.info("admin_act", entry_id=entry.entry_id, act=str(act), target=target, detail=detail, **author)


@dataclass(frozen=True, slots=True)
class Setting:
    """A key of the live configuration with its current value. `bounds` describes the permitted values in words."""

    key: str
    value: Value
    default: Value
    is_set: bool
    description: str
    bounds: str


class Administration:
    """The acts of admins. Each raises Unavailable, and returns a Refusal if it is not permitted."""

    def __init__(
        self,
        accounts: AccountStore,
        configuration: ConfigurationStore,
        announce: Announce,
        *,
        clock_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._accounts = accounts
        self._configuration = configuration
        self._announce = announce
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
        """Make the user a normal user, from the next request on."""
        await self._record(actor, Act.REVOKE_ADMIN, named(user))
        await self._accounts.revoke_admin(user.user_id)

    async def suspend(self, actor: Actor, user: User, reason: str) -> Refusal | None:
        """Suspend the user: all sign-ins are rejected from now on, and all sessions end.

        An admin can't be suspended, so that no admin shuts out another, or the last one themselves.
        """
        if (await self._accounts.account_statuses([user.user_id]))[user.user_id].is_admin:
            return _is_admin(user)
        await self._record(actor, Act.SUSPEND_USER, named(user), reason)
        if not await self._accounts.suspend(user.user_id, reason, self._clock_ms()):
            return _is_admin(user)
        await self._announce(user.user_id)
        return None

    async def restore(self, actor: Actor, user: User) -> None:
        """End the suspension. The user has to sign in again: sign-ins from before it have ended."""
        await self._record(actor, Act.RESTORE_USER, named(user))
        if (await self._accounts.account_statuses([user.user_id]))[user.user_id].is_suspended:
            await self._accounts.end_families(user.user_id)  # before the restoration, which would revive them
        await self._accounts.restore(user.user_id)

    async def sign_out(self, actor: Actor, user: User) -> None:
        """End all sign-ins of the user, with their sessions."""
        await self._record(actor, Act.SIGN_OUT_USER, named(user))
        await self._accounts.end_families(user.user_id)
        await self._announce(user.user_id)

    # ---- live configuration

    async def settings(self) -> list[Setting]:
        """Return every key. An invalid stored value counts as not set, as in a process that starts now."""
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
        """Store the value of the text, parsed by `validate`, and return it."""
        try:
            value = validate(key, text)
        except InvalidConfiguration as error:
            code = Code.INVALID if key in LiveConfiguration.model_fields else Code.NOT_FOUND
            return Refusal(code, str(error), field="value" if code is Code.INVALID else "key")
        await self._record(actor, Act.SET_CONFIGURATION, key, json.dumps(value))
        await self._configuration.set(key, json.dumps(value), by=str(actor))
        return value

    async def unset_configuration(self, actor: Actor, key: str) -> Refusal | None:
        """Remove a value. A stored key that is unknown to this release can be removed too."""
        if key not in LiveConfiguration.model_fields and key not in await self._configuration.load():
            try:
                validate(key, "")
            except InvalidConfiguration as error:
                return Refusal(Code.NOT_FOUND, str(error), field="key")
        await self._record(actor, Act.UNSET_CONFIGURATION, key)
        await self._configuration.unset(key, by=str(actor))
        return None

    async def _record(self, actor: Actor, act: Act, target: str, detail: str = "") -> None:
        await record_act(self._accounts, actor, act, target, detail)


def named(user: User) -> str:
    """The user's label in the audit log and in the history of the configuration."""
    return f"{user.name} ({user.user_id})"


def _name_taken(user: User) -> Refusal:
    return Refusal(Code.NAME_TAKEN, f"the name {user.name} is taken", field="name")


def _is_admin(user: User) -> Refusal:
    how = f"rookery user admin {user.name} --revoke"
    return Refusal(Code.OUT_OF_ORDER, f"{user.name} is an admin: revoke that first, on the server, by `{how}`.")


def _is_suspended(user: User) -> Refusal:
    return Refusal(Code.OUT_OF_ORDER, f"{user.name} is suspended: restore them first.")
