"""Bodies and queries of `/v1/admin`. Ids are strings; times are milliseconds since 1970, as numbers."""

import json
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, StringConstraints

from bff.models.fields import (
    ONE_LINE,
    Digits,
    DisplayName,
    Input,
    Limit,
    Name,
    NumberOrText,
    ReportsLimit,
    SearchPart,
    UserId,
    one_line,
    visible,
    whole,
)
from shared.accounts import links
from shared.accounts import store as accounts
from shared.accounts.administration import PasswordReset, Setting
from shared.accounts.audit import AuditEntry
from shared.accounts.people import Report as StoredReport
from shared.accounts.people import Resolution
from shared.configuration import Change
from shared.contract.ids import time_of
from shared.coordination.processes import ProcessReport

MAX_USERS = 100
"""Users in the result of a search."""

Reason = Annotated[
    str,
    StringConstraints(min_length=1, max_length=200, strip_whitespace=True),
    AfterValidator(one_line),
    AfterValidator(visible),
    ONE_LINE,
]
EntryId = Annotated[str, StringConstraints(pattern="^[0-9]{20}-[0-9a-f]{8}$")]


class UsersQuery(Input):
    """A search by `part`, or one account by `user_id`; without both, a page of all accounts."""

    part: SearchPart | None = None
    user_id: UserId | None = None
    limit: Limit = 50
    cursor: Digits = Field(default=0, description="The `next` of the previous page of all accounts; 0 for the first")


class HistoryQuery(Input):
    """A page of changes: the newest ones, or older ones than `before`."""

    limit: Limit = 50
    before: Digits | None = Field(None, description="The `next` of the previous page")


class AuditQuery(Input):
    """A page of entries: the newest ones, or older ones than `before`."""

    limit: Limit = 50
    before: EntryId | None = Field(None, description="The `next` of the previous page")


class ReportsQuery(Input):
    """A page of reports: open ones, the oldest first, or closed ones, the newest first."""

    state: Literal["open", "closed"] = "open"
    limit: ReportsLimit = 20
    after: Digits = Field(0, description="The `next` of the previous page; 0 for the first page")


class ReportEnd(Input):
    """The end of a report. The note is for other admins."""

    resolution: Literal["dismissed", "handled"]
    note: Annotated[
        str, StringConstraints(max_length=200, strip_whitespace=True), AfterValidator(one_line), ONE_LINE
    ] = ""


class Suspension(Input):
    """The reason of a suspension, which other admins can read."""

    reason: Reason


class NewAccount(Input):
    """An account for another user. The user sets the password with a link."""

    name: Name
    display_name: DisplayName | None = Field(None, description="Defaults to the name")


class NewInvite(Input):
    """Bounds of a new invite."""

    uses: Annotated[
        int, Field(strict=True, ge=1, le=10_000, description="Accounts that it can create"), BeforeValidator(whole)
    ] = 1
    days: Annotated[
        int, Field(strict=True, ge=1, le=365, description="Days until it expires"), BeforeValidator(whole)
    ] = 7


class NewValue(Input):
    """The new value of a key."""

    value: NumberOrText


class Sessions(BaseModel):
    """Sessions of a gateway."""

    websocket: int
    grpc: int


class Process(BaseModel):
    """The last report of one role of a process. `owned` lists partitions; `lag` is in records, by partition."""

    instance: str
    role: Literal["bff", "gateway", "archive"]
    version: str
    started_at_ms: int
    seen_at_ms: int
    ready: bool
    sessions: Sessions | None
    owned: list[int] | None
    lag: dict[str, int] | None

    @classmethod
    def of(cls, report: ProcessReport) -> "Process":
        stats = report.stats
        sessions, owned, lag = stats.sessions, stats.owned, stats.lag
        return cls(
            instance=report.instance,
            role=report.role,
            version=report.version,
            started_at_ms=report.started_at_ms,
            seen_at_ms=report.seen_at_ms,
            ready=report.ready,
            sessions=None if sessions is None else Sessions(**sessions),
            owned=None if owned is None else list(owned),
            lag=None if lag is None else {str(partition): records for partition, records in lag.items()},
        )


class Partition(BaseModel):
    """The gateway that owns a partition; null while none does."""

    partition: int
    owner: str | None


class Processes(BaseModel):
    """Every process that reported within the last seconds. `now_ms` is the time of the response."""

    processes: list[Process]
    partitions: list[Partition]
    now_ms: int

    @classmethod
    def of(cls, reports: list[ProcessReport], partitions: int, now_ms: int) -> "Processes":
        """If two report that they own a partition, the later report counts."""
        owners = {
            partition: report.instance
            for report in sorted(reports, key=lambda report: report.seen_at_ms)
            for partition in report.stats.owned or ()
        }
        return cls(
            processes=[Process.of(report) for report in reports],
            partitions=[Partition(partition=each, owner=owners.get(each)) for each in range(partitions)],
            now_ms=now_ms,
        )


class ConfigurationValue(BaseModel):
    """A key of the live configuration. `bounds` describes the values that it accepts."""

    key: str
    value: int | float | str
    default: int | float | str
    is_set: bool
    description: str
    bounds: str

    @classmethod
    def of(cls, setting: Setting) -> "ConfigurationValue":
        return cls(
            key=setting.key,
            value=setting.value,
            default=setting.default,
            is_set=setting.is_set,
            description=setting.description,
            bounds=setting.bounds,
        )


class Configuration(BaseModel):
    """All keys of the live configuration."""

    values: list[ConfigurationValue]


class ConfigurationChange(BaseModel):
    """A change of a key. `old` or `new` is null where it is the default."""

    id: str
    at_ms: int
    by: str
    key: str
    old: Any
    new: Any

    @classmethod
    def of(cls, change: Change) -> "ConfigurationChange":
        return cls(
            id=str(change.change_id),
            at_ms=change.at_ms,
            by=change.by,
            key=change.key,
            old=_value(change.old),
            new=_value(change.new),
        )


class ConfigurationHistory(BaseModel):
    """Changes, newest first. `next` is the `before` of the next, older page; null on the last."""

    changes: list[ConfigurationChange]
    next: str | None


class Account(BaseModel):
    """An account, as admins see it."""

    user_id: str
    name: str
    display_name: str
    created_at_ms: int
    is_admin: bool
    suspended_at_ms: int | None
    suspended_reason: str

    @classmethod
    def of(cls, user: accounts.User, status: accounts.AccountStatus) -> "Account":
        return cls(**_user(user, status))


class Accounts(BaseModel):
    """Accounts. `next` is the `cursor` of the next page of all accounts; null on the last, and in a search."""

    users: list[Account]
    next: str | None = None


class AccountSignIn(BaseModel):
    """An active sign-in."""

    family_id: str
    device_name: str
    created_at_ms: int


class AccountDetails(Account):
    """An account with its active sign-ins, newest first; 100 at most."""

    sign_ins: list[AccountSignIn]

    @classmethod
    def with_sign_ins(
        cls, user: accounts.User, status: accounts.AccountStatus, families: list[accounts.Family]
    ) -> "AccountDetails":
        sign_ins = [
            AccountSignIn(family_id=each.family_id, device_name=each.device_name, created_at_ms=each.created_at_ms)
            for each in families
        ]
        return cls(**_user(user, status), sign_ins=sign_ins)


class ResetLink(BaseModel):
    """The token of a link that sets the password once: `/#reset=TOKEN` on the page."""

    token: str
    expires_at_ms: int

    @classmethod
    def of(cls, reset: PasswordReset) -> "ResetLink":
        return cls(token=reset.token, expires_at_ms=reset.expires_at_ms)


class CreatedAccount(BaseModel):
    """A new account, and the link with which its user sets the password."""

    user: Account
    password_reset: ResetLink


class SignUpInvite(BaseModel):
    """An invite to sign up, as it is listed. `created_by` is `name (user_id)`, or `command:` and the system's user."""

    invite_id: str
    created_by: str
    created_at_ms: int
    expires_at_ms: int
    uses: int
    uses_left: int

    @classmethod
    def of(cls, invite: links.Invite) -> "SignUpInvite":
        return cls(**asdict(invite))


class Invites(BaseModel):
    """The invites that have not expired, used-up ones too, newest first; 100 at most."""

    invites: list[SignUpInvite]


class CreatedInvite(BaseModel):
    """A new invite with the token of its link, `/#invite=TOKEN` on the page. The token can't be read again."""

    invite: SignUpInvite
    token: str


class Report(BaseModel):
    """A report of a user. Each message is as HistoryMessage in a page of history, when it was reported, with edits as
    its only changes. `chat_name` is the present name of a group, and empty if the archive does not answer at once.
    `resolution`, `closed_by` and `closed_at_ms` are null while the report is open."""

    report_id: str
    created_at_ms: int
    reporter_id: str
    user_id: str
    chat_id: str
    chat_name: str
    messages: list[dict[str, Any]]
    reason: str
    resolution: Resolution | None
    note: str
    closed_by: str | None
    closed_at_ms: int | None

    @classmethod
    def of(cls, report: StoredReport, chat_name: str) -> "Report":
        is_closed = report.resolution is not None
        return cls(
            report_id=str(report.report_id),
            created_at_ms=time_of(report.report_id),
            reporter_id=str(report.reporter_id),
            user_id=str(report.user_id),
            chat_id=report.chat_id,
            chat_name=chat_name,
            messages=json.loads(report.messages),
            reason=report.reason,
            resolution=report.resolution,
            note=report.note,
            closed_by=str(report.closed_by) if is_closed else None,
            closed_at_ms=report.closed_at_ms if is_closed else None,
        )

    def named_ids(self) -> set[int]:
        """The users in the report."""
        ids = [self.reporter_id, self.user_id, self.closed_by or "0"]
        return {int(each) for each in (*ids, *(one["message"]["sender_id"] for one in self.messages))} - {0}


class Reports(BaseModel):
    """Reports, and the accounts of the users in them. `next` is the `after` of the next page; null on the last."""

    reports: list[Report]
    users: list[Account]
    next: str | None


class UserActor(BaseModel):
    """An admin."""

    user_id: str
    name: str


class CommandActor(BaseModel):
    """The operating system's user that ran a command on a server."""

    command: str


class AuditLogEntry(BaseModel):
    """An action of an admin. `address` is empty for commands."""

    id: str
    at_ms: int
    actor: UserActor | CommandActor
    act: str
    target: str
    detail: str
    address: str

    @classmethod
    def of(cls, entry: AuditEntry) -> "AuditLogEntry":
        actor = entry.actor
        return cls(
            id=entry.entry_id,
            at_ms=entry.at_ms,
            actor=UserActor(user_id=str(actor.user_id), name=actor.name)
            if actor.user_id
            else CommandActor(command=actor.name),
            act=entry.act,
            target=entry.target,
            detail=entry.detail,
            address=actor.address,
        )


class AuditLog(BaseModel):
    """Entries, newest first. `next` is the `before` of the next, older page; null on the last."""

    entries: list[AuditLogEntry]
    next: str | None


def _user(user: accounts.User, status: accounts.AccountStatus) -> dict[str, Any]:
    return {
        "user_id": str(user.user_id),
        "name": user.name,
        "display_name": user.display_name,
        "created_at_ms": user.created_at_ms,
        "is_admin": status.is_admin,
        "suspended_at_ms": status.suspended_at_ms,
        "suspended_reason": status.suspended_reason,
    }


def _value(text: str | None) -> Any:
    """Parse a stored value. Text that is not JSON, as a person may have stored it, is returned as it is."""
    try:
        return None if text is None else json.loads(text)
    except ValueError:
        return text
