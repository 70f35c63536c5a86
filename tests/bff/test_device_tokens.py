"""Device tokens: valid for one account and password, for a year, and for nothing else."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from bff.device_tokens import AUDIENCE, LIFETIME_SECONDS, DeviceTokens
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.tokens import ISSUER, SigningKeys, TokenIssuer, sign

NOW_MS = 1_800_000_000_000


@pytest.fixture
async def keys(tmp_path: Path) -> AsyncIterator[SigningKeys]:
    async with open_sqlite_accounts(tmp_path / "accounts.db") as accounts:
        yield TokenIssuer(accounts, clock_ms=lambda: NOW_MS).keys


async def test_a_device_token_is_valid_for_its_account_for_a_year(keys: SigningKeys) -> None:
    devices = DeviceTokens(keys, clock_ms=lambda: NOW_MS)
    token = await devices.issue("ada", "hash")
    assert await devices.verify(token, "ada")
    assert await devices.verify(token, "mira") is None
    for age, valid in ((LIFETIME_SECONDS - 1, True), (LIFETIME_SECONDS, False)):
        later = DeviceTokens(keys, clock_ms=partial(int, NOW_MS + age * 1000))
        assert (await later.verify(token, "ada") is not None) == valid


async def test_each_token_has_a_device_id_of_its_own(keys: SigningKeys) -> None:
    devices = DeviceTokens(keys, clock_ms=lambda: NOW_MS)
    found = [await devices.verify(await devices.issue("ada", "hash"), "ada") for _ in range(3)]
    assert len({device.device_id for device in found if device}) == 3


async def test_a_device_knows_the_password_with_which_it_signed_in_and_no_other(keys: SigningKeys) -> None:
    devices = DeviceTokens(keys, clock_ms=lambda: NOW_MS)
    device = await devices.verify(await devices.issue("ada", "hash"), "ada")
    assert device is not None
    assert [device.has_password(password_hash) for password_hash in ("hash", "other", "")] == [True, False, False]
    claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "exp": NOW_MS // 1000 + 60, "jti": "of a former release"}
    assert await devices.verify(await sign(keys, claims), "ada") is None


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "e30.e30.e30", "x" * 3_000])
async def test_another_text_is_no_device_token(keys: SigningKeys, token: str) -> None:
    assert await DeviceTokens(keys, clock_ms=lambda: NOW_MS).verify(token, "ada") is None


async def test_an_access_token_is_no_device_token(tmp_path: Path) -> None:
    async with open_sqlite_accounts(tmp_path / "accounts.db") as accounts:
        issuer = TokenIssuer(accounts, clock_ms=lambda: NOW_MS)
        access = await issuer.issue(7, "family", 900)
        assert await DeviceTokens(issuer.keys, clock_ms=lambda: NOW_MS).verify(access.token, "7") is None
