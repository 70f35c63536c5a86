"""The commands of admins: `rookery user` without `add`, `rookery invite`, `rookery audit` and `rookery processes`.

Rookery may be running. The commands need access to the data folder or the engines, and no sign-in.
"""

import json
import os
import pwd
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from typing import TypeVar

import click
import trio
from pydantic import ValidationError

from bff.admin import models
from bff.validation import sentence
from rookery.serve.engines import open_accounts, open_backplane, open_configuration, open_files, open_processes
from rookery.serve.folder import DataFolder
from shared.accounts.administration import AUDIT_LOGGER, Administration, named
from shared.accounts.audit import Actor, AuditEntry
from shared.accounts.links import Invite
from shared.accounts.sign_outs import ALL_SIGN_INS, announce_ends, end_of_sign_in
from shared.accounts.store import AccountStatus, AccountStore, User
from shared.backplane.sqlite.spool import spool_record
from shared.contract.errors import Refusal, Unavailable
from shared.contract.ids import wall_clock_ms
from shared.coordination.processes import EXPIRY_SECONDS, ProcessReport
from shared.files.keys import avatar_keys
from shared.settings import Settings
from shared.telemetry.logs import configure_logs, set_levels

Result = TypeVar("Result")


async def make_admin(settings: Settings, name: str) -> None:
    async with _open_for_user(settings, name) as (administration, user):
        raise_refusal(await administration.make_admin(system_user(), user))
    click.echo(f"{named(user)} is an admin")


async def revoke_admin(settings: Settings, name: str) -> None:
    async with _open_for_user(settings, name) as (administration, user):
        await administration.revoke_admin(system_user(), user)
    click.echo(f"{named(user)} is no longer an admin")


async def suspend(settings: Settings, name: str, reason: str) -> None:
    with validation_errors():
        wanted = models.Suspension(reason=reason)
    async with _open_for_user(settings, name) as (administration, user):
        raise_refusal(await administration.suspend(system_user(), user, wanted.reason))
    click.echo(f"{named(user)} is suspended, and all of their sessions end")


async def restore(settings: Settings, name: str) -> None:
    async with _open_for_user(settings, name) as (administration, user):
        await administration.restore(system_user(), user)
    click.echo(f"{named(user)} may sign in again")


async def sign_out(settings: Settings, name: str) -> None:
    async with _open_for_user(settings, name) as (administration, user):
        await administration.sign_out(system_user(), user)
    click.echo(f"{named(user)} is signed out everywhere")


async def reset_password(settings: Settings, name: str) -> None:
    """Print the end of the page's address with which the user sets a new password."""
    async with _open_for_user(settings, name) as (administration, user):
        reset = raise_refusal(await administration.reset_password(system_user(), user))
    click.echo(f"{named(user)} sets a new password once until {_time(reset.expires_at_ms)}, at the page's address and")
    click.echo(f"/#reset={reset.token}")


async def delete(settings: Settings, name: str) -> None:
    """Delete the account. The command may be repeated, which completes a deletion that was interrupted."""
    async with _open_for_user(settings, name, or_deleted=True) as (administration, user):
        raise_refusal(await administration.delete_user(system_user(), user))
    if user.avatar:
        async with open_files(settings) as files:
            await files.delete(avatar_keys(user.avatar))
    click.echo(f"{named(user)} is deleted")


async def create_invite(settings: Settings, uses: int, days: int) -> None:
    """Print the end of the page's address with which accounts are created."""
    with validation_errors():
        wanted = models.NewInvite(uses=uses, days=days)
    async with open_accounts(settings) as accounts, open_administration(settings, accounts) as administration:
        result = await administration.create_invite(system_user(), uses=wanted.uses, days=wanted.days)
    created = raise_refusal(result)
    click.echo(f"{_invite(created.invite)}, at the page's address and")
    click.echo(f"/#invite={created.token}")


async def list_invites(settings: Settings, as_json: bool) -> None:
    """Print the invites that have not expired, newest first."""
    async with open_accounts(settings) as accounts:
        invites = await accounts.invites(now_ms=wall_clock_ms())
    for invite in invites:
        click.echo(models.SignUpInvite.of(invite).model_dump_json() if as_json else _invite(invite))


async def revoke_invite(settings: Settings, invite_id: str) -> None:
    async with open_accounts(settings) as accounts, open_administration(settings, accounts) as administration:
        raise_refusal(await administration.revoke_invite(system_user(), invite_id))
    click.echo(f"invite {invite_id} is revoked")


async def find(settings: Settings, part: str, as_json: bool) -> None:
    """Print the accounts with the part in a name, ordered by name."""
    with validation_errors():
        models.UsersQuery(part=part)
    async with open_accounts(settings) as accounts:
        users = await accounts.find_users(part, after_name="", limit=models.MAX_USERS)
        statuses = await accounts.account_statuses([user.user_id for user in users])
    for user in users:
        status = statuses[user.user_id]
        click.echo(models.Account.of(user, status).model_dump_json() if as_json else _account(user, status))


async def show_audit(settings: Settings, limit: int, as_json: bool) -> None:
    """Print the newest admin actions, oldest first."""
    async with open_accounts(settings) as accounts:
        entries = await accounts.audit_entries(limit=limit)
    for entry in reversed(entries):
        click.echo(models.AuditLogEntry.of(entry).model_dump_json() if as_json else _entry(entry))


async def show_processes(settings: Settings, as_json: bool) -> None:
    """Print every process that has reported lately."""
    async with open_processes(settings) as registry:
        reports = await registry.all()
    if not reports:
        click.echo(f"no process has reported within the last {EXPIRY_SECONDS:g} seconds", err=True)
    for report in reports:
        click.echo(models.Process.of(report).model_dump_json() if as_json else _process(report))


async def show_history(settings: Settings, limit: int, as_json: bool) -> None:
    """Print the newest changes of the live configuration, oldest first."""
    async with open_configuration(settings) as store:
        changes = await store.history(limit=limit)
    for change in reversed(changes):
        model = models.ConfigurationChange.of(change)
        words = [_value(model.old), "->", _value(model.new)]
        line = _line(change.at_ms, [change.by or "someone", change.key, *words])
        click.echo(model.model_dump_json() if as_json else line)


# ---- for other commands


@asynccontextmanager
async def open_administration(settings: Settings, accounts: AccountStore) -> AsyncIterator[Administration]:
    """Open the object that performs admin actions, records them in the audit log, and logs them."""
    log_acts()
    async with open_configuration(settings) as configuration:

        async def announce(user_id: int, *, is_deleted: bool = False) -> None:
            if "kafka" not in settings.engines:  # one gateway reads all partitions, so that one record is enough
                record = end_of_sign_in(user_id, *ALL_SIGN_INS, is_deleted=is_deleted)
                spool_record(DataFolder(settings.data).spool, user_id, record)
                return
            try:
                # Shielded from the deadline of the act, which has succeeded: connecting alone may take that long.
                # The connection, the announcement and the end of the backplane have timeouts of their own.
                with trio.CancelScope(shield=True):
                    async with open_backplane(settings) as backplane:
                        await announce_ends(backplane, user_id, ALL_SIGN_INS, is_deleted=is_deleted)
            except Unavailable as error:
                click.echo(
                    f"could not notify the gateways, so sessions end when their access tokens expire: {error}", err=True
                )

        yield Administration(accounts, configuration, announce)


def log_acts() -> None:
    """Log the actions of this command to stderr as JSON lines, like a process, and otherwise only warnings."""
    configure_logs("warning", role="command")
    set_levels("warning", {AUDIT_LOGGER: "info"})


@asynccontextmanager
async def _open_for_user(
    settings: Settings, name: str, *, or_deleted: bool = False
) -> AsyncIterator[tuple[Administration, User]]:
    """Open the administration, and find the user of this name. Raises ClickException if there is none, or if the
    account was deleted, without `or_deleted`."""
    async with open_accounts(settings) as accounts, open_administration(settings, accounts) as administration:
        user_id = await accounts.user_id_of(name)
        users = [] if user_id is None else await accounts.users([user_id])
        if not users or (users[0].is_deleted and not or_deleted):
            raise click.ClickException(f"there is no user {name}")
        yield administration, users[0]


def system_user() -> Actor:
    """The operating system's user who runs this command."""
    try:
        return Actor(name=pwd.getpwuid(os.getuid()).pw_name)
    except KeyError:  # a user id without a name, as in some containers
        return Actor(name=str(os.getuid()))


def raise_refusal(result: Result | Refusal) -> Result:
    """Return the result. Raises ClickException if it is a Refusal."""
    if isinstance(result, Refusal):
        raise click.ClickException(result.message)
    return result


@contextmanager
def validation_errors() -> Iterator[None]:
    """Raise validation errors of a model as a ClickException, one sentence per field."""
    try:
        yield
    except ValidationError as error:
        raise click.ClickException("\n".join(map(sentence, error.errors()))) from None


# ---- lines for people


def _account(user: User, status: AccountStatus) -> str:
    words = [str(user.user_id), user.name, user.display_name]
    if status.is_admin:
        words.append("admin")
    if status.suspended_at_ms is not None:
        words.append(f"suspended since {_time(status.suspended_at_ms)}: {status.suspended_reason}")
    return "  ".join(words)


def _invite(invite: Invite) -> str:
    left = f"{invite.uses_left} of {invite.uses} uses left"
    return f"{invite.invite_id}  {left}  until {_time(invite.expires_at_ms)}  by {invite.created_by}"


def _entry(entry: AuditEntry) -> str:
    actor = f"{entry.actor} from {entry.actor.address}" if entry.actor.address else str(entry.actor)
    return _line(entry.at_ms, [actor, entry.act, entry.target, entry.detail])


def _process(report: ProcessReport) -> str:
    stats = report.stats
    words = [report.role, report.instance, "ready" if report.ready else "not ready", report.version]
    words.append(f"since {_time(report.started_at_ms)}")
    if stats.sessions is not None:
        words.append("sessions " + ", ".join(f"{count} {transport}" for transport, count in stats.sessions.items()))
    if stats.owned is not None:
        words.append(f"owns {' '.join(map(str, stats.owned)) or 'nothing'}")
    if stats.lag is not None:
        words.append(f"lag {sum(stats.lag.values())} records")
    return "  ".join(words)


def _line(at_ms: int, words: Iterable[str]) -> str:
    return "  ".join([_time(at_ms), *filter(None, words)])


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _value(value: object) -> str:
    return "default" if value is None else json.dumps(value)
