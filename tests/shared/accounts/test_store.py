"""Both account stores: accounts, search, sign-ins and keys; and SQLite's own part (Cassandra's: test_cassandra.py)."""

import itertools
import stat
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from shared.accounts.sqlite.store import MIGRATIONS, open_sqlite_accounts
from shared.accounts.store import REUSE_GRACE_MS, AccountStore, Family, Rotation, SigningKey, User
from shared.contract.errors import Unavailable
from shared.drivers.sqlite import connect, migrate
from tests.fuzzing import examples
from tests.shared.accounts.conftest import VARIANTS
from tests.shared.accounts.stores import OpenStore, letters, patiently

ALICE = User(11, "alice", "Alice Liddell", "", 1, 1_000)
BOB = User(12, "bob", "Bob", "fishing", 1, 2_000)
HOSTILE = ("'; DROP TABLE users; --", '" OR ""="', "<script>alert(1)</script>", "%_%", "*", "ÄÖÜ ß 🐦", "a\u0301b")
SEARCHES = pytest.mark.parametrize("open_store", sorted(VARIANTS), indirect=True)
SQLITE = pytest.mark.parametrize("open_store", ["sqlite"], indirect=True)

FRESH = itertools.count(1)
"""Numbers that no other example of a property has, as all share the store of their test."""


# ---- accounts


async def test_an_added_user_is_found_by_id_and_by_name_and_no_other_is(store: AccountStore) -> None:
    assert await store.add_user(ALICE, "hash")
    await store.set_password(99, "hash")
    credentials = await store.credentials("alice")
    assert await store.users([ALICE.user_id, 99]) == [ALICE]
    assert credentials is not None
    assert (credentials.user_id, credentials.password_hash) == (ALICE.user_id, "hash")
    assert await store.password_hash(ALICE.user_id) == "hash"
    assert await store.credentials("nobody") is None
    assert await store.user_id_of("nobody") is None
    assert await store.password_hash(99) is None


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
        assert await store.user_id_of(spelling) == ALICE.user_id


async def test_a_letter_of_another_alphabet_finds_no_name_that_it_folds_to(store: AccountStore) -> None:
    """Limits of sign-ins count by the name in lower case: an account with two such names would have two limits."""
    for user_id, name in enumerate(("sam", "kam", "stam", "strasse"), 1):
        assert await store.add_user(replace(ALICE, user_id=user_id, name=name), "hash")
        assert await store.credentials(name) is not None
    for other in ("\u017fam", "\u212aam", "\ufb06am", "stra\u00dfe"):
        assert await store.credentials(other) is None, other


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


async def test_a_hundred_users_are_requested_at_once_and_returned_in_that_order_and_once(
    store: AccountStore,
) -> None:
    users = [replace(ALICE, user_id=number, name=f"user{number:03}") for number in range(1, 101)]
    stored = users[3::4]
    async with trio.open_nursery() as nursery:
        for user in stored:
            nursery.start_soon(store.add_user, user, "hash")
    assert await store.users([100, 999, *(user.user_id for user in reversed(users)), 4]) == stored[::-1]
    assert await store.users([]) == []


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
    assert await store.set_password(ALICE.user_id, "new")
    assert await store.password_hash(ALICE.user_id) == "new"
    assert await store.users([ALICE.user_id]) == [changed]
    for former, changes, password_hash in (("old", False, "new"), ("new", True, "newer")):
        assert await store.set_password(ALICE.user_id, "newer", former=former) == changes
        assert await store.password_hash(ALICE.user_id) == password_hash


async def test_the_latest_time_at_which_a_user_was_seen_is_kept(store: AccountStore) -> None:
    for user in (ALICE, BOB):
        await store.add_user(user, "hash")
    assert await store.last_seen([ALICE.user_id, BOB.user_id]) == {}
    await store.note_last_seen({ALICE.user_id: 5_000, BOB.user_id: 7_000})
    await store.note_last_seen({ALICE.user_id: 4_000})
    assert await store.last_seen([ALICE.user_id, BOB.user_id, ALICE.user_id]) == {
        ALICE.user_id: 5_000,
        BOB.user_id: 7_000,
    }


async def test_a_deleted_account_keeps_only_its_id_and_its_name_for_ever(store: AccountStore) -> None:
    for user in (ALICE, BOB):
        await store.add_user(user, "hash")
    await store.note_last_seen({ALICE.user_id: 5_000})
    gone = replace(ALICE, display_name="", version=2, is_deleted=True)
    for _ in range(2):
        await store.delete_user(ALICE.user_id)
        assert not await store.set_password(ALICE.user_id, "new")
        assert not await store.set_password(ALICE.user_id, "new", former="")
        await store.note_last_seen({ALICE.user_id: 6_000})
        assert await store.last_seen([ALICE.user_id]) == {}
        assert await store.update_profile(ALICE.user_id, display_name="Back", about="", version=2) is None
        assert await store.users([ALICE.user_id, BOB.user_id]) == [gone, BOB]
        assert await store.credentials("alice") is None
        assert await store.user_id_of("alice") == ALICE.user_id
        assert await store.password_hash(ALICE.user_id) is None
        for part in ("alice", "liddell", "back"):
            assert await store.find_users(part, after_name="", limit=10) == []
        assert not await store.add_user(replace(BOB, user_id=13, name="ALICE"), "hash")
    await store.delete_user(99)
    assert await store.find_users("bob", after_name="", limit=10) == [BOB]


async def test_pages_of_all_users_have_the_newest_first_and_neither_skip_nor_repeat(store: AccountStore) -> None:
    users = [replace(ALICE, user_id=number, name=f"user{number}") for number in (1, 2, 500, 2**62, 2**63 - 1)]
    for user in users:
        await store.add_user(user, "hash")
    await store.delete_user(2)
    listed: list[User] = []
    while page := await store.list_users(after_id=listed[-1].user_id if listed else 0, limit=2):
        assert len(page) <= 2
        listed += page
    assert [user.user_id for user in listed] == [user.user_id for user in reversed(users)]
    assert [user.user_id for user in listed if user.is_deleted] == [2]


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


@SEARCHES
@pytest.mark.parametrize("text", HOSTILE)
async def test_any_text_comes_back_verbatim_and_is_found(store: AccountStore, text: str) -> None:
    user = replace(ALICE, display_name=text, about=text)
    await store.add_user(user, "hash")
    await store.add_user(BOB, "hash")
    assert await store.users([ALICE.user_id]) == [user]
    assert await store.find_users(text, after_name="", limit=10) == [user]


# ---- search


@SEARCHES
async def test_words_in_any_order_find_parts_of_both_names_whatever_their_case(store: AccountStore) -> None:
    user = replace(ALICE, name="liddell.a", display_name="Élise GROSSMANN")
    await store.add_user(user, "hash")
    await store.add_user(BOB, "hash")
    for query in ("liddell", "LIDDELL", "dde", "élise", "ÉLISE", "grossm", "é gro", "ross  @élise li", "@liddell"):
        assert await store.find_users(query, after_name="", limit=10) == [user], query
    for query in ("alice", "xyz", "lid_ell", "lid%", "dd", "ro", "liddell x", "élise bob", "@", " "):
        assert await store.find_users(query, after_name="", limit=10) == [], query


@SEARCHES
async def test_one_or_two_characters_find_the_beginning_of_a_word(store: AccountStore) -> None:
    both = [replace(BOB, display_name="李明"), replace(ALICE, name="carol", display_name="Mary Bo @X")]
    bob, carol = [both[0]], [both[1]]
    for user in both:
        await store.add_user(user, "hash")
    for query, found in (
        ("李明", bob),
        ("李", bob),
        ("bo", both),
        ("B", both),
        ("x", carol),
        ("@x mary", carol),
        ("o", []),
    ):
        assert await store.find_users(query, after_name="", limit=10) == found, query


@SEARCHES
async def test_a_search_follows_a_changed_profile(store: AccountStore) -> None:
    await store.add_user(ALICE, "hash")
    for version, display_name in enumerate(("Queen", "Alice Liddell", "Queen", "ALICE LIDDELL", "Alice Liddell"), 1):
        about = f"version {version}"
        user = await store.update_profile(ALICE.user_id, display_name=display_name, about=about, version=version)
        other = "liddell" if display_name == "Queen" else "queen"
        for part in (display_name, "alice"):
            assert await store.find_users(part, after_name="", limit=10) == [user]
        assert await store.find_users(other, after_name="", limit=10) == []


@SEARCHES
@examples(8)
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
    assert not await signed_in.is_live(""), "a health check asks for it, and the engine must answer"
    assert await signed_in.family_of(b"one") == FAMILY
    for _ in range(2):
        await signed_in.end_family("family")
    assert not await signed_in.is_live("family")
    assert await signed_in.family_of(b"one") is None
    for token in (b"one", b"never issued"):
        assert await signed_in.rotate(token, b"two", now_ms=2_000, expires_at_ms=9_000) is Rotation.UNKNOWN
        assert await signed_in.family_of(token) is None
    assert await signed_in.end_families(ALICE.user_id) == []


async def test_a_token_is_replaced_by_the_next_and_still_known_as_one_of_its_family(signed_in: AccountStore) -> None:
    assert await signed_in.rotate(b"one", b"two", now_ms=2_000, expires_at_ms=10_000) == FAMILY
    assert await signed_in.family_of(b"one") == await signed_in.family_of(b"two") == FAMILY
    assert await signed_in.rotate(b"two", b"three", now_ms=9_500, expires_at_ms=11_000) == FAMILY
    assert await signed_in.is_live("family")


async def test_a_reused_token_ends_the_family_and_no_other_sign_in(signed_in: AccountStore) -> None:
    other = Family("other", ALICE.user_id, "", 1_000)
    await signed_in.start_family(other, b"other", 9_000)
    await signed_in.rotate(b"one", b"two", now_ms=2_000, expires_at_ms=10_000)
    assert await signed_in.rotate(b"one", b"evil", now_ms=2_001, expires_at_ms=10_000) is Rotation.REUSED
    assert not await signed_in.is_live("family")
    for token in (b"one", b"two", b"evil"):
        assert await signed_in.rotate(token, b"more", now_ms=2_002, expires_at_ms=10_000) is Rotation.UNKNOWN
    assert await signed_in.rotate(b"other", b"next", now_ms=2_001, expires_at_ms=10_000) == other
    assert await signed_in.end_families(ALICE.user_id) == ["other"]


async def test_a_rotation_can_be_repeated_for_half_a_minute(signed_in: AccountStore) -> None:
    outcomes = [
        await signed_in.rotate(b"one", b"two", now_ms=2_000 + ms, expires_at_ms=9_000 + ms)
        for ms in (0, REUSE_GRACE_MS, REUSE_GRACE_MS + 1)
    ]
    assert outcomes == [FAMILY, FAMILY, Rotation.REUSED]
    assert not await signed_in.is_live("family")


async def test_a_rotation_is_not_repeated_after_the_next_one(signed_in: AccountStore) -> None:
    for old, new in ((b"one", b"two"), (b"two", b"three")):
        assert await signed_in.rotate(old, new, now_ms=2_000, expires_at_ms=9_000) == FAMILY
    assert await signed_in.rotate(b"one", b"two", now_ms=2_000, expires_at_ms=9_000) is Rotation.REUSED


@pytest.mark.parametrize(("second", "outcome"), [(b"three", Rotation.REUSED), (b"two", FAMILY)])
async def test_of_two_uses_at_once_one_is_a_reuse_or_a_repeat(
    signed_in: AccountStore, open_store: OpenStore, second: bytes, outcome: Family | Rotation
) -> None:
    results: list[Family | Rotation] = []

    async def rotate(store: AccountStore, new: bytes) -> None:
        rotate = partial(store.rotate, b"one", new, now_ms=2_000, expires_at_ms=90_000)
        results.append(await patiently(rotate))

    async with open_store() as other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(rotate, signed_in, b"two")
            nursery.start_soon(rotate, other, second)
        results.remove(FAMILY)
        assert results == [outcome]
        for store in (signed_in, other):
            assert await store.is_live("family") == (outcome == FAMILY)


async def test_a_token_ends_with_its_time(signed_in: AccountStore) -> None:
    assert await signed_in.rotate(b"one", b"two", now_ms=9_000, expires_at_ms=20_000) is Rotation.EXPIRED
    assert await signed_in.rotate(b"one", b"two", now_ms=8_999, expires_at_ms=20_000) == FAMILY


@pytest.mark.parametrize("expires_at_ms", [2**60, 4_102_444_800_000])
async def test_a_sign_in_may_be_meant_to_last_very_long(store: AccountStore, expires_at_ms: int) -> None:
    await store.add_user(ALICE, "hash")
    await store.start_family(FAMILY, b"one", expires_at_ms)
    assert await store.rotate(b"one", b"two", now_ms=2_000, expires_at_ms=expires_at_ms) == FAMILY
    assert await store.rotate(b"two", b"three", now_ms=expires_at_ms - 1, expires_at_ms=expires_at_ms) == FAMILY
    assert await store.is_live("family")


async def test_all_sign_ins_of_a_user_end_but_the_one_kept(signed_in: AccountStore) -> None:
    await signed_in.start_family(Family("second", ALICE.user_id, "", 2_000), b"s", 9_000)
    await signed_in.start_family(Family("third", ALICE.user_id, "", 3_000), b"t", 9_000)
    await signed_in.start_family(Family("of bob", BOB.user_id, "", 3_000), b"b", 9_000)
    assert sorted(await signed_in.end_families(ALICE.user_id, except_family_id="second")) == ["family", "third"]
    live = [each for each in ("family", "second", "third", "of bob") if await signed_in.is_live(each)]
    assert live == ["second", "of bob"]
    assert await signed_in.end_families(ALICE.user_id) == ["second"]
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


async def test_keys_come_newest_first_and_of_one_moment_by_their_ids(store: AccountStore) -> None:
    for key_id, created_at_ms in (("old", 1), ("b", 2), ("c", 2), ("a", 2)):
        await store.add_signing_key(SigningKey(key_id, "{}", created_at_ms))
    assert [key.key_id for key in await store.signing_keys()] == ["a", "b", "c", "old"]


async def test_of_many_first_keys_one_stays(open_store: OpenStore) -> None:
    async def add(store: AccountStore, number: int) -> None:
        await patiently(partial(store.add_signing_key, SigningKey(f"key {number}", "{}", 1), if_none=True))

    async with open_store() as one, open_store() as other:
        async with trio.open_nursery() as nursery:
            for number in range(10):
                nursery.start_soon(add, (one, other)[number % 2], number)
        (key,) = await one.signing_keys()
        assert await other.signing_keys() == [key]


async def test_a_removed_key_leaves_the_others_and_no_first_key_replaces_it(open_store: OpenStore) -> None:
    old, new = SigningKey("old", "{}", 1), SigningKey("new", "{}", 2)
    async with open_store() as one, open_store() as other:
        for key in (old, new):
            await one.add_signing_key(key)
        for key_id in (old.key_id, old.key_id, "never added"):
            await one.remove_signing_key(key_id)
            assert await other.signing_keys() == [new]
        await other.add_signing_key(old, if_none=True)
        assert await one.signing_keys() == [new]


# ---- across openings


async def test_everything_is_there_when_it_is_opened_again_and_a_closed_store_is_unavailable(
    open_store: OpenStore,
) -> None:
    async with open_store() as first:
        await first.add_user(ALICE, "hash")
        await first.start_family(FAMILY, b"one", 9_000)
        await first.add_signing_key(SigningKey("key", "{}", 1))
    with pytest.raises(Unavailable):
        await first.set_password(ALICE.user_id, "hash")
    async with open_store() as store:
        assert await store.find_users("liddell", after_name="", limit=10) == [ALICE]
        assert await store.is_live("family")
        assert [key.key_id for key in await store.signing_keys()] == ["key"]


# ---- SQLite


@SQLITE
async def test_replaced_tokens_are_deleted_when_they_would_have_expired(signed_in: AccountStore) -> None:
    await signed_in.rotate(b"one", b"two", now_ms=2_000, expires_at_ms=20_000)
    await signed_in.rotate(b"two", b"three", now_ms=9_000, expires_at_ms=30_000)
    assert await signed_in.family_of(b"one") is None
    assert await signed_in.family_of(b"two") == FAMILY


@SQLITE
async def test_expired_sign_ins_are_deleted_by_later_ones(signed_in: AccountStore) -> None:
    await signed_in.start_family(Family("later", BOB.user_id, "", 9_000), b"later", 20_000)
    assert not await signed_in.is_live("family")
    assert await signed_in.is_live("later")


async def test_a_new_index_holds_the_accounts_of_the_file_which_only_its_owner_may_read(tmp_path: Path) -> None:
    path = tmp_path / "new" / "accounts.db"
    async with open_sqlite_accounts(path, trigrams=False) as store:
        await store.add_user(ALICE, "hash")
    async with open_sqlite_accounts(path) as store:
        assert await store.find_users("liddell", after_name="", limit=10) == [ALICE]
        for file in path.parent.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file.name


@pytest.mark.parametrize("trigrams", [True, False])
async def test_names_of_an_older_file_are_found_by_beginnings_of_their_words(tmp_path: Path, trigrams: bool) -> None:
    old = connect(tmp_path / "accounts.db")
    migrate(old, MIGRATIONS[:2])
    old.execute("INSERT INTO users VALUES (11, 'alice', 'Mary Bo', '', 1, 1000, 'hash', ?)", ("alice\nmary bo",))
    old.close()
    async with open_sqlite_accounts(tmp_path / "accounts.db", trigrams=trigrams) as store:
        for query in ("bo", "m", "al"):
            assert await store.find_users(query, after_name="", limit=10) == [replace(ALICE, display_name="Mary Bo")]
