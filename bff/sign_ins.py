"""Sign-ins: start, renew and end them. The end of a sign-in also ends its sessions at every gateway."""

from collections.abc import Sequence
from typing import assert_never

from bff.models.accounts import Tokens, User
from bff.services import Services
from shared.accounts import store as accounts
from shared.accounts import tokens
from shared.accounts.sign_outs import ALL_SIGN_INS, announce_or_log, completed
from shared.accounts.store import AccountStatus, Family, Rotation, UnconfirmedEnd
from shared.contract.errors import Code, Refusal

DAY_MS = 24 * 60 * 60 * 1000

WRONG_CREDENTIALS = Refusal(Code.UNAUTHENTICATED, "The name or the password is wrong.")
"""Does not disclose which of the two is wrong."""


class SignIns:
    """Families of refresh tokens, and the access tokens of each family."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def start(self, user: accounts.User, password_hash: str, device_name: str) -> Tokens | Refusal:
        """Start a sign-in of this user, whose password was verified against this hash.

        A change of the password ends the sign-ins that have started before. One that starts after the change, because
        its password was verified before, is ended here.
        """
        store = self._services.accounts
        status = await self._status(user.user_id)
        if status.is_suspended:
            return tokens.SUSPENDED
        family = Family(tokens.new_family_id(), user.user_id, device_name, self._services.clock_ms())
        refresh_token = tokens.new_refresh_token()
        await store.start_family(family, tokens.digest(refresh_token), self._ends_at_ms())
        if await store.password_hash(user.user_id) != password_hash:
            await store.end_family(family.family_id)
            return WRONG_CREDENTIALS
        return await self._tokens(user, status, family.family_id, refresh_token)

    async def renew(self, refresh_token: str) -> Tokens | Refusal:
        """Exchange a refresh token for new tokens.

        A second use within REUSE_GRACE_MS is a retry, and returns the same refresh token. Any other second use may be a
        theft, so the sign-in ends.
        """
        store = self._services.accounts
        fresh = await tokens.next_refresh_token(self._services.issuer.keys, refresh_token)
        old_digest = tokens.digest(refresh_token)
        family = await store.family_of(old_digest)
        if family is not None and (await self._status(family.user_id)).is_suspended:
            return tokens.SUSPENDED
        with completed():
            try:
                rotation = await store.rotate(
                    old_digest, tokens.digest(fresh), now_ms=self._services.clock_ms(), expires_at_ms=self._ends_at_ms()
                )
            except UnconfirmedEnd as error:  # a repeated refresh may find no reuse to announce
                await self._announce(error.family.user_id, [error.family.family_id])
                raise
            if rotation is Rotation.REUSED and family is not None:
                await self._announce(family.user_id, [family.family_id])
        match rotation:
            case Rotation.UNKNOWN:
                return Refusal(Code.UNAUTHENTICATED, "This sign-in has ended: sign in again.", field="refresh_token")
            case Rotation.EXPIRED:
                return Refusal(Code.UNAUTHENTICATED, "This sign-in has expired: sign in again.", field="refresh_token")
            case Rotation.REUSED:
                message = "This token was used before, so its sign-in has been ended: sign in again."
                return Refusal(Code.UNAUTHENTICATED, message, field="refresh_token")
            case Family(family_id=family_id, user_id=user_id):
                (user,) = await store.users([user_id])
                return await self._tokens(user, await self._status(user_id), family_id, fresh)
            case _:
                assert_never(rotation)

    async def end(self, user_id: int, family_id: str) -> None:
        """End a sign-in, also if the caller is cancelled."""
        with completed():
            try:
                await self._services.accounts.end_family(family_id)
            finally:  # after a lost answer too: a repeated request would find no sign-in, and leave its sessions
                await self._announce(user_id, [family_id])

    async def end_others(self, user_id: int, kept_family_id: str) -> None:
        """End all other sign-ins of the user, also if the caller is cancelled.

        After a lost answer some may have ended, which a repeated request would not name: so all sessions end, and the
        clients of the sign-in that is kept connect again.
        """
        ended: Sequence[str] = ALL_SIGN_INS
        with completed():
            try:
                ended = await self._services.accounts.end_families(user_id, except_family_id=kept_family_id)
            finally:
                await self._announce(user_id, ended)

    async def _announce(self, user_id: int, family_ids: Sequence[str]) -> None:
        await announce_or_log(self._services.publisher, user_id, family_ids)

    async def _status(self, user_id: int) -> AccountStatus:
        return (await self._services.accounts.account_statuses([user_id]))[user_id]

    async def _tokens(self, user: accounts.User, status: AccountStatus, family_id: str, refresh_token: str) -> Tokens:
        access = await self._services.issuer.issue(
            user.user_id, family_id, self._services.live.value.access_token_seconds
        )
        return Tokens(
            access_token=access.token,
            access_token_expires_at_ms=str(access.expires_at_ms),
            refresh_token=refresh_token,
            user=User.of(user, is_admin=status.is_admin),
        )

    def _ends_at_ms(self) -> int:
        return self._services.clock_ms() + self._services.live.value.refresh_token_days * DAY_MS
