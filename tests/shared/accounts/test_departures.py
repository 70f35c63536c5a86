"""Departure tokens: valid for a deleted account alone, for a minute, and for nothing else."""

from functools import partial
from pathlib import Path

from bff.device_tokens import DeviceTokens
from shared.accounts.departures import LIFETIME_SECONDS, DepartureTokens
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.store import User
from shared.accounts.tokens import Claims, TokenIssuer, TokenVerifier

NOW_MS = 1_800_000_000_000


async def test_a_departure_token_is_valid_for_a_deleted_account_for_a_minute_and_gives_no_access(
    tmp_path: Path,
) -> None:
    async with open_sqlite_accounts(tmp_path / "accounts.db") as accounts:
        await accounts.add_user(User(7, "ada", "Ada", "", 1, 1), "no hash")
        issuer = TokenIssuer(accounts, clock_ms=lambda: NOW_MS)
        departures = DepartureTokens(accounts, issuer.keys, clock_ms=lambda: NOW_MS)
        token = await departures.issue(7)
        assert await departures.verify(token) is None
        await accounts.delete_user(7)
        assert await departures.verify(token) == 7
        assert await departures.verify(await departures.issue(8)) is None
        for age, valid in ((LIFETIME_SECONDS - 1, True), (LIFETIME_SECONDS, False)):
            later = DepartureTokens(accounts, issuer.keys, clock_ms=partial(int, NOW_MS + age * 1000))
            assert (await later.verify(token) is not None) == valid
        access = (await issuer.issue(7, "family", 900)).token
        for other in (access, await DeviceTokens(issuer.keys, clock_ms=lambda: NOW_MS).issue("7", "hash"), "", "a.b.c"):
            assert await departures.verify(other) is None
        assert not isinstance(await TokenVerifier(accounts, clock_ms=lambda: NOW_MS).verify(token), Claims)
