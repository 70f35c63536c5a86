"""What every account store promises, and what the SQLite twin promises besides.

What the Cassandra twin promises besides is in `test_accounts_cassandra.py`.
"""

import itertools
import stat
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.store import AccountStore, Family, Rotation, SigningKey, User
from shared.contract.errors import Unavailable
from tests.shared.accounts.stores import OpenStore, letters, over_cassandra, patiently

ALICE = User(11, "alice", "Alice Liddell", "", 1, 1_000)
BOB = User(12, "bob", "Bob", "fishing", 1, 2_000)
HOSTILE = ("'; DROP TABLE users; --", '" OR ""="', "<script>alert(1)</script>", "%_%", "*", "ÄÖÜ ß 🐦", "a\u0301b")


FRESH = itertools.count(1)
"""Numbers that no other example of a property has, as all share the store of their test."""


@pytest.fixture(params=["trigrams", "scan", "cassandra"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """Opens the one store of a test. Opening it twice is how two processes share it."""
    if request.param == "cassandra":
        return over_cassandra(request.getfixturevalue("cassandra_settings"))
    return partial(open_sqlite_accounts, tmp_path / "accounts.db", trigrams=request.param == "trigrams")


@pytest.fixture
async def store(open_store: OpenStore) -> AsyncIterator[AccountStore]:
    async with open_store() as store:
        yield store


# ---- accounts


async def test_what_was_added_is_found_by_id_and_by_name(store: AccountStore) -> None:
    assert await store.add_user(ALICE, "hash")
    credentials = await store.credentials("alice")
    assert await store.users([ALICE.user_id]) == [ALICE]
    assert credentials is not None
    assert (credentials.user_id, credentials.password_hash) == (ALICE.user_id, "hash")
    assert await store.password_hash(ALICE.user_id) == "hash"


@pytest.mark.parametrize("name", ["alice", "ALICE", "Alice"])
async def test_a_name_is_taken_whatever_its_case(store: AccountStore, name: str) -> None:
    assert await store.add_user(ALICE, "hash")
    assert not await store.add_user(replace(BOB, name=name), "other")
    assert await store.users([BOB.user_id]) == []
    assert await store.password_hash(BOB.user_id) is None
    assert await store.find_users("bob", after_name="", limit=10) == []
    for spelling in (name, "alice", "ALICE"):
        credentials = await store.credentials(spelling)
        assert credentials is not None
        assert credentials.user_id == ALICE.user_id


async def test_of_many_concurrent_claims_to_a_name_one_succeeds(open_store: OpenStore) -> None:
    taken: dict[int, bool] = {}

    async def register(store: AccountStore, user_id: int) -> None:
        taken[user_id] = await patiently(partial(store.add_user, replace(ALICE, user_id=user_id), f"hash {user_id}"))

    async with open_store() as one, open_store() as other:
        async with trio.open_nursery() as nursery:
            for user_id in range(1, 21):
                nursery.start_soon(register, (one, other)[user_id % 2], user_id)
        (winner_id,) = [user_id for user_id, is_taken in taken.items() if is_taken]
        credentials = await other.credentials("alice")
        assert credentials is not None
        assert (credentials.user_id, credentials.password_hash) == (winner_id, f"hash {winner_id}")
        winner = replace(ALICE, user_id=winner_id)
        assert await other.users([*range(1, 21)]) == [winner]
        assert await other.find_users("alice", after_name="", limit=10) == [winner]


async def test_users_come_in_the_order_asked_and_once_and_unknown_ones_do_not(store: AccountStore) -> None:
    await store.add_user(ALICE, "hash")
    await store.add_user(BOB, "hash")
    assert await store.users([BOB.user_id, 99, ALICE.user_id, BOB.user_id]) == [BOB, ALICE]
    assert await store.users([]) == []


async def test_a_hundred_users_are_found_at_once(store: AccountStore) -> None:
    users = [replace(ALICE, user_id=number, name=f"user{number:03}") for number in range(1, 101)]
    for user in users:
        await store.add_user(user, "hash")
    assert await store.users([user.user_id for user in reversed(users)]) == users[::-1]


async def test_an_unknown_name_has_no_credentials(store: AccountStore) -> None:
    assert await store.credentials("nobody") is None
    assert await store.password_hash(99) is None


async def test_the_password_changes(store: AccountStore) -> None:
    await store.add_user(ALICE, "old")
    await store.set_password(ALICE.user_id, "new")
    assert await store.password_hash(ALICE.user_id) == "new"


async def test_a_password_without_a_user_makes_no_account(store: AccountStore) -> None:
    await store.set_password(99, "new")
    assert await store.password_hash(99) is None
    assert await store.users([99]) == []


async def test_a_profile_changes_at_its_version_and_only_there(store: AccountStore) -> None:
    await store.add_user(ALICE, "hash")
    changed = await store.update_profile(ALICE.user_id, display_name="Al", about="here", version=1)
    assert changed == replace(ALICE, display_name="Al", about="here", version=2)
    assert await store.update_profile(ALICE.user_id, display_name="No", about="", version=1) is None
    assert await store.users([ALICE.user_id]) == [changed]
    assert await store.update_profile(99, display_name="No", about="", version=1) is None


async def test_a_changed_profile_keeps_the_password_and_a_changed_password_the_profile(store: AccountStore) -> None:
    await store.add_user(ALICE, "old")
    changed = await store.update_profile(ALICE.user_id, display_name="Al", about="", version=1)
    assert await store.password_hash(ALICE.user_id) == "old"
    await store.set_password(ALICE.user_id, "new")
    assert await store.users([ALICE.user_id]) == [changed]


async def test_of_many_changes_of_one_version_one_is_made(open_store: OpenStore) -> None:
    made: list[User] = []

    async def change(store: AccountStore, display_name: str) -> None:
        change = partial(store.update_profile, ALICE.user_id, display_name=display_name, about="", version=1)
        if (user := await patiently(change)) is not None:
            made.append(user)

    names = [f"number {number:02}" for number in range(10)]
    async with open_store() as one, open_store() as other:
        await one.add_user(ALICE, "hash")
        async with trio.open_nursery() as nursery:
            for number, name in enumerate(names):
                nursery.start_soon(change, (one, other)[number % 2], name)
        (user,) = made
        assert user.version == 2
        assert await other.users([ALICE.user_id]) == [user]
        for name in names:
            expected = [user] if name == user.display_name else []
            assert await other.find_users(name, after_name="", limit=10) == expected


@pytest.mark.parametrize("text", HOSTILE)
async def test_any_text_comes_back_verbatim_and_is_found(store: AccountStore, text: str) -> None:
    user = replace(ALICE, display_name=text, about=text)
    await store.add_user(user, "hash")
    await store.add_user(BOB, "hash")
    assert await store.users([ALICE.user_id]) == [user]
    if len(text) >= 3:
        assert await store.find_users(text, after_name="", limit=10) == [user]


# ---- search


async def test_a_part_of_either_name_finds_whatever_its_case(store: AccountStore) -> None:
    user = replace(ALICE, name="liddell.a", display_name="Élise GROSSMANN")
    await store.add_user(user, "hash")
    await store.add_user(BOB, "hash")
    for part in ("liddell", "LIDDELL", "dde", "élise", "ÉLISE", "grossm", "e gro"):
        assert await store.find_users(part, after_name="", limit=10) == [user], part
    for part in ("alice", "xyz", "lid_ell", "lid%"):
        assert await store.find_users(part, after_name="", limit=10) == [], part


async def test_a_search_follows_a_changed_profile(store: AccountStore) -> None:
    await store.add_user(ALICE, "hash")
    await store.update_profile(ALICE.user_id, display_name="Queen of Hearts", about="", version=1)
    assert await store.find_users("liddell", after_name="", limit=10) == []
    assert [user.user_id for user in await store.find_users("HEARTS", after_name="", limit=10)] == [ALICE.user_id]


async def test_a_display_name_that_comes_back_is_found_again(store: AccountStore) -> None:
    await store.add_user(ALICE, "hash")
    for version, display_name in enumerate(("Queen", "Alice Liddell", "Queen", "Alice Liddell"), 1):
        user = await store.update_profile(ALICE.user_id, display_name=display_name, about="", version=version)
        other = "liddell" if display_name == "Queen" else "queen"
        assert await store.find_users(display_name, after_name="", limit=10) == [user]
        assert await store.find_users("alice", after_name="", limit=10) == [user]
        assert await store.find_users(other, after_name="", limit=10) == []


async def test_a_search_finds_the_profile_as_it_is_when_its_names_stay(store: AccountStore) -> None:
    await store.add_user(ALICE, "hash")
    for version, (display_name, about) in enumerate([("Alice Liddell", "here"), ("ALICE LIDDELL", "there")], 1):
        user = await store.update_profile(ALICE.user_id, display_name=display_name, about=about, version=version)
        assert await store.find_users("liddell", after_name="", limit=10) == [user]


@settings(max_examples=20)
@given(names=st.sets(st.text("abx", min_size=3, max_size=5), max_size=12), limit=st.integers(1, 5))
async def test_pages_of_a_search_neither_skip_nor_repeat(open_store: OpenStore, names: set[str], limit: int) -> None:
    number = next(FRESH)
    own = [name.translate(letters("abx", number)) for name in names]
    part = "abx".translate(letters("abx", number))
    found: list[str] = []
    async with open_store() as store:
        for user_id, name in enumerate(own, number * 100):
            await store.add_user(replace(ALICE, user_id=user_id, name=name, display_name=name), "hash")
        while page := await store.find_users(part, after_name=found[-1] if found else "", limit=limit):
            assert len(page) <= limit
            found += [user.name for user in page]
    assert found == sorted(name for name in own if part in name)


# ---- sign-ins

FAMILY = Family("family", ALICE.user_id, "phone", 1_000)


@pytest.fixture
async def signed_in(store: AccountStore) -> AccountStore:
    """A store with one sign-in, whose token is `one` and ends at 9,000."""
    await store.add_user(ALICE, "hash")
    await store.add_user(BOB, "hash")
    await store.start_family(FAMILY, b"one", 9_000)
    return store


async def test_a_sign_in_lives_until_it_is_ended(signed_in: AccountStore) -> None:
    assert await signed_in.is_live("family")
    assert await signed_in.family_of(b"one") == FAMILY
    await signed_in.end_family("family")
    assert not await signed_in.is_live("family")
    assert await signed_in.family_of(b"one") is None
    assert await signed_in.rotate(b"one", b"two", now_ms=2_000, expires_at_ms=9_000) is Rotation.UNKNOWN


async def test_a_token_is_replaced_by_the_next(signed_in: AccountStore) -> None:
    assert await signed_in.rotate(b"one", b"two", now_ms=2_000, expires_at_ms=10_000) == FAMILY
    assert await signed_in.rotate(b"two", b"three", now_ms=9_500, expires_at_ms=11_000) == FAMILY
    assert await signed_in.is_live("family")


async def test_a_replaced_token_is_still_known_as_one_of_its_family(signed_in: AccountStore) -> None:
    await signed_in.rotate(b"one", b"two", now_ms=2_000, expires_at_ms=10_000)
    assert await signed_in.family_of(b"one") == FAMILY
    assert await signed_in.family_of(b"two") == FAMILY


async def test_a_reused_token_ends_the_family(signed_in: AccountStore) -> None:
    await signed_in.rotate(b"one", b"two", now_ms=2_000, expires_at_ms=10_000)
    assert await signed_in.rotate(b"one", b"evil", now_ms=2_001, expires_at_ms=10_000) is Rotation.REUSED
    assert not await signed_in.is_live("family")
    for token in (b"one", b"two", b"evil"):
        assert await signed_in.rotate(token, b"more", now_ms=2_002, expires_at_ms=10_000) is Rotation.UNKNOWN
    assert await signed_in.end_families(ALICE.user_id) == []


async def test_a_reuse_ends_no_other_sign_in(signed_in: AccountStore) -> None:
    other = Family("other", ALICE.user_id, "", 1_000)
    await signed_in.start_family(other, b"other", 9_000)
    await signed_in.rotate(b"one", b"two", now_ms=2_000, expires_at_ms=10_000)
    await signed_in.rotate(b"one", b"evil", now_ms=2_001, expires_at_ms=10_000)
    assert await signed_in.rotate(b"other", b"next", now_ms=2_001, expires_at_ms=10_000) == other


async def test_of_two_uses_at_once_one_is_a_reuse(signed_in: AccountStore, open_store: OpenStore) -> None:
    results: list[Family | Rotation] = []

    async def rotate(store: AccountStore, new: bytes) -> None:
        rotate = partial(store.rotate, b"one", new, now_ms=2_000, expires_at_ms=9_000)
        results.append(await patiently(rotate))

    async with open_store() as other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rotate, signed_in, b"two")
            nursery.start_soon(rotate, other, b"three")
        assert FAMILY in results
        assert Rotation.REUSED in results
        assert not await signed_in.is_live("family")
        assert not await other.is_live("family")


async def test_a_token_ends_with_its_time(signed_in: AccountStore) -> None:
    assert await signed_in.rotate(b"one", b"two", now_ms=9_000, expires_at_ms=20_000) is Rotation.EXPIRED
    assert await signed_in.rotate(b"one", b"two", now_ms=8_999, expires_at_ms=20_000) == FAMILY


async def test_a_token_that_never_was_is_unknown(signed_in: AccountStore) -> None:
    assert await signed_in.rotate(b"none", b"two", now_ms=2_000, expires_at_ms=9_000) is Rotation.UNKNOWN
    assert await signed_in.family_of(b"none") is None


@pytest.mark.parametrize("expires_at_ms", [2**60, 4_102_444_800_000])
async def test_a_sign_in_may_be_meant_to_last_very_long(store: AccountStore, expires_at_ms: int) -> None:
    await store.add_user(ALICE, "hash")
    await store.start_family(FAMILY, b"one", expires_at_ms)
    assert await store.rotate(b"one", b"two", now_ms=2_000, expires_at_ms=expires_at_ms) == FAMILY
    assert await store.rotate(b"two", b"three", now_ms=expires_at_ms - 1, expires_at_ms=expires_at_ms) == FAMILY
    assert await store.is_live("family")


async def test_no_sign_in_has_an_empty_id(signed_in: AccountStore) -> None:
    """A health check asks for it, and must be answered by the engine."""
    assert not await signed_in.is_live("")


async def test_all_sign_ins_of_a_user_end_but_the_one_kept(signed_in: AccountStore) -> None:
    await signed_in.start_family(Family("second", ALICE.user_id, "", 2_000), b"s", 9_000)
    await signed_in.start_family(Family("third", ALICE.user_id, "", 3_000), b"t", 9_000)
    await signed_in.start_family(Family("of bob", BOB.user_id, "", 3_000), b"b", 9_000)
    assert sorted(await signed_in.end_families(ALICE.user_id, except_family_id="second")) == ["family", "third"]
    assert [await signed_in.is_live(each) for each in ("family", "second", "third", "of bob")] == [
        False,
        True,
        False,
        True,
    ]
    assert await signed_in.end_families(ALICE.user_id) == ["second"]
    assert await signed_in.end_families(ALICE.user_id) == []


async def test_a_sign_in_that_ended_by_itself_is_not_ended_again(signed_in: AccountStore) -> None:
    await signed_in.end_family("family")
    await signed_in.end_family("family")
    assert await signed_in.end_families(ALICE.user_id) == []


async def test_no_token_outlives_an_end_of_all_sign_ins_that_meets_its_rotation(
    signed_in: AccountStore, open_store: OpenStore
) -> None:
    results: list[Family | Rotation] = []

    async def rotate(old: bytes, new: bytes) -> None:
        rotate = partial(signed_in.rotate, old, new, now_ms=2_000, expires_at_ms=9_000)
        results.append(await patiently(rotate))

    async with open_store() as other:
        for number in range(20):
            family_id = f"family {number}"
            await other.start_family(replace(FAMILY, family_id=family_id), b"old %d" % number, 9_000)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(rotate, b"old %d" % number, b"new %d" % number)
                nursery.start_soon(patiently, partial(other.end_families, ALICE.user_id))
            assert not await signed_in.is_live(family_id)
            for token in (b"old %d" % number, b"new %d" % number):
                outcome = await signed_in.rotate(token, b"next", now_ms=2_000, expires_at_ms=9_000)
                assert outcome is Rotation.UNKNOWN
    assert all(result is Rotation.UNKNOWN or isinstance(result, Family) for result in results)


# ---- keys


async def test_keys_come_newest_first(store: AccountStore) -> None:
    old, new = SigningKey("old", "{}", 1), SigningKey("new", "{}", 2)
    await store.add_signing_key(old)
    await store.add_signing_key(new)
    assert await store.signing_keys() == [new, old]


async def test_of_keys_of_one_moment_the_order_is_that_of_their_ids(store: AccountStore) -> None:
    for key_id in ("b", "c", "a"):
        await store.add_signing_key(SigningKey(key_id, "{}", 1))
    assert [key.key_id for key in await store.signing_keys()] == ["a", "b", "c"]


async def test_of_many_first_keys_one_stays(open_store: OpenStore) -> None:
    async def add(store: AccountStore, number: int) -> None:
        await patiently(partial(store.add_signing_key, SigningKey(f"key {number}", "{}", 1), if_none=True))

    async with open_store() as one, open_store() as other:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(add, (one, other)[number % 2], number)
        (key,) = await one.signing_keys()
        assert await other.signing_keys() == [key]


async def test_a_first_key_is_only_kept_if_there_is_none(store: AccountStore) -> None:
    await store.add_signing_key(SigningKey("added", "{}", 1))
    await store.add_signing_key(SigningKey("first", "{}", 2), if_none=True)
    assert [key.key_id for key in await store.signing_keys()] == ["added"]


# ---- across openings


async def test_everything_is_there_when_it_is_opened_again(open_store: OpenStore) -> None:
    async with open_store() as store:
        await store.add_user(ALICE, "hash")
        await store.start_family(FAMILY, b"one", 9_000)
        await store.add_signing_key(SigningKey("key", "{}", 1))
    async with open_store() as store:
        assert await store.find_users("liddell", after_name="", limit=10) == [ALICE]
        assert await store.is_live("family")
        assert [key.key_id for key in await store.signing_keys()] == ["key"]


async def test_a_second_process_sees_what_the_first_did(open_store: OpenStore) -> None:
    async with open_store() as first, open_store() as second:
        await first.add_user(ALICE, "hash")
        assert await second.users([ALICE.user_id]) == [ALICE]
        assert not await second.add_user(replace(ALICE, user_id=99), "hash")


# ---- SQLite


@pytest.fixture
async def in_a_file(tmp_path: Path) -> AsyncIterator[AccountStore]:
    """A store in SQLite with one sign-in, whose token is `one` and ends at 9,000."""
    async with open_sqlite_accounts(tmp_path / "accounts.db") as store:
        await store.add_user(ALICE, "hash")
        await store.add_user(BOB, "hash")
        await store.start_family(FAMILY, b"one", 9_000)
        yield store


async def test_replaced_tokens_are_forgotten_when_they_would_have_expired(in_a_file: AccountStore) -> None:
    await in_a_file.rotate(b"one", b"two", now_ms=2_000, expires_at_ms=20_000)
    await in_a_file.rotate(b"two", b"three", now_ms=9_000, expires_at_ms=30_000)
    assert await in_a_file.family_of(b"one") is None
    assert await in_a_file.family_of(b"two") == FAMILY


async def test_expired_sign_ins_are_cleared_away_by_later_ones(in_a_file: AccountStore) -> None:
    await in_a_file.start_family(Family("later", BOB.user_id, "", 9_000), b"later", 20_000)
    assert not await in_a_file.is_live("family")
    assert await in_a_file.is_live("later")


async def test_the_index_is_made_of_what_is_there_already(tmp_path: Path) -> None:
    async with open_sqlite_accounts(tmp_path / "accounts.db", trigrams=False) as store:
        await store.add_user(ALICE, "hash")
    async with open_sqlite_accounts(tmp_path / "accounts.db") as store:
        assert await store.find_users("liddell", after_name="", limit=10) == [ALICE]


async def test_only_its_owner_may_read_the_file(tmp_path: Path) -> None:
    async with open_sqlite_accounts(tmp_path / "new" / "accounts.db") as store:
        await store.add_user(ALICE, "hash")
        for file in (tmp_path / "new").iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


async def test_a_file_that_is_no_database_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "accounts.db").write_bytes(b"not a database at all, but long enough to be taken for one" * 20)
    with pytest.raises(Exception, match="not a database"):
        async with open_sqlite_accounts(tmp_path / "accounts.db"):
            raise AssertionError("it opened")


async def test_a_closed_store_is_unavailable(tmp_path: Path) -> None:
    async with open_sqlite_accounts(tmp_path / "accounts.db") as store:
        pass
    with pytest.raises(Unavailable):
        await store.set_password(1, "hash")
