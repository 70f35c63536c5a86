"""Invites and password resets on Cassandra: a part of `shared.accounts.cassandra.store`."""

from collections.abc import Sequence

from shared.accounts.cassandra.admin import CassandraAdministration
from shared.accounts.links import Invite

INVITES = """
    SELECT invite_id, created_by, created_at_ms, expires_at_ms, uses, uses_left FROM invites WHERE all_invites = 0
"""
INVITE = """
    SELECT expires_at_ms, uses, uses_left, digest FROM invites WHERE all_invites = 0 AND invite_id = ?
"""
ADD_INVITE = """
    INSERT INTO invites (all_invites, invite_id, created_by, created_at_ms, expires_at_ms, uses, uses_left, digest)
    VALUES (0, ?, ?, ?, ?, ?, ?, ?) IF NOT EXISTS
"""
SET_USES_LEFT = "UPDATE invites SET uses_left = ? WHERE all_invites = 0 AND invite_id = ? IF uses_left = ?"
REMOVE_INVITE = "DELETE FROM invites WHERE all_invites = 0 AND invite_id = ? IF EXISTS"
SET_RESET = "UPDATE password_resets SET digest = ?, expires_at_ms = ? WHERE user_id = ? IF digest != ?"
REMOVE_RESET = "DELETE FROM password_resets WHERE user_id = ? IF digest != null"
USE_RESET = "DELETE FROM password_resets WHERE user_id = ? IF digest = ? AND expires_at_ms > ?"

LINK_STATEMENTS = (
    INVITES,
    INVITE,
    ADD_INVITE,
    SET_USES_LEFT,
    REMOVE_INVITE,
    SET_RESET,
    REMOVE_RESET,
    USE_RESET,
)


class CassandraLinks(CassandraAdministration):
    """The part of an `AccountStore` for invites and password resets."""

    async def add_invite(self, invite: Invite, digest: bytes) -> None:
        for each in await self._invites():
            if each.expires_at_ms <= invite.created_at_ms:
                await self.revoke_invite(each.invite_id)
        columns = (invite.invite_id, invite.created_by, invite.created_at_ms, invite.expires_at_ms)
        await self._statements.apply(ADD_INVITE, *columns, invite.uses, invite.uses_left, digest)

    async def invites(self, *, now_ms: int) -> Sequence[Invite]:
        return [invite for invite in await self._invites() if invite.expires_at_ms > now_ms]

    async def use_invite(self, invite_id: str, digest: bytes, *, now_ms: int) -> bool:
        while True:  # once more for each use that another process takes meanwhile
            rows = await self._statements.run(INVITE, invite_id)
            expires_at_ms, _, uses_left, stored_digest = rows[0] if rows else (0, 0, 0, b"")
            if stored_digest != digest or expires_at_ms <= now_ms or uses_left <= 0:
                return False
            if await self._statements.apply(SET_USES_LEFT, uses_left - 1, invite_id, uses_left):
                return True

    async def return_use(self, invite_id: str) -> None:
        while rows := await self._statements.run(INVITE, invite_id):
            _, uses, uses_left, _ = rows[0]
            if uses_left >= uses or await self._statements.apply(SET_USES_LEFT, uses_left + 1, invite_id, uses_left):
                return

    async def revoke_invite(self, invite_id: str) -> bool:
        return await self._statements.apply(REMOVE_INVITE, invite_id)

    async def add_password_reset(self, user_id: int, digest: bytes, expires_at_ms: int) -> None:
        await self._statements.apply(SET_RESET, digest, expires_at_ms, user_id, digest)

    async def use_password_reset(self, user_id: int, digest: bytes, *, now_ms: int) -> bool:
        return await self._statements.apply(USE_RESET, user_id, digest, now_ms)

    async def _invites(self) -> Sequence[Invite]:
        found = [Invite(*row) for row in await self._statements.run(INVITES)]
        return sorted(found, key=lambda invite: (-invite.created_at_ms, invite.invite_id))
