"""The admin API: `/v1/admin`. Every request reads in the store whether its user is an admin."""

import json
import secrets
from collections.abc import Collection, Mapping, Sequence

import trio
from quart import request
from werkzeug.routing import BaseConverter

from bff.admin import models
from bff.deletions import Deletions
from bff.files.models import Link, WantedReportedFile
from bff.files.reported import ReportedFiles
from bff.http.endpoints import Response, endpoint
from bff.http.proxy_headers import audited_address, client_address
from bff.models.accounts import MAX_SIGN_INS
from bff.services import Services, administration_of
from rookery.v1.archive_pb2 import GetGroupRequest
from shared.accounts.audit import Actor
from shared.accounts.people import Resolution
from shared.accounts.store import AccountStatus, User, batches
from shared.accounts.tokens import Claims
from shared.contract.chats import is_group
from shared.contract.errors import Code, Refusal

NAMES_SECONDS = 1.0
"""How long a list of reports waits for the names of the groups in it."""


class SettingKey(BaseConverter):
    """A key in a path. `history` is none: its path has a meaning of its own, and other methods."""

    regex = "(?!history$)[^/]+"


class Admin:
    """Read the processes and the audit log, change the live configuration, and manage users, invites and reports."""

    def __init__(self, services: Services, deletions: Deletions, reported: ReportedFiles) -> None:
        self._services = services
        self._deletions = deletions
        self._reported = reported
        self._administration = administration_of(services)

    @endpoint("GET", "/v1/admin/processes", models.Processes)
    async def list_processes(self, admin: Claims) -> Response | Refusal:
        """Every process with its readiness, sessions, partitions and lag."""
        reports = list(await self._services.processes.all())
        partitions = self._services.publisher.partitions
        return Response(models.Processes.of(reports, partitions, self._services.clock_ms()))

    # ---- live configuration

    @endpoint("GET", "/v1/admin/configuration", models.Configuration)
    async def list_configuration(self, admin: Claims) -> Response | Refusal:
        """Every key of the live configuration, with its value and its bounds."""
        settings = await self._administration.settings()
        return Response(models.Configuration(values=[models.ConfigurationValue.of(each) for each in settings]))

    @endpoint("PUT", "/v1/admin/configuration/<setting:key>", status=204)
    async def set_configuration(self, admin: Claims, key: str, body: models.NewValue) -> Response | Refusal:
        """Set a key. Running processes apply it within a second."""
        actor = await self._actor(admin)
        value = await self._administration.set_configuration(actor, key, json.dumps(body.value))
        return value if isinstance(value, Refusal) else Response()

    @endpoint("DELETE", "/v1/admin/configuration/<setting:key>", status=204)
    async def unset_configuration(self, admin: Claims, key: str) -> Response | Refusal:
        """Reset a key to its default."""
        return await self._administration.unset_configuration(await self._actor(admin), key) or Response()

    @endpoint("GET", "/v1/admin/configuration/history", models.ConfigurationHistory)
    async def list_configuration_history(self, admin: Claims, query: models.HistoryQuery) -> Response | Refusal:
        """The changes of the live configuration with their authors, newest first."""
        changes = await self._services.configuration.history(limit=query.limit + 1, before=query.before)
        page = [models.ConfigurationChange.of(change) for change in changes[: query.limit]]
        more = len(changes) > query.limit
        return Response(models.ConfigurationHistory(changes=page, next=page[-1].id if more else None))

    # ---- users

    @endpoint("GET", "/v1/admin/users", models.Accounts)
    async def find_accounts(self, admin: Claims, query: models.UsersQuery) -> Response | Refusal:
        """The accounts whose name contains `part`, sorted by name, 100 at most; or the account with `user_id`, if it
        exists; or all accounts, page by page, the newest first. A page may be shorter than its limit.
        """
        accounts, next_cursor = self._services.accounts, None
        match query.part, query.user_id:
            case str(part), None:
                users = await accounts.find_users(part, after_name="", limit=models.MAX_USERS)
            case None, int(user_id):
                users = [user for user in await accounts.users([user_id]) if not user.is_deleted]
            case None, None:
                listed = await accounts.list_users(after_id=query.cursor, limit=query.limit + 1)
                page = listed[: query.limit]
                next_cursor = str(page[-1].user_id) if len(listed) > query.limit else None
                users = [user for user in page if not user.is_deleted]
            case _:
                return Refusal(Code.INVALID, "Give `part` or `user_id`, not both.", field="part")
        statuses = await accounts.account_statuses([user.user_id for user in users])
        found = [models.Account.of(user, statuses[user.user_id]) for user in users]
        return Response(models.Accounts(users=found, next=next_cursor))

    @endpoint("POST", "/v1/admin/users", models.CreatedAccount, status=201)
    async def create_account(self, admin: Claims, body: models.NewAccount) -> Response | Refusal:
        """Create an account for another user. The user sets the password with the returned link."""
        services = self._services
        user = User.new(await services.ids.next(), body.name, body.display_name, services.clock_ms())
        actor = await self._actor(admin)
        unknown_password = await services.passwords.hash(secrets.token_urlsafe(), client_address(request))
        if refusal := await self._administration.add_user(actor, user, unknown_password):
            return refusal
        reset = await self._administration.reset_password(actor, user)
        if isinstance(reset, Refusal):
            return reset
        account = models.Account.of(user, AccountStatus())
        return Response(models.CreatedAccount(user=account, password_reset=models.ResetLink.of(reset)), status=201)

    @endpoint("DELETE", "/v1/admin/users/<user_id>", status=204)
    async def delete_account(self, admin: Claims, user_id: int) -> Response | Refusal:
        """Delete an account for ever. Its chats stay with their other members; it leaves its groups, of which another
        member becomes the owner. An admin can't be deleted. After `timed_out` the deletion goes on. Repeating it takes
        the account out of groups that are left.
        """
        users = await self._services.accounts.users([user_id])
        if not users:
            return _no_user(user_id)
        return await self._deletions.delete(await self._actor(admin), users[0]) or Response()

    @endpoint("POST", "/v1/admin/users/<user_id>/password-reset", models.ResetLink, status=201)
    async def create_password_reset(self, admin: Claims, user_id: int) -> Response | Refusal:
        """Make the link with which a user sets a new password, once, within a day. It replaces an earlier one."""
        user = await self._user(user_id)
        if isinstance(user, Refusal):
            return user
        reset = await self._administration.reset_password(await self._actor(admin), user)
        return reset if isinstance(reset, Refusal) else Response(models.ResetLink.of(reset), status=201)

    @endpoint("GET", "/v1/admin/users/<user_id>", models.AccountDetails)
    async def get_account(self, admin: Claims, user_id: int) -> Response | Refusal:
        """One account, with its sign-ins."""
        user = await self._user(user_id)
        if isinstance(user, Refusal):
            return user
        accounts = self._services.accounts
        status = (await accounts.account_statuses([user_id]))[user_id]
        now_ms = self._services.clock_ms()
        families = await accounts.families(user_id, now_ms=now_ms, limit=MAX_SIGN_INS)
        live = [] if status.is_suspended else list(families)  # a suspension ends them all
        return Response(models.AccountDetails.with_sign_ins(user, status, live))

    @endpoint("PUT", "/v1/admin/users/<user_id>/suspension", status=204)
    async def suspend_user(self, admin: Claims, user_id: int, body: models.Suspension) -> Response | Refusal:
        """Suspend a user, which ends all sign-ins. An admin can't be suspended."""
        user = await self._user(user_id)
        if isinstance(user, Refusal):
            return user
        return await self._administration.suspend(await self._actor(admin), user, body.reason) or Response()

    @endpoint("DELETE", "/v1/admin/users/<user_id>/suspension", status=204)
    async def restore_user(self, admin: Claims, user_id: int) -> Response | Refusal:
        """Lift the suspension of a user, who may then sign in again."""
        user = await self._user(user_id)
        if isinstance(user, Refusal):
            return user
        await self._administration.restore(await self._actor(admin), user)
        return Response()

    @endpoint("DELETE", "/v1/admin/users/<user_id>/sign-ins", status=204)
    async def sign_out_user(self, admin: Claims, user_id: int) -> Response | Refusal:
        """End all sign-ins of a user, and with them all sessions."""
        user = await self._user(user_id)
        if isinstance(user, Refusal):
            return user
        await self._administration.sign_out(await self._actor(admin), user)
        return Response()

    # ---- invites

    @endpoint("GET", "/v1/admin/invites", models.Invites)
    async def list_invites(self, admin: Claims) -> Response | Refusal:
        """The invites that have not expired."""
        invites = await self._administration.invites()
        return Response(models.Invites(invites=[models.SignUpInvite.of(each) for each in invites]))

    @endpoint("POST", "/v1/admin/invites", models.CreatedInvite, status=201)
    async def create_invite(self, admin: Claims, body: models.NewInvite) -> Response | Refusal:
        """Make a link with which accounts can be created; 100 at once at most."""
        created = await self._administration.create_invite(await self._actor(admin), uses=body.uses, days=body.days)
        if isinstance(created, Refusal):
            return created
        return Response(
            models.CreatedInvite(invite=models.SignUpInvite.of(created.invite), token=created.token), status=201
        )

    @endpoint("DELETE", "/v1/admin/invites/<invite_id>", status=204)
    async def revoke_invite(self, admin: Claims, invite_id: str) -> Response | Refusal:
        """Make the link of an invite invalid. Accounts that were created with it stay."""
        return await self._administration.revoke_invite(await self._actor(admin), invite_id) or Response()

    # ---- reports

    @endpoint("GET", "/v1/admin/reports", models.Reports)
    async def list_reports(self, admin: Claims, query: models.ReportsQuery) -> Response | Refusal:
        """Reports of users by others, with the messages as they were reported."""
        is_open = query.state == "open"
        stored = await self._services.accounts.reports(is_open=is_open, after=query.after, limit=query.limit + 1)
        names = await self._group_names({each.chat_id for each in stored[: query.limit]})
        reports = [models.Report.of(each, names.get(each.chat_id, "")) for each in stored[: query.limit]]
        users = await self._accounts_of(sorted(set().union(*(report.named_ids() for report in reports))))
        next_after = reports[-1].report_id if len(stored) > query.limit else None
        return Response(models.Reports(reports=reports, users=users, next=next_after))

    @endpoint("POST", "/v1/admin/reports/<report_id>", status=204)
    async def close_report(self, admin: Claims, report_id: int, body: models.ReportEnd) -> Response | Refusal:
        """Close an open report. To suspend the reported user is a request of its own."""
        resolution = Resolution(body.resolution)
        return await self._administration.close_report(await self._actor(admin), report_id, resolution, body.note) or (
            Response()
        )

    @endpoint("POST", "/v1/admin/reports/<report_id>/links", Link)
    async def open_reported_file(self, admin: Claims, report_id: int, body: WantedReportedFile) -> Response | Refusal:
        """Make a link of a file of an open report, for this admin and sign-in. The audit log has the first one of each
        file. The link ends with the report, and with the deletion of the message.
        """
        link = await self._reported.open(admin, await self._actor(admin), report_id, body)
        return link if isinstance(link, Refusal) else Response(link)

    # ---- audit

    @endpoint("GET", "/v1/admin/audit", models.AuditLog)
    async def list_audit(self, admin: Claims, query: models.AuditQuery) -> Response | Refusal:
        """The actions of admins, newest first."""
        entries = await self._services.accounts.audit_entries(limit=query.limit + 1, before=query.before or "")
        page = [models.AuditLogEntry.of(entry) for entry in entries[: query.limit]]
        return Response(models.AuditLog(entries=page, next=page[-1].id if len(entries) > query.limit else None))

    async def _group_names(self, chat_ids: Collection[str]) -> Mapping[str, str]:
        """The names of the groups among these chats, as far as the archive returns them within NAMES_SECONDS."""
        names: dict[str, str] = {}

        async def read(chat_id: str) -> None:
            found = await self._services.archive.get_group(GetGroupRequest(chat_id=chat_id))
            if not isinstance(found, Refusal):
                names[chat_id] = found.group.settings.name

        with trio.move_on_after(NAMES_SECONDS):
            async with trio.open_nursery() as nursery:
                for chat_id in filter(is_group, chat_ids):
                    nursery.start_soon(read, chat_id)
        return names

    async def _accounts_of(self, user_ids: Sequence[int]) -> list[models.Account]:
        """The accounts of these users, deleted ones too."""
        accounts, found = self._services.accounts, []
        for ids in batches(user_ids):
            statuses = await accounts.account_statuses(ids)
            found += [models.Account.of(user, statuses[user.user_id]) for user in await accounts.users(ids)]
        return found

    async def _user(self, user_id: int) -> User | Refusal:
        """The user; a Refusal if there is none, or if the account was deleted."""
        users = await self._services.accounts.users([user_id])
        return users[0] if users and not users[0].is_deleted else _no_user(user_id)

    async def _actor(self, admin: Claims) -> Actor:
        (user,) = await self._services.accounts.users([admin.user_id])
        return Actor(user.user_id, user.name, audited_address(request))


def _no_user(user_id: int) -> Refusal:
    return Refusal(Code.NOT_FOUND, f"There is no user {user_id}.", field="user_id")
