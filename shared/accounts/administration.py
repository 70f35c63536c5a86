"""Acts of admins, over HTTP or by command. Each is recorded in the audit log, and logged, before it is done.

An act that can't be recorded is not done. One that then fails half-way may be repeated.
"""

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

import structlog

from shared.accounts.audit import Act, Actor, AuditStore, new_entry
from shared.accounts.links import Invite, new_invite_id, new_link
from shared.accounts.people import Report, Resolution, end_all
from shared.accounts.sign_outs import completed
from shared.accounts.store import AccountStore, User
from shared.configuration import ConfigurationStore, InvalidConfiguration, LiveConfiguration, check_change, validate
from shared.configuration.live import describe
from shared.configuration.model import Value
from shared.contract.errors import Code, Refusal
from shared.contract.ids import wall_clock_ms

RESET_HOURS = 24
"""Life of the link of a password reset."""

MAX_INVITES = 100
"""Unexpired invites at once."""

HOUR_MS = 60 * 60 * 1000

DELETED = "The account was deleted."
"""The reason of the suspension of a deleted account."""


class Announce(Protocol):
    """Makes the gateways end all sessions of the user that began before now, and refuse messages to the user if the
    account was deleted."""

    async def __call__(self, user_id: int, *, is_deleted: bool = False) -> None: ...


DEFAULTS = LiveConfiguration()

_REPORT_IS_CLOSED = Refusal(Code.OUT_OF_ORDER, "Another admin has closed this report: read it again.")

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


@dataclass(frozen=True, slots=True)
class PasswordReset:
    """The token of a link that sets a password once."""

    token: str
    expires_at_ms: int


@dataclass(frozen=True, slots=True)
class NewInvite:
    """An invite with its token, which is not stored."""

    invite: Invite
    token: str


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
        if await self._accounts.user_id_of(user.name) is not None:
            return _name_taken(user)
        await self._record(actor, Act.ADD_USER, named(user))
        return None if await self._accounts.add_user(user, password_hash) else _name_taken(user)

    async def delete_user(self, actor: Actor, user: User) -> Refusal | None:
        """Delete the account, unless it is an admin's. Repeating it announces the deletion again."""
        return await self.record_deletion(actor, user) or await self.complete_deletion(user)

    async def record_deletion(self, actor: Actor, user: User) -> Refusal | None:
        """Begin to delete an account. An admin can't be deleted."""
        if (await self._accounts.account_statuses([user.user_id]))[user.user_id].is_admin:
            return _is_admin(user)
        await self._record(actor, Act.DELETE_USER, named(user))
        return None

    async def complete_deletion(self, user: User) -> Refusal | None:
        """Delete an account whose deletion is recorded: its sign-ins and sessions end, messages to it are refused, and
        its profile, connections and blocks are cleared. After an interruption repeat it, since the user no longer can.

        Its chats stay with their other members, and its name is not used again. It is suspended first, so that no
        sign-in begins meanwhile.
        """
        if not await self._accounts.suspend(user.user_id, DELETED, self._clock_ms()):
            return _is_admin(user)
        await self._accounts.delete_user(user.user_id)
        await self._accounts.end_families(user.user_id)
        await self._announce(user.user_id, is_deleted=True)
        await end_all(self._accounts, user.user_id)
        return None

    async def reset_password(self, actor: Actor, user: User) -> PasswordReset | Refusal:
        """Make the link with which the user sets a new password, once, within RESET_HOURS. The present password and
        sign-ins stay valid until then. Over HTTP, an admin gets no link for another admin, whose role it
        would give away, and `may_reset` has to be true when a link is used.
        """
        if actor.user_id and (await self._accounts.account_statuses([user.user_id]))[user.user_id].is_admin:
            return _is_reset_by_command(user)
        await self._record(actor, Act.RESET_PASSWORD, named(user))
        link, expires_at_ms = new_link(str(user.user_id), actor.user_id), self._clock_ms() + RESET_HOURS * HOUR_MS
        await self._accounts.add_password_reset(user.user_id, link.digest, expires_at_ms)
        return PasswordReset(link.token, expires_at_ms)

    async def may_reset(self, creator_id: int, user_id: int) -> bool:
        """Whether the link of a password reset that this creator made over HTTP may be used now: its creator is still
        an admin, and its user is none."""
        statuses = await self._accounts.account_statuses([creator_id, user_id])
        return statuses[creator_id].is_admin and not statuses[user_id].is_admin

    async def make_admin(self, actor: Actor, user: User) -> Refusal | None:
        if (await self._accounts.account_statuses([user.user_id]))[user.user_id].is_suspended:
            return _is_suspended(user)
        await self._record(actor, Act.MAKE_ADMIN, named(user))
        # In place of a link that another admin may have: it would let them act with this role.
        await self._accounts.add_password_reset(user.user_id, new_link("").digest, expires_at_ms=0)
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
        with completed():
            may_be_suspended = True
            try:
                may_be_suspended = await self._accounts.suspend(user.user_id, reason, self._clock_ms())
            finally:  # after a lost answer too: an admin who sees the suspension does not repeat it
                if may_be_suspended:
                    await self._announce(user.user_id)
        return None if may_be_suspended else _is_admin(user)

    async def restore(self, actor: Actor, user: User) -> None:
        """End the suspension. The user has to sign in again: sign-ins from before it have ended. A deleted account is
        not restored: `user` must not be one."""
        await self._record(actor, Act.RESTORE_USER, named(user))
        if (await self._accounts.account_statuses([user.user_id]))[user.user_id].is_suspended:
            await self._accounts.end_families(user.user_id)  # before the restoration, which would revive them
        await self._accounts.restore(user.user_id)

    async def sign_out(self, actor: Actor, user: User) -> None:
        """End all sign-ins of the user, with their sessions."""
        await self._record(actor, Act.SIGN_OUT_USER, named(user))
        with completed():
            try:
                await self._accounts.end_families(user.user_id)
            finally:  # after a lost answer too
                await self._announce(user.user_id)

    # ---- invites

    async def invites(self) -> Sequence[Invite]:
        """Return the invites that have not expired, used-up ones too, the newest first."""
        return await self._accounts.invites(now_ms=self._clock_ms())

    async def create_invite(self, actor: Actor, *, uses: int, days: int) -> NewInvite | Refusal:
        """Make a link with which `uses` accounts can be created within these days."""
        if len(await self.invites()) >= MAX_INVITES:
            message = f"There are {MAX_INVITES} invites: revoke one that is not needed any more."
            return Refusal(Code.OUT_OF_ORDER, message)
        invite_id, now_ms = new_invite_id(), self._clock_ms()
        await self._record(actor, Act.CREATE_INVITE, invite_id, f"uses: {uses}, days: {days}")
        link = new_link(invite_id)
        invite = Invite(invite_id, str(actor), now_ms, now_ms + 24 * days * HOUR_MS, uses, uses)
        await self._accounts.add_invite(invite, link.digest)
        return NewInvite(invite, link.token)

    async def revoke_invite(self, actor: Actor, invite_id: str) -> Refusal | None:
        """Make the link invalid. Accounts that were created with it stay."""
        if invite_id not in [invite.invite_id for invite in await self.invites()]:
            return Refusal(Code.NOT_FOUND, f"There is no invite {invite_id}.", field="invite_id")
        await self._record(actor, Act.REVOKE_INVITE, invite_id)
        await self._accounts.revoke_invite(invite_id)
        return None

    # ---- reports

    async def close_report(self, actor: Actor, report_id: int, resolution: Resolution, note: str) -> Refusal | None:
        """Close an open report. Its consequence, such as a suspension, is an act of its own."""
        report = await self.find_open_report(report_id)
        if isinstance(report, Refusal):
            return report
        await self._record(actor, Act.CLOSE_REPORT, str(report_id), f"{resolution}: {note}" if note else resolution)
        is_closed = await self._accounts.close_report(
            report_id, resolution=resolution, note=note, closed_by=actor.user_id, at_ms=self._clock_ms()
        )
        return None if is_closed else _REPORT_IS_CLOSED

    async def find_open_report(self, report_id: int) -> Report | Refusal:
        """Return an open report."""
        report = await self._accounts.report(report_id)
        if report is None:
            return Refusal(Code.NOT_FOUND, f"There is no report {report_id}.", field="report_id")
        return report if report.resolution is None else _REPORT_IS_CLOSED

    async def open_reported_file(self, actor: Actor, report_id: int, file_id: int) -> None:
        """Record that an admin opens a file of a report: once, unless two requests for it cross."""
        if await self._accounts.has_opened(report_id, file_id, actor.user_id):
            return
        await self._record(actor, Act.OPEN_REPORTED_FILE, str(report_id), f"file {file_id}")
        await self._accounts.add_opening(report_id, file_id, actor.user_id)

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
        if refusal := await self._misfit(key, value, field="value"):
            return refusal
        await self._record(actor, Act.SET_CONFIGURATION, key, json.dumps(value))
        await self._configuration.set(key, json.dumps(value), by=str(actor))
        return value

    async def unset_configuration(self, actor: Actor, key: str) -> Refusal | None:
        """Remove a value. A stored key that is unknown to this release can be removed too."""
        if key in LiveConfiguration.model_fields:
            if refusal := await self._misfit(key, getattr(DEFAULTS, key), field="key"):
                return refusal
        elif key not in await self._configuration.load():
            try:
                validate(key, "")
            except InvalidConfiguration as error:
                return Refusal(Code.NOT_FOUND, str(error), field="key")
        await self._record(actor, Act.UNSET_CONFIGURATION, key)
        await self._configuration.unset(key, by=str(actor))
        return None

    async def _misfit(self, key: str, value: Value, *, field: str) -> Refusal | None:
        """A refusal, for this field of the request, if the values of other keys do not permit this one."""
        values = {setting.key: setting.value for setting in await self.settings()}
        try:
            check_change(key, LiveConfiguration.model_validate(values | {key: value}))
        except InvalidConfiguration as error:
            return Refusal(Code.INVALID, str(error), field=field)
        return None

    async def _record(self, actor: Actor, act: Act, target: str, detail: str = "") -> None:
        await record_act(self._accounts, actor, act, target, detail)


def named(user: User) -> str:
    """The user's label in the audit log and in the history of the configuration."""
    return f"{user.name} ({user.user_id})"


def id_in(label: str) -> int:
    """The user's id in a label that `named` has made."""
    return int(label.rpartition("(")[2].removesuffix(")"))


def _name_taken(user: User) -> Refusal:
    return Refusal(Code.NAME_TAKEN, f"the name {user.name} is taken", field="name")


def _is_admin(user: User) -> Refusal:
    how = f"rookery user admin {user.name} --revoke"
    return Refusal(Code.OUT_OF_ORDER, f"{user.name} is an admin: revoke that first, on the server, by `{how}`.")


def _is_reset_by_command(user: User) -> Refusal:
    how = f"rookery user reset-password {user.name}"
    return Refusal(Code.OUT_OF_ORDER, f"{user.name} is an admin: reset their password on the server, by `{how}`.")


def _is_suspended(user: User) -> Refusal:
    return Refusal(Code.OUT_OF_ORDER, f"{user.name} is suspended: restore them first.")
