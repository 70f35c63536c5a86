"""Passwords, access tokens and refresh tokens: which are accepted, and which are refused."""

import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import argon2
import pytest
import trio
from joserfc import jwt
from joserfc.jwk import OctKey, OKPKey
from trio.testing import MockClock

from shared.accounts import tokens as auth
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.store import AccountStore, Family, SigningKey, User
from shared.accounts.tokens import Claims, PasswordHasher, SigningKeys, TokenIssuer, TokenVerifier
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import MAX_ID

NOW_MS = 1_800_000_000_000
FAST = argon2.Parameters(
    argon2.Type.ID, argon2.low_level.ARGON2_VERSION, 16, 32, time_cost=1, memory_cost=8, parallelism=1
)


class Clock:
    """A wall clock that is set by hand, in milliseconds since 1970."""

    def __init__(self) -> None:
        self.now_ms = NOW_MS

    def __call__(self) -> int:
        return self.now_ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def accounts(tmp_path: Path) -> AsyncIterator[AccountStore]:
    """A store in which user 7 has the sign-in `family`."""
    async with open_sqlite_accounts(tmp_path / "accounts.db") as store:
        await store.add_user(User(7, "seven", "Seven", "", 1, NOW_MS), "hash")
        await store.start_family(Family("family", 7, "", NOW_MS), b"digest", NOW_MS + 10**9)
        yield store


@pytest.fixture
def issuer(accounts: AccountStore, clock: Clock) -> TokenIssuer:
    return TokenIssuer(accounts, clock_ms=clock)


@pytest.fixture
def verifier(accounts: AccountStore, clock: Clock) -> TokenVerifier:
    return TokenVerifier(accounts, clock_ms=clock)


# ---- passwords


async def test_only_the_right_password_matches_however_a_keyboard_composes_it() -> None:
    passwords = PasswordHasher(FAST)
    hashed = await passwords.hash("caf\u00e9 au lait")
    assert hashed != await passwords.hash("caf\u00e9 au lait")
    assert await passwords.verify(hashed, "caf\u00e9 au lait")
    assert await passwords.verify(hashed, "cafe\u0301 au lait")
    for wrong in ("caf\u00e9 au lai", "Caf\u00e9 au lait", "caf\u00e9 au lait ", "", "caf\u00e9 au lait\0"):
        assert not await passwords.verify(hashed, wrong), wrong


async def test_hashes_are_argon2id_with_the_documented_work() -> None:
    assert (await PasswordHasher().hash("correct horse")).startswith("$argon2id$v=19$m=19456,t=2,p=1$")


async def test_an_unknown_name_costs_a_hash_too_and_never_matches(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = PasswordHasher(FAST)
    checked: list[str] = []
    verify = argon2.PasswordHasher.verify

    def count(self: argon2.PasswordHasher, password_hash: str, password: str) -> bool:
        checked.append(repr(argon2.extract_parameters(password_hash)))
        return verify(self, password_hash, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", count)
    for password_hash in (await passwords.hash("correct horse"), None):
        assert not await passwords.verify(password_hash, "wrong password")
    assert len(checked) == 2
    assert checked[0] == checked[1]


async def test_a_crowd_of_passwords_is_refused_instead_of_queued(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MAX_WAITING_HASHES", 3)
    passwords = PasswordHasher(FAST)
    refused = 0

    async def hash_one() -> None:
        nonlocal refused
        try:
            await passwords.hash("correct horse")
        except Unavailable:
            refused += 1

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(hash_one)
    assert refused == 10 - auth.HASHES_AT_ONCE - 3


async def test_passwords_of_one_client_leave_room_in_the_queue_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auth, "MAX_HASHES_OF_CLIENT", 3)
    passwords = PasswordHasher(FAST)
    results: list[tuple[str, bool]] = []

    async def hash_one(client: str) -> None:
        try:
            await passwords.hash("correct horse", client)
        except Unavailable:
            results.append((client, False))
        else:
            results.append((client, True))

    for _ in range(2):
        results.clear()
        async with trio.open_nursery() as nursery:
            for client in ["one"] * 5 + ["other"] * 2 + [""] * 5:
                nursery.start_soon(hash_one, client)
        assert Counter(results) == {("one", True): 3, ("one", False): 2, ("other", True): 2, ("", True): 5}


# ---- access tokens


async def test_each_issued_token_is_new_and_has_the_claims_of_its_user(
    issuer: TokenIssuer, verifier: TokenVerifier
) -> None:
    access, other = await issuer.issue(7, "family", 900), await issuer.issue(7, "family", 900)
    assert access.token != other.token
    assert access.expires_at_ms == NOW_MS + 900_000
    assert await verifier.verify(access.token) == Claims(7, "family", access.expires_at_ms)


async def test_a_token_ends_at_its_time(issuer: TokenIssuer, verifier: TokenVerifier, clock: Clock) -> None:
    access = await issuer.issue(7, "family", 900)
    clock.now_ms = access.expires_at_ms - 1
    assert isinstance(await verifier.verify(access.token), Claims)
    clock.now_ms = access.expires_at_ms
    refusal = await verifier.verify(access.token)
    assert refusal == Refusal(Code.UNAUTHENTICATED, "The access token has expired: refresh it.")


async def test_a_token_ends_with_its_sign_in(
    issuer: TokenIssuer, verifier: TokenVerifier, accounts: AccountStore
) -> None:
    access = await issuer.issue(7, "family", 900)
    await accounts.end_family("family")
    refusal = await verifier.verify(access.token)
    assert refusal == Refusal(Code.UNAUTHENTICATED, "This sign-in has ended: sign in again.")


DEEP = base64.urlsafe_b64encode(b"[" * 1_500).decode()


def encode(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


GOOD: dict[str, Any] = {"iss": "rookery", "sub": "7", "sid": "family", "exp": NOW_MS // 1000 + 900}


async def refused(verifier: TokenVerifier, token: str) -> bool:
    result = await verifier.verify(token)
    return isinstance(result, Refusal) and result.code is Code.UNAUTHENTICATED


async def test_a_forged_token_is_refused(issuer: TokenIssuer, verifier: TokenVerifier) -> None:
    key_id, key = await issuer.keys.newest()
    for algorithm in ("none", "None", "NONE", ""):
        assert await refused(verifier, f"{encode({'alg': algorithm, 'kid': key_id})}.{encode(GOOD)}."), "unsigned"
    secret = OctKey.import_key({"kty": "oct", "k": key.as_dict(private=False)["x"]})
    mine = OKPKey.generate_key("Ed25519")
    for signing_key, header, attack in (
        (secret, {"alg": "HS256", "kid": key_id}, "signed with the public key as a secret"),
        (mine, {"alg": "Ed25519", "kid": key_id}, "signed with another key by the same id"),
        (mine, {"alg": "Ed25519", "jwk": mine.as_dict(private=False)}, "signed with a key that it brings along"),
    ):
        token = jwt.encode(header, GOOD, signing_key, algorithms=[str(header["alg"])])
        assert await refused(verifier, token), attack
    access = (await issuer.issue(7, "family", 900)).token
    head, _, signature = access.split(".")
    for changed in (f"{head}.{encode({**GOOD, 'sub': '8'})}.{signature}", access[:-4], access + "A"):
        assert await refused(verifier, changed)
    for extensions in (1, None, True, [1], [[1]], [], ["b64"], {"a": 1}):  # RFC 7515, 4.1.11
        critical = encode({"alg": "Ed25519", "kid": key_id, "crit": extensions})
        assert await refused(verifier, f"{critical}.{encode({})}.x"), extensions


@pytest.mark.parametrize(
    "token",
    [
        "", ".", "..", "a.b.c", "e30.e30.e30", "x" * 3_000, "ä.ö.ü", "\ud800", "null", '{"a":1}', encode([]) + "..",
        "a" * 2048, f"{DEEP}.e30.e30", encode("alg") + ".e30.x", encode(["alg"]) + ".e30.x",
    ],
)  # fmt: skip
async def test_any_other_text_is_refused(verifier: TokenVerifier, token: str) -> None:
    assert await refused(verifier, token)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": "another"}, {"iss": None}, {"sub": "0"}, {"sub": "-1"}, {"sub": str(MAX_ID + 1)}, {"sub": 7},
        {"sub": "7x"}, {"sub": "\u0667"}, {"sub": "9" * 5_000}, {"sid": None}, {"sid": 3}, {"exp": "tomorrow"},
        {"exp": None}, {"exp": 1e300}, {"sid": "no such sign-in"},
        {"sub": "8"}, {"nbf": "today"}, {"nbf": NOW_MS // 1000 + 1},
    ],
)  # fmt: skip
async def test_claims_that_we_never_make_are_refused(
    issuer: TokenIssuer, verifier: TokenVerifier, change: dict[str, Any]
) -> None:
    key_id, key = await issuer.keys.newest()
    claims = {name: value for name, value in (GOOD | change).items() if value is not None}
    token = jwt.encode({"alg": "Ed25519", "kid": key_id}, claims, key, algorithms=["Ed25519"])
    assert await refused(verifier, token)


# ---- keys


async def test_the_first_key_is_made_once_for_all_processes(accounts: AccountStore) -> None:
    names = []

    async def start() -> None:
        names.append((await SigningKeys(accounts).newest())[0])

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(start)
    assert len(set(names)) == 1
    assert len(await accounts.signing_keys()) == 1


def pass_time(clock: Clock, mock_clock: MockClock, seconds: float) -> None:
    """Advance the wall clock and Trio's."""
    clock.now_ms += int(seconds * 1000)
    mock_clock.jump(seconds)


def new_key(key_id: str, created_at_ms: int) -> SigningKey:
    return SigningKey(key_id, json.dumps(OKPKey.generate_key("Ed25519").as_dict(private=True)), created_at_ms)


async def test_a_new_key_signs_within_a_minute_and_all_processes_verify_both_keys(
    accounts: AccountStore, issuer: TokenIssuer, verifier: TokenVerifier, clock: Clock, mock_clock: MockClock
) -> None:
    """The verifier, which reads the keys just before the new one is added, as well as the process that signs."""
    old = await issuer.issue(7, "family", 900)
    assert isinstance(await verifier.verify(old.token), Claims)
    await accounts.add_signing_key(new_key("new", NOW_MS + 1))
    pass_time(clock, mock_clock, auth.KEY_REST + 1)
    fresh = await TokenIssuer(accounts, clock_ms=clock).issue(7, "family", 900)
    assert isinstance(await verifier.verify(fresh.token), Claims)
    pass_time(clock, mock_clock, auth.KEYS_MAX_AGE + 1 - auth.KEY_REST)
    assert (await issuer.keys.newest())[0] == "new"
    for token in (old.token, (await issuer.issue(7, "family", 900)).token):
        assert isinstance(await verifier.verify(token), Claims)


async def test_a_new_key_is_unused_for_a_while_before_it_signs(
    accounts: AccountStore, issuer: TokenIssuer, clock: Clock
) -> None:
    old = (await issuer.keys.newest())[0]
    await accounts.add_signing_key(new_key("new", NOW_MS + 1))
    other = TokenIssuer(accounts, clock_ms=clock)  # a process that has just started, and reads both
    clock.now_ms += int(auth.KEY_REST * 1000)
    assert (await other.keys.newest())[0] == old
    clock.now_ms += 1
    assert (await other.keys.newest())[0] == "new"


async def test_a_removed_key_verifies_for_a_minute_at_most(
    accounts: AccountStore, issuer: TokenIssuer, verifier: TokenVerifier, mock_clock: MockClock
) -> None:
    access = await issuer.issue(7, "family", 900)
    assert isinstance(await verifier.verify(access.token), Claims)
    old = (await issuer.keys.newest())[0]
    await accounts.add_signing_key(new_key("new", NOW_MS + 1))
    await accounts.remove_signing_key(old)
    mock_clock.jump(auth.KEYS_MAX_AGE + 1)
    assert await refused(verifier, access.token)


async def test_many_at_once_read_the_keys_once(accounts: AccountStore, issuer: TokenIssuer) -> None:
    await issuer.issue(7, "family", 900)
    keys, before = SigningKeys(accounts), accounts.signing_keys
    reads = 0

    async def count() -> Sequence[SigningKey]:
        nonlocal reads
        reads += 1
        return await before()

    accounts.signing_keys = count  # type: ignore[method-assign]
    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(keys.newest)
    assert reads == 1


async def test_unknown_keys_are_looked_up_at_most_once_a_second(
    accounts: AccountStore, issuer: TokenIssuer, verifier: TokenVerifier, mock_clock: MockClock
) -> None:
    access = await issuer.issue(7, "family", 900)
    assert isinstance(await verifier.verify(access.token), Claims)
    await accounts.add_signing_key(new_key("new", NOW_MS - int(auth.KEY_REST * 1000)))
    await accounts.remove_signing_key((await issuer.keys.newest())[0])
    mine = TokenIssuer(accounts, clock_ms=Clock())
    fresh = (await mine.issue(7, "family", 900)).token
    assert await refused(verifier, fresh)
    mock_clock.jump(auth.KEYS_MIN_AGE)
    assert isinstance(await verifier.verify(fresh), Claims)


async def test_the_public_keys_have_no_private_half(issuer: TokenIssuer) -> None:
    (key,) = (await issuer.keys.public())["keys"]
    assert key.keys() == {"kty", "crv", "x", "kid", "alg", "use"}


# ---- refresh tokens


async def test_refresh_tokens_are_long_and_random_and_their_digests_short(issuer: TokenIssuer) -> None:
    tokens = {auth.new_refresh_token() for _ in range(50)}
    tokens |= {await auth.next_refresh_token(issuer.keys, token) for token in tokens}
    assert len(tokens) == 100
    assert {len(token) for token in tokens} == {43}
    assert {len(auth.digest(token)) for token in tokens} == {32}
