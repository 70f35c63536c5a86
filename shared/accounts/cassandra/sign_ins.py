"""Sign-ins on Cassandra. The row in `families` is authoritative; rows that refer to it are written after it and may
outlive it. Each row is deleted by its TTL a day after the sign-in expires.
"""

import math
from collections.abc import Sequence

from shared.accounts.sign_outs import completed
from shared.accounts.store import Family, Rotation, UnconfirmedEnd, may_repeat
from shared.contract.errors import Unavailable
from shared.drivers.cassandra.statements import Statements

KEPT_SECONDS = 24 * 60 * 60
"""How long an expired sign-in is kept: a late client learns that it expired, and clocks may differ."""

MAX_SECONDS = 2 * 365 * 24 * 60 * 60
"""Longest life of a sign-in that is not renewed. Live configuration allows one year; Cassandra allows twenty, but by
default no TTL that ends after January 2038."""

ENDED_AT_ONCE = 100
"""Sign-ins that are ended, and then unlisted, together: a repetition of a call that broke off goes on behind them."""

NO_FAMILY = "-"
"""Replaces an empty id, which Cassandra rejects."""

START_FAMILY = """
    INSERT INTO families (family_id, user_id, device_name, created_at_ms, current_digest, expires_at_ms)
    VALUES (?, ?, ?, ?, ?, ?) IF NOT EXISTS USING TTL ?
"""
# Every column is written, as each has a TTL of its own.
ROTATE_FAMILY = """
    UPDATE families USING TTL ?
    SET user_id = ?, device_name = ?, created_at_ms = ?, refreshed_at_ms = ?, current_digest = ?, expires_at_ms = ?
    WHERE family_id = ? IF current_digest = ?
"""
END_FAMILY = "DELETE FROM families WHERE family_id = ? IF EXISTS"
FAMILY = """
    SELECT family_id, user_id, device_name, created_at_ms, refreshed_at_ms, current_digest, expires_at_ms
    FROM families WHERE family_id = ?
"""
USER_OF_FAMILY = "SELECT user_id FROM families WHERE family_id = ?"
ADD_TOKEN = "INSERT INTO refresh_tokens (digest, family_id) VALUES (?, ?) USING TTL ?"  # noqa: S105 - CQL
FAMILY_OF_TOKEN = "SELECT family_id FROM refresh_tokens WHERE digest = ?"  # noqa: S105 - CQL
ADD_TO_USER = "INSERT INTO families_by_user (user_id, family_id) VALUES (?, ?) USING TTL ?"
REMOVE_FROM_USER = "DELETE FROM families_by_user WHERE user_id = ? AND family_id = ?"
FAMILIES_OF_USER = "SELECT family_id FROM families_by_user WHERE user_id = ?"

SIGN_IN_STATEMENTS = (
    START_FAMILY,
    ROTATE_FAMILY,
    END_FAMILY,
    FAMILY,
    USER_OF_FAMILY,
    ADD_TOKEN,
    FAMILY_OF_TOKEN,
    ADD_TO_USER,
    REMOVE_FROM_USER,
    FAMILIES_OF_USER,
)


class CassandraSignIns:
    """The part of an `AccountStore` for sign-ins."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements

    async def start_family(self, family: Family, token_digest: bytes, expires_at_ms: int) -> None:
        """As in the protocol. The token is not sent before this returns, so rows of an interrupted start are unused."""
        seconds = _seconds(expires_at_ms - family.created_at_ms)
        columns = (family.family_id, family.user_id, family.device_name, family.created_at_ms)
        await self._statements.apply(START_FAMILY, *columns, token_digest, expires_at_ms, seconds)
        await self._add_references(family, token_digest, seconds)

    async def rotate(
        self, old_digest: bytes, new_digest: bytes, *, now_ms: int, expires_at_ms: int
    ) -> Family | Rotation:
        """As in the protocol. A repeat also completes a rotation that was interrupted."""
        found = await self._family_of(old_digest)
        if found is None:
            return Rotation.UNKNOWN
        family, current_digest, ends_at_ms = found
        seconds = _seconds(expires_at_ms - now_ms)
        if current_digest == old_digest:
            if ends_at_ms <= now_ms:
                return Rotation.EXPIRED
            columns = (family.user_id, family.device_name, family.created_at_ms, now_ms, new_digest, expires_at_ms)
            ((applied, *rest),) = await self._statements.run(
                ROTATE_FAMILY, seconds, *columns, family.family_id, old_digest
            )
            current_digest = new_digest if applied else next(iter(rest), None)
            ends_at_ms = expires_at_ms  # if another rotation came first, it did so now
        if current_digest is None:  # the family was ended meanwhile
            return Rotation.UNKNOWN
        if current_digest != new_digest or not may_repeat(ends_at_ms, expires_at_ms):
            await self._end_reused(family)
            return Rotation.REUSED
        await self._add_references(family, new_digest, seconds)
        return family

    async def family_of(self, token_digest: bytes) -> Family | None:
        found = await self._family_of(token_digest)
        return found[0] if found else None

    async def end_family(self, family_id: str) -> None:
        found = await self._family(family_id)
        if found:
            await self._end_or_repeat(found[0])

    async def end_families(self, user_id: int, *, except_family_id: str = "") -> Sequence[str]:
        """As in the protocol. A call that repeats an interrupted one also returns the sign-ins that the first one
        ended, unless that removed their rows by user, too."""
        rows = await self._statements.run(FAMILIES_OF_USER, user_id)
        ended = [family_id for (family_id,) in rows if family_id != except_family_id]
        await self._end(user_id, ended)
        return ended

    async def is_live(self, family_id: str) -> bool:
        return bool(await self._statements.run(USER_OF_FAMILY, family_id or NO_FAMILY))

    async def _family_of(self, digest: bytes) -> tuple[Family, bytes | None, int] | None:
        rows = await self._statements.run(FAMILY_OF_TOKEN, digest)
        return await self._family(rows[0][0]) if rows else None

    async def _family(self, family_id: str) -> tuple[Family, bytes | None, int] | None:
        """Return the sign-in, the digest of its current token, and its expiry."""
        rows = await self._statements.run(FAMILY, family_id)
        if not rows:
            return None
        *columns, current_digest, expires_at_ms = rows[0]
        return family_of_row(*columns), current_digest, expires_at_ms

    async def _add_references(self, family: Family, digest: bytes, seconds: int) -> None:
        """Add the rows by which the sign-in is found from its user and its token."""
        await self._statements.run(ADD_TO_USER, family.user_id, family.family_id, seconds)
        await self._statements.run(ADD_TOKEN, digest, family.family_id, seconds)

    async def _end_reused(self, family: Family) -> None:
        """End a sign-in whose token was reused, also if the caller is cancelled. Raises UnconfirmedEnd: once it has
        ended, a repeated refresh finds no reuse."""
        try:
            with completed():
                await self._end_or_repeat(family)
        except Unavailable as error:
            raise UnconfirmedEnd(family) from error

    async def _end_or_repeat(self, family: Family) -> None:
        """End a sign-in. After a time-out Cassandra may still apply the end; a repeat that is answered settles that."""
        try:
            await self._end(family.user_id, [family.family_id])
        except Unavailable:
            await self._end(family.user_id, [family.family_id])

    async def _end(self, user_id: int, family_ids: Sequence[str]) -> None:
        """End the sign-ins first, and then remove the rows that refer to them: an ended sign-in stays ended."""
        for first in range(0, len(family_ids), ENDED_AT_ONCE):
            some = family_ids[first : first + ENDED_AT_ONCE]
            await self._statements.run_all(END_FAMILY, [(each,) for each in some])
            await self._statements.run_all(REMOVE_FROM_USER, [(user_id, each) for each in some])


def family_of_row(
    family_id: str, user_id: int, device_name: str, created_at_ms: int, refreshed_at_ms: int | None
) -> Family:
    return Family(family_id, user_id, device_name, created_at_ms, refreshed_at_ms or 0)


def _seconds(life_ms: int) -> int:
    """Return the TTL of the rows of a sign-in that expires in this time."""
    return max(1, min(math.ceil(life_ms / 1000) + KEPT_SECONDS, MAX_SECONDS))
