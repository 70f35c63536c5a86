"""What the Cassandra twin of the account store promises besides: nothing stays half done, wherever it breaks off, and
what has expired goes by itself.

All tests share a keyspace, and have users, names and tokens of their own.
"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from rookery.serve.schema import MIGRATIONS
from shared.accounts.cassandra.search import NameIndex
from shared.accounts.cassandra.sign_ins import KEPT_SECONDS, MAX_SECONDS
from shared.accounts.cassandra.store import CassandraAccounts, open_cassandra_accounts
from shared.accounts.store import Family, Rotation, SigningKey, User
from shared.contract.errors import Unavailable
from shared.drivers.cassandra.session import CassandraSession, open_cassandra
from shared.drivers.cassandra.statements import Statements
from shared.settings import CassandraSettings
from tests.shared.accounts.stores import empty, letters, patiently

NUMBERS = itertools.count(1_000)
YEARS_100 = 100 * 365 * 24 * 60 * 60 * 1000
PATIENCE = 60.0
"""Seconds; only ends a test that has failed."""
Break = Callable[[CassandraSession, int], CassandraSession]


@pytest.fixture
async def session(cassandra_settings: CassandraSettings) -> AsyncIterator[CassandraSession]:
    async with open_cassandra(cassandra_settings, MIGRATIONS) as session:
        yield session


@pytest.fixture
def store(session: CassandraSession) -> CassandraAccounts:
    return accounts(session)


def accounts(session: CassandraSession) -> CassandraAccounts:
    return CassandraAccounts(Statements(session))


def new_user() -> User:
    """Whose names have one trigram each, which no other user's names have."""
    number = next(NUMBERS)
    name, display_name = (text.translate(letters("abcxyz", number)) for text in ("abc", "xyz"))
    return User(number, name, display_name, "", 1, 5)


def new_family(user: User) -> tuple[Family, bytes]:
    number = next(NUMBERS)
    return Family(f"family {number}", user.user_id, "phone", 1_000), b"token %d" % number


# ---- what breaks off


class Broken:
    """A session that breaks off at one of its requests and does nothing from then on, as a process that was killed.

    `is_done` says whether that request was still carried out, with only its answer lost.
    """

    def __init__(self, session: CassandraSession, at: int, *, is_done: bool) -> None:
        self._session = session
        self._left = at
        self._is_done = is_done

    async def prepare(self, cql: str) -> Any:
        return await self._session.prepare(cql)

    async def execute(self, statement: Any, parameters: Sequence[object] = ()) -> list[Any]:
        self._left -= 1
        if self._left >= 0:
            return await self._session.execute(statement, parameters)
        if self._left == -1 and self._is_done:
            await self._session.execute(statement, parameters)
        raise Unavailable("broken off")

    async def execute_all(self, work: Sequence[tuple[Any, Sequence[object]]]) -> list[list[Any]]:
        return [await self.execute(*each) for each in work]


@pytest.fixture(params=["request lost", "answer lost"])
def break_at(request: pytest.FixtureRequest) -> Break:
    """Makes a session that breaks off at its request of this number, from 0."""

    def break_at(session: CassandraSession, at: int) -> CassandraSession:
        return cast(CassandraSession, Broken(session, at, is_done=request.param == "answer lost"))

    return break_at


async def is_broken_off(work: Awaitable[object]) -> bool:
    try:
        await work
    except Unavailable:
        return True
    return False


async def test_a_registration_that_broke_off_is_finished_by_the_same_again(
    session: CassandraSession, store: CassandraAccounts, break_at: Break
) -> None:
    at, broke = -1, True
    while broke:
        at += 1
        user = new_user()
        broke = await is_broken_off(accounts(break_at(session, at)).add_user(user, "hash"))
        assert await store.add_user(user, "hash")
        await expect_account(store, user, "hash")
    assert at >= 5


async def test_a_registration_that_broke_off_leaves_the_name_free_or_a_whole_account(
    session: CassandraSession, store: CassandraAccounts, break_at: Break
) -> None:
    """A browser that tries again gets a new id. If its first try took the name, it can sign in with that password."""
    outcomes = set()
    at, broke = -1, True
    while broke:
        at += 1
        first = new_user()
        again = replace(first, user_id=next(NUMBERS))
        broke = await is_broken_off(accounts(break_at(session, at)).add_user(first, "first"))
        is_free = await store.add_user(again, "again")
        outcomes.add(is_free)
        await expect_account(store, *((again, "again") if is_free else (first, "first")))
        assert await store.users([first.user_id if is_free else again.user_id]) == []
    assert outcomes >= {False}


async def test_who_signs_in_after_a_registration_that_broke_off_finds_all_or_nothing(
    session: CassandraSession, store: CassandraAccounts, break_at: Break
) -> None:
    at, broke = -1, True
    while broke:
        at += 1
        user = new_user()
        broke = await is_broken_off(accounts(break_at(session, at)).add_user(user, "hash"))
        if await store.credentials(user.name) is None:
            assert await store.users([user.user_id]) == []
            assert await store.find_users(user.name, after_name="", limit=10) == []
        else:
            await expect_account(store, user, "hash")


async def test_a_finished_registration_leaves_no_password_hash_beside_the_account(
    session: CassandraSession, store: CassandraAccounts
) -> None:
    """Else that of a password which was changed long ago would stay."""
    user = new_user()
    await store.add_user(user, "hash")
    select = await session.prepare("SELECT password_hash, display_name FROM user_by_name WHERE name = ?")
    assert await session.execute(select, [user.name]) == [(None, None)]


async def test_a_late_finish_of_a_registration_takes_back_no_change(
    session: CassandraSession, store: CassandraAccounts
) -> None:
    user = new_user()
    await store.add_user(user, "hash")
    await store.set_password(user.user_id, "new")
    changed = await store.update_profile(user.user_id, display_name="", about="here", version=1)
    assert changed is not None
    await store._complete(user, "hash")
    await expect_account(store, changed, "new")
    assert await store.find_users(user.display_name, after_name="", limit=10) == []


async def test_a_profile_change_that_broke_off_is_whole_or_not_made_and_can_be_made_again(
    session: CassandraSession, store: CassandraAccounts, break_at: Break
) -> None:
    at, broke = -1, True
    while broke:
        at += 1
        user = new_user()
        await store.add_user(user, "hash")
        wanted = replace(user, display_name=new_user().display_name, version=2)
        change = partial(
            CassandraAccounts.update_profile,
            user_id=user.user_id,
            display_name=wanted.display_name,
            about="",
            version=1,
        )
        broke = await is_broken_off(change(accounts(break_at(session, at))))
        (now,) = await store.users([user.user_id])
        assert now in (user, wanted)
        await expect_account(store, now, "hash")
        assert await change(store) == wanted
        await expect_account(store, wanted, "hash")
        assert await store.find_users(user.display_name, after_name="", limit=10) == []
        assert await rows_in_index(session, user) == {wanted.display_name}
    assert at >= 5


async def test_a_sign_in_that_broke_off_harms_no_later_one(
    session: CassandraSession, store: CassandraAccounts, break_at: Break
) -> None:
    at, broke = -1, True
    while broke:
        at += 1
        user = new_user()
        (broken, broken_token), (family, token) = new_family(user), new_family(user)
        broke = await is_broken_off(accounts(break_at(session, at)).start_family(broken, broken_token, 9_000))
        await store.start_family(family, token, 9_000)
        await store.start_family(broken, broken_token, 9_000)
        for each, digest in ((family, token), (broken, broken_token)):
            assert await store.rotate(digest, digest + b"+", now_ms=2_000, expires_at_ms=9_000) == each
        assert sorted(await store.end_families(user.user_id)) == sorted([broken.family_id, family.family_id])
    assert at >= 3


async def test_a_rotation_that_broke_off_can_be_made_again_with_the_same_token(
    session: CassandraSession, store: CassandraAccounts, break_at: Break
) -> None:
    at, broke = -1, True
    while broke:
        at += 1
        user = new_user()
        family, token = new_family(user)
        await store.start_family(family, token, 9_000)
        rotation: dict[str, Any] = {
            "old_digest": token,
            "new_digest": token + b"+",
            "now_ms": 2_000,
            "expires_at_ms": 9_500,
        }
        broke = await is_broken_off(accounts(break_at(session, at)).rotate(**rotation))
        assert await store.is_live(family.family_id)
        assert await store.rotate(**rotation) == family
        assert await store.rotate(token + b"+", token + b"++", now_ms=9_200, expires_at_ms=9_900) == family
        assert await store.end_families(user.user_id) == [family.family_id]
    assert at >= 4


async def test_a_rotation_that_broke_off_was_made_or_not_for_one_with_another_token(
    session: CassandraSession, store: CassandraAccounts, break_at: Break
) -> None:
    outcomes = set()
    at, broke = -1, True
    while broke:
        at += 1
        user = new_user()
        family, token = new_family(user)
        await store.start_family(family, token, 9_000)
        broken = accounts(break_at(session, at)).rotate(token, token + b"+", now_ms=2_000, expires_at_ms=9_000)
        broke = await is_broken_off(broken)
        outcome = await store.rotate(token, token + b"*", now_ms=2_000, expires_at_ms=9_000)
        outcomes.add(outcome if isinstance(outcome, Rotation) else None)
        assert await store.is_live(family.family_id) == (outcome == family)
        alive = await store.rotate(token + b"*", token + b"**", now_ms=2_000, expires_at_ms=9_000)
        assert alive == (family if outcome == family else Rotation.UNKNOWN)
    assert outcomes == {None, Rotation.REUSED}


async def test_a_reuse_that_broke_off_ends_the_family_when_it_comes_again(
    session: CassandraSession, store: CassandraAccounts, break_at: Break
) -> None:
    at, broke = -1, True
    while broke:
        at += 1
        user = new_user()
        family, token = new_family(user)
        await store.start_family(family, token, 9_000)
        await store.rotate(token, token + b"+", now_ms=2_000, expires_at_ms=9_000)
        reuse = partial(CassandraAccounts.rotate, old_digest=token, new_digest=b"-", now_ms=2_000, expires_at_ms=9_000)
        broke = await is_broken_off(reuse(accounts(break_at(session, at))))
        assert await reuse(store) in (Rotation.REUSED, Rotation.UNKNOWN)
        assert not await store.is_live(family.family_id)
    assert at >= 4


@pytest.mark.parametrize("kept", [True, False])
async def test_an_end_of_all_sign_ins_that_broke_off_names_all_when_it_comes_again(
    session: CassandraSession, store: CassandraAccounts, break_at: Break, *, kept: bool
) -> None:
    """So that the gateways hear of each."""
    at, broke = -1, True
    while broke:
        at += 1
        user = new_user()
        families = [new_family(user) for _ in range(3)]
        for family, token in families:
            await store.start_family(family, token, 9_000)
        all_ids = sorted(family.family_id for family, _ in families)
        kept_id = all_ids.pop() if kept else ""
        end = partial(CassandraAccounts.end_families, user_id=user.user_id, except_family_id=kept_id)
        broke = await is_broken_off(end(accounts(break_at(session, at))))
        named = sorted(await end(store))
        assert [await store.is_live(family_id) for family_id in all_ids] == [False] * len(all_ids)
        assert not kept or await store.is_live(kept_id)
        assert set(named) <= set(all_ids)
        assert not broke or named == all_ids or at > len(all_ids)  # then only what leads to them was left to remove


async def test_a_sign_out_that_broke_off_can_be_made_again(
    session: CassandraSession, store: CassandraAccounts, break_at: Break
) -> None:
    at, broke = -1, True
    while broke:
        at += 1
        family, token = new_family(new_user())
        await store.start_family(family, token, 9_000)
        broke = await is_broken_off(accounts(break_at(session, at)).end_family(family.family_id))
        await store.end_family(family.family_id)
        assert not await store.is_live(family.family_id)
        assert await store.family_of(token) is None
    assert at >= 3


async def test_a_first_key_that_broke_off_can_be_added_again(
    session: CassandraSession, store: CassandraAccounts, break_at: Break
) -> None:
    await empty(session)
    first, second = SigningKey("first", "{}", 1), SigningKey("second", "{}", 2)
    with pytest.raises(Unavailable):
        await accounts(break_at(session, 0)).add_signing_key(first, if_none=True)
    await store.add_signing_key(second, if_none=True)
    (key,) = await store.signing_keys()
    assert key in (first, second)
    await store.add_signing_key(first)
    await store.add_signing_key(first)
    assert first in await store.signing_keys()
    assert len(await store.signing_keys()) <= 2


async def expect_account(store: CassandraAccounts, user: User, password_hash: str) -> None:
    """All of it is there, and nobody else has its names."""
    credentials = await store.credentials(user.name)
    assert credentials is not None
    assert (credentials.user_id, credentials.password_hash) == (user.user_id, password_hash)
    assert await store.users([user.user_id]) == [user]
    for name in (user.name, user.display_name):
        if len(name) >= 3:
            assert await store.find_users(name, after_name="", limit=10) == [user]


async def rows_in_index(session: CassandraSession, user: User) -> set[str]:
    """The display names with which the index has the user's name."""
    select = await session.prepare("SELECT display_name FROM names_by_trigram WHERE trigram = ?")
    return {display_name for (display_name,) in await session.execute(select, [user.name])}


# ---- what happens at once


async def test_a_name_is_never_seen_without_its_account(session: CassandraSession, store: CassandraAccounts) -> None:
    for _ in range(4):
        user = new_user()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(patiently, partial(store.add_user, user, "hash"))
            with trio.fail_after(PATIENCE):
                while await patiently(partial(store.credentials, user.name)) is None:
                    pass
            await expect_account(store, user, "hash")


async def test_a_sign_in_that_meets_an_end_of_all_is_ended_by_the_next(store: CassandraAccounts) -> None:
    """Whichever comes first: it never lives where an end does not find it."""
    for _ in range(20):
        user = new_user()
        family, token = new_family(user)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(patiently, partial(store.start_family, family, token, 9_000))
            nursery.start_soon(patiently, partial(store.end_families, user.user_id))
        await store.end_families(user.user_id)
        assert not await store.is_live(family.family_id)


async def test_a_search_finds_an_account_while_its_display_name_changes(store: CassandraAccounts) -> None:
    user = new_user()
    await store.add_user(user, "hash")
    done = trio.Event()

    async def search() -> None:
        while not done.is_set():
            for part in (user.name, user.display_name):  # all of its display names have that part
                (found,) = await store.find_users(part, after_name="", limit=10)
                assert found.user_id == user.user_id

    async with trio.open_nursery() as nursery:
        nursery.start_soon(search)
        for version in range(1, 21):
            display_name = f"{user.display_name}{version % 3}"
            await store.update_profile(user.user_id, display_name=display_name, about="", version=version)
        done.set()


# ---- the index of names


async def test_what_arrives_late_in_the_index_harms_no_later_change(
    session: CassandraSession, store: CassandraAccounts
) -> None:
    user = new_user()
    other = replace(user, display_name=new_user().display_name, version=2)
    await store.add_user(user, "hash")
    await store.update_profile(user.user_id, display_name=other.display_name, about="", version=1)
    back = await store.update_profile(user.user_id, display_name=user.display_name, about="", version=2)
    index = NameIndex(Statements(session), store.users)
    await index.remove(user, 2)
    await index.add(other)
    assert await store.find_users(user.display_name, after_name="", limit=10) == [back]
    assert await store.find_users(other.display_name, after_name="", limit=10) == []
    assert await rows_in_index(session, user) == {user.display_name}


@settings(max_examples=20)
@given(
    display_names=st.lists(st.lists(st.text("abcd", max_size=5), min_size=1, max_size=4), max_size=8),
    part=st.text("abcd", min_size=3, max_size=4),
    page=st.integers(1, 4),
    limit=st.integers(1, 5),
)
async def test_a_search_gives_what_reading_all_accounts_would(
    cassandra_settings: CassandraSettings, display_names: list[list[str]], part: str, page: int, limit: int
) -> None:
    """Though pages of the index are short, and it holds names that were never taken or have been left."""
    own = letters("abcd", next(NUMBERS))
    part = part.translate(own)
    async with open_cassandra(cassandra_settings, MIGRATIONS) as session:
        statements = Statements(session)
        store = CassandraAccounts(statements)
        index = NameIndex(statements, store.users, page=page)
        users: list[User] = []
        for number, (first, *others) in enumerate(display_names):
            user = User(next(NUMBERS), f"{number} abcd".translate(own), first.translate(own), "", 1, 5)
            await store.add_user(user, "hash")
            for version, display_name in enumerate(others, 2):
                await index.add(replace(user, display_name=display_name.translate(own)[::-1], version=version))
                user = replace(user, display_name=display_name.translate(own), version=version)
                await index.add(user)
                await set_display_name(session, user)
            users.append(user)
        expected = [user for user in users if part in f"{user.name}\n{user.display_name}"]
        for _ in range(2):  # with the rows that are of no account any more, and without
            found: list[User] = []
            while some := await index.find(part, after_name=found[-1].name if found else "", limit=limit):
                assert len(some) <= limit
                found += some
            assert found == expected


async def set_display_name(session: CassandraSession, user: User) -> None:
    """As a process does that is killed before it has removed the old name from the index."""
    update = await session.prepare("UPDATE users SET display_name = ?, version = ? WHERE user_id = ? IF EXISTS")
    await session.execute(update, [user.display_name, user.version, user.user_id])


async def test_a_search_reads_along_the_rarest_part_of_the_name(
    session: CassandraSession, store: CassandraAccounts
) -> None:
    """Else many accounts with a common part would hide one whose other part is rare."""
    own = letters("abcd", next(NUMBERS))
    common, rare = "abc".translate(own), "abcd".translate(own)
    for number in range(30):
        await store.add_user(replace(new_user(), name=f"{number:02} {common}"), "hash")
    user = replace(new_user(), name=f"99 {rare}")
    await store.add_user(user, "hash")
    index = NameIndex(Statements(session), store.users, page=5, max_scanned=5)
    assert await index.find(rare, after_name="", limit=10) == [user]


async def test_a_search_ends_at_its_bound(session: CassandraSession, store: CassandraAccounts) -> None:
    own = letters("abcdef", next(NUMBERS))
    both = "abc def".translate(own)
    for number in range(12):  # with every trigram of the part that is searched for, but not the part
        await store.add_user(replace(new_user(), name=f"{number:02}", display_name=f"{both[1:]} {both[:-1]}"), "hash")
    user = replace(new_user(), name="99", display_name=both)
    await store.add_user(user, "hash")
    bounded = NameIndex(Statements(session), store.users, page=3, max_scanned=9)
    assert await bounded.find(both, after_name="", limit=10) == []
    assert await bounded.find(both, after_name="05", limit=10) == [user]
    assert await store.find_users(both, after_name="", limit=10) == [user]


# ---- what goes by itself


@pytest.mark.parametrize(
    ("life_ms", "seconds"), [(60_000, 60 + KEPT_SECONDS), (1, 1 + KEPT_SECONDS), (YEARS_100, MAX_SECONDS)]
)
async def test_all_of_a_sign_in_goes_a_day_after_it_expires(
    session: CassandraSession, store: CassandraAccounts, life_ms: int, seconds: int
) -> None:
    user = new_user()
    family, token = new_family(user)
    await store.start_family(family, token, family.created_at_ms + life_ms)
    for left in await lives(session, family, token):
        assert seconds - 60 < left <= seconds


async def test_a_rotation_prolongs_all_of_a_sign_in(session: CassandraSession, store: CassandraAccounts) -> None:
    user = new_user()
    family, token = new_family(user)
    await store.start_family(family, token, family.created_at_ms + 1_000)
    await store.rotate(token, token + b"+", now_ms=family.created_at_ms + 500, expires_at_ms=1_000_000_000)
    for left in await lives(session, family, token + b"+"):
        assert left > 900_000
    assert await store.family_of(token + b"+") == family


async def lives(session: CassandraSession, family: Family, token: bytes) -> list[int]:
    """Seconds until each column of a sign-in goes."""
    columns = ("user_id", "device_name", "created_at_ms", "current_digest", "expires_at_ms")
    ttls = ", ".join(f"TTL({column})" for column in columns)
    of_family = await session.prepare(f"SELECT {ttls} FROM families WHERE family_id = ?")
    of_token = await session.prepare("SELECT TTL(family_id) FROM refresh_tokens WHERE digest = ?")
    answers = await session.execute_all([(of_family, [family.family_id]), (of_token, [token])])
    (family_lives,), (token_lives,) = answers
    return [*family_lives, *token_lives]


async def test_an_expired_sign_in_is_removed_from_its_user(
    session: CassandraSession, store: CassandraAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.accounts.cassandra.sign_ins.KEPT_SECONDS", 0)
    user = new_user()
    family, token = new_family(user)
    await store.start_family(family, token, family.created_at_ms + 1)
    with trio.fail_after(PATIENCE):
        while await store.is_live(family.family_id) or await store.family_of(token):
            await trio.sleep(0.1)
        while await session.execute(f"SELECT * FROM families_by_user WHERE user_id = {user.user_id}"):
            await trio.sleep(0.1)
    assert await store.end_families(user.user_id) == []


# ---- opening


async def test_a_store_whose_session_is_closed_is_unavailable(cassandra_settings: CassandraSettings) -> None:
    async with open_cassandra(cassandra_settings, MIGRATIONS) as session, open_cassandra_accounts(session) as store:
        pass
    with pytest.raises(Unavailable):
        await store.users([1])
