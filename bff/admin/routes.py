"""What admins see and do: `/v1/admin`. Each request asks the store whether its user is one."""

import json

from quart import request

from bff.admin import models
from bff.http.endpoints import Answer, endpoint
from bff.http.proxy_headers import client_address
from bff.services import Services
from shared.accounts.administration import Administration
from shared.accounts.audit import Actor
from shared.accounts.sign_outs import ALL_SIGN_INS, announce_or_log
from shared.accounts.store import User
from shared.accounts.tokens import Claims
from shared.contract.errors import Code, Refusal


class Admin:
    """See the processes and the audit log, change the live configuration, and suspend or sign out users."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._administration = Administration(
            services.accounts, services.configuration, self._announce, clock_ms=services.clock_ms
        )

    @endpoint("GET", "/v1/admin/processes", models.Processes)
    async def list_processes(self, admin: Claims) -> Answer | Refusal:
        """Every process: how it is, its sessions, its partitions and how far behind it is."""
        reports = list(await self._services.processes.all())
        partitions = self._services.publisher.partitions
        return Answer(models.Processes.of(reports, partitions, self._services.clock_ms()))

    # ---- live configuration

    @endpoint("GET", "/v1/admin/configuration", models.Configuration)
    async def list_configuration(self, admin: Claims) -> Answer | Refusal:
        """Every key of the live configuration, with its value and its bounds."""
        settings = await self._administration.settings()
        return Answer(models.Configuration(values=[models.ConfigurationValue.of(each) for each in settings]))

    @endpoint("PUT", "/v1/admin/configuration/<key>", status=204)
    async def set_configuration(self, admin: Claims, key: str, body: models.NewValue) -> Answer | Refusal:
        """Set a key. Running processes have it within a second."""
        actor = await self._actor(admin)
        value = await self._administration.set_configuration(actor, key, json.dumps(body.value))
        return value if isinstance(value, Refusal) else Answer()

    @endpoint("DELETE", "/v1/admin/configuration/<key>", status=204)
    async def unset_configuration(self, admin: Claims, key: str) -> Answer | Refusal:
        """Let the default of a key hold again."""
        return await self._administration.unset_configuration(await self._actor(admin), key) or Answer()

    @endpoint("GET", "/v1/admin/configuration/history", models.ConfigurationHistory)
    async def list_configuration_history(self, admin: Claims, query: models.HistoryQuery) -> Answer | Refusal:
        """Who changed what in the live configuration, the newest first."""
        changes = await self._services.configuration.history(limit=query.limit + 1, before=query.before)
        page = [models.ConfigurationChange.of(change) for change in changes[: query.limit]]
        more = len(changes) > query.limit
        return Answer(models.ConfigurationHistory(changes=page, next=page[-1].id if more else None))

    # ---- users

    @endpoint("GET", "/v1/admin/users", models.Accounts)
    async def find_accounts(self, admin: Claims, query: models.UsersQuery) -> Answer | Refusal:
        """The accounts with a part of a name, by name; or the one with this id, if there is one."""
        accounts = self._services.accounts
        match query.part, query.user_id:
            case str(part), None:
                users = await accounts.find_users(part, after_name="", limit=models.MAX_USERS)
            case None, int(user_id):
                users = await accounts.users([user_id])
            case _:
                return Refusal(Code.INVALID, "Give either `part` or `user_id`.", field="part")
        standings = await accounts.standings([user.user_id for user in users])
        return Answer(models.Accounts(users=[models.Account.of(user, standings[user.user_id]) for user in users]))

    @endpoint("GET", "/v1/admin/users/<user_id>", models.AccountDetails)
    async def get_account(self, admin: Claims, user_id: int) -> Answer | Refusal:
        """One account, with its sign-ins."""
        user = await self._user(user_id)
        if isinstance(user, Refusal):
            return user
        accounts = self._services.accounts
        standing = (await accounts.standings([user_id]))[user_id]
        now_ms = self._services.clock_ms()
        families = await accounts.families(user_id, now_ms=now_ms, limit=models.MAX_SIGN_INS)
        live = [] if standing.is_suspended else list(families)  # those of a suspended user count no more
        return Answer(models.AccountDetails.with_sign_ins(user, standing, live))

    @endpoint("PUT", "/v1/admin/users/<user_id>/suspension", status=204)
    async def suspend_user(self, admin: Claims, user_id: int, body: models.Suspension) -> Answer | Refusal:
        """Let a user in no more, from now on. An admin can't be suspended."""
        user = await self._user(user_id)
        if isinstance(user, Refusal):
            return user
        return await self._administration.suspend(await self._actor(admin), user, body.reason) or Answer()

    @endpoint("DELETE", "/v1/admin/users/<user_id>/suspension", status=204)
    async def restore_user(self, admin: Claims, user_id: int) -> Answer | Refusal:
        """Let a user in again, who signs in anew."""
        user = await self._user(user_id)
        if isinstance(user, Refusal):
            return user
        await self._administration.restore(await self._actor(admin), user)
        return Answer()

    @endpoint("DELETE", "/v1/admin/users/<user_id>/sign-ins", status=204)
    async def sign_out_user(self, admin: Claims, user_id: int) -> Answer | Refusal:
        """Sign a user out everywhere. All of their sessions end at once."""
        user = await self._user(user_id)
        if isinstance(user, Refusal):
            return user
        await self._administration.sign_out(await self._actor(admin), user)
        return Answer()

    # ---- audit

    @endpoint("GET", "/v1/admin/audit", models.AuditLog)
    async def list_audit(self, admin: Claims, query: models.AuditQuery) -> Answer | Refusal:
        """What admins did, the newest first."""
        entries = await self._services.accounts.audit_entries(limit=query.limit + 1, before=query.before or "")
        page = [models.AuditLogEntry.of(entry) for entry in entries[: query.limit]]
        return Answer(models.AuditLog(entries=page, next=page[-1].id if len(entries) > query.limit else None))

    async def _announce(self, user_id: int) -> None:
        await announce_or_log(self._services.publisher, user_id, ALL_SIGN_INS)

    async def _user(self, user_id: int) -> User | Refusal:
        users = await self._services.accounts.users([user_id])
        return users[0] if users else Refusal(Code.NOT_FOUND, f"There is no user {user_id}.", field="user_id")

    async def _actor(self, admin: Claims) -> Actor:
        (user,) = await self._services.accounts.users([admin.user_id])
        return Actor(user.user_id, user.name, client_address(request))
