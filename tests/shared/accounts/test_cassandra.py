"""The account store in Cassandra leaves nothing half done, wherever it breaks off, and its expired rows disappear.

All tests share a keyspace, and have users, names and tokens of their own.
"""

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from rookery.serve.schema import FILLS, MIGRATIONS
from shared.accounts.cassandra.search import NameIndex
from shared.accounts.cassandra.sign_ins import (
    END_FAMILY,
    ENDED_AT_ONCE,
    FAMILY_OF_TOKEN,
    KEPT_SECONDS,
    MAX_SECONDS,
    CassandraSignIns,
)
from shared.accounts.cassandra.store import CassandraAccounts
from shared.accounts.people import Relationship, Report, Resolution
from shared.accounts.sign_outs import WRITE_DEADLINE, completed
from shared.accounts.store import Family, Rotation, SigningKey, UnconfirmedEnd, User
from shared.contract.errors import Unavailable
from shared.drivers.cassandra.migrations import FIRST_PLACE
from shared.drivers.cassandra.session import CassandraSession
from shared.drivers.cassandra.statements import Statements
from tests.cassandra_sessions import OpenSession
from tests.fuzzing import examples
from tests.shared.accounts.stores import empty, letters, patiently

NUMBERS = itertools.count(1_000)
YEARS_100 = 100 * 365 * 24 * 60 * 60 * 1000
PATIENCE = 60.0
"""Seconds; only ends a test that has failed."""


@pytest.fixture
async def session(open_session: OpenSession) -> AsyncIterator[CassandraSession]:
    async with open_session() as session:
        yield session


@pytest.fixture
def store(session: CassandraSession) -> CassandraAccounts:
    return accounts(session)


def accounts(session: "CassandraSession | BreakingSession") -> CassandraAccounts:
    return CassandraAccounts(Statements(cast(CassandraSession, session)))


def new_user() -> User:
    """A user whose names have one trigram each, which no other user's names have."""
    number = next(NUMBERS)
    name, display_name = (text.translate(letters("abcxyz", number)) for text in ("abc", "xyz"))
    return User(number, name, display_name, "", 1, 5)


def new_family(user: User) -> tuple[Family, bytes]:
    number = next(NUMBERS)
    return Family(f"family {number}", user.user_id, "phone", 1_000), b"token %d" % number


# ---- requests that break off


class BreakingSession:
    """A session that breaks off at one of its requests and does nothing from then on, as a process that was killed.

    With `is_answer_lost`, the node still carries out that request.
    """

    def __init__(self, session: CassandraSession, at: int, *, is_answer_lost: bool) -> None:
        self._session = session
        self._left = at
        self._is_answer_lost = is_answer_lost

    @property
    def has_broken_off(self) -> bool:
        return self._left < 0

    async def prepare(self, cql: str) -> Any:
        return await self._session.prepare(cql)

    async def execute(self, statement: Any, parameters: Sequence[object] = ()) -> list[Any]:
        self._left -= 1
        if self._left >= 0:
            return await self._session.execute(statement, parameters)
        if self._left == -1 and self._is_answer_lost:
            await self._session.execute(statement, parameters)
        raise Unavailable("broken off")

    async def execute_all(self, work: Sequence[tuple[Any, Sequence[object]]]) -> list[list[Any]]:
        return [await self.execute(*each) for each in work]


LOST = [pytest.param("request lost", marks=pytest.mark.slow), "answer lost"]
"""Of the request at which a store breaks off."""


Check = Callable[[CassandraAccounts], Awaitable[None]]
CheckBreaking = Callable[[Check], Awaitable[None]]
BreakAt = Callable[[int], BreakingSession]

AT_ONCE = 8
"""Stores that break off in checks of their own users at once."""


@pytest.fixture(params=LOST)
def break_at(request: pytest.FixtureRequest, session: CassandraSession) -> BreakAt:
    """Returns a session that breaks off at a request, counted from 0."""
    return partial(BreakingSession, session, is_answer_lost=request.param == "answer lost")


@pytest.fixture
def check_breaking(break_at: BreakAt) -> CheckBreaking:
    """Calls a check with a store that breaks off at its first request, at its second, and so on, until one finishes its
    work: several at once, so each check uses its own users."""

    async def run(check: Check) -> None:
        for first in itertools.count(0, AT_ONCE):
            some = [break_at(at) for at in range(first, first + AT_ONCE)]
            async with trio.open_nursery() as nursery:
                for breaking in some:
                    nursery.start_soon(check, accounts(breaking))
            broken_off = [breaking.has_broken_off for breaking in some]
            if not all(broken_off):
                assert first + sum(broken_off) >= 3
                return

    return run


@pytest.mark.parametrize("is_same", [True, False], ids=["same id", "new id"])
async def test_a_registration_that_broke_off_is_all_or_nothing_and_can_be_retried(
    store: CassandraAccounts, check_breaking: CheckBreaking, *, is_same: bool
) -> None:
    """A browser that retries gets a new id. If its first try took the name, it can sign in with that password."""
    outcomes = set()

    async def check(breaking: CassandraAccounts) -> None:
        user = new_user()
        again = user if is_same else replace(user, user_id=next(NUMBERS))
        with suppress(Unavailable):
            await breaking.add_user(user, "hash")
        if await store.credentials(user.name) is None:
            assert await store.users([user.user_id]) == []
            assert await store.find_users(user.name, after_name="", limit=10) == []
        else:
            await expect_account(store, user, "hash")
        is_added = await store.add_user(again, "hash")
        outcomes.add(is_added)
        await expect_account(store, again if is_added else user, "hash")
        if not is_same:
            assert await store.users([user.user_id if is_added else again.user_id]) == []

    await check_breaking(check)
    assert outcomes == {True} if is_same else outcomes >= {False}


async def test_a_changed_relationship_that_broke_off_is_the_same_for_both_users_and_can_be_repeated(
    store: CassandraAccounts, check_breaking: CheckBreaking
) -> None:
    async def check(breaking: CassandraAccounts) -> None:
        one, other = next(NUMBERS), next(NUMBERS)
        before = Relationship(one, other)
        for wants_ms in (5, 0):  # listed for both, and no longer
            wanted = replace(before, wants_ms=wants_ms, version=before.version + 1)
            with suppress(Unavailable):
                await breaking.change_relationship(before, wanted)
            now = (await store.relationships(one, [other]))[other]
            assert now in (before, wanted)
            if now == before:
                assert await store.change_relationship(before, wanted)
            assert (await store.relationships(other, [one]))[one] == wanted.reversed
            assert await store.relationships_of(one) == [wanted] * wanted.is_listed
            assert await store.relationships_of(other) == [wanted.reversed] * wanted.is_listed
            before = wanted

    await check_breaking(check)


async def test_a_report_whose_end_broke_off_is_open_or_closed_and_can_be_closed(
    store: CassandraAccounts, check_breaking: CheckBreaking
) -> None:
    async def check(breaking: CassandraAccounts) -> None:
        report = Report(next(NUMBERS), 1, 2, "", "", "spam")
        with suppress(Unavailable):
            await breaking.add_report(report)
        await store.add_report(report)
        close: dict[str, Any] = {"resolution": Resolution.HANDLED, "note": "", "closed_by": 3, "at_ms": 50}
        with suppress(Unavailable):
            await breaking.close_report(report.report_id, **close)
        await store.close_report(report.report_id, **close)
        closed = replace(report, resolution=Resolution.HANDLED, closed_by=3, closed_at_ms=50)
        assert await store.report(report.report_id) == closed
        still_open = await store.reports(is_open=True, after=report.report_id - 1, limit=100)
        assert report.report_id not in [each.report_id for each in still_open]
        assert await store.reports(is_open=False, after=report.report_id + 1, limit=1) == [closed]

    await check_breaking(check)


async def test_a_late_end_of_a_registration_undoes_no_change_and_leaves_no_password_hash_beside_the_account(
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
    select = await session.prepare("SELECT password_hash, display_name FROM user_by_name WHERE name = ?")
    assert await session.execute(select, [user.name]) == [(None, None)]


async def test_a_profile_change_that_broke_off_is_all_or_nothing_and_can_be_retried(
    session: CassandraSession, store: CassandraAccounts, check_breaking: CheckBreaking
) -> None:
    async def check(breaking: CassandraAccounts) -> None:
        user = new_user()
        await store.add_user(user, "hash")
        wanted = replace(user, display_name=new_user().display_name, version=2)
        change: dict[str, Any] = {"display_name": wanted.display_name, "about": "", "version": 1}
        with suppress(Unavailable):
            await breaking.update_profile(user.user_id, **change)
        (now,) = await store.users([user.user_id])
        assert now in (user, wanted)
        await expect_account(store, now, "hash")
        assert await store.update_profile(user.user_id, **change) == wanted
        await expect_account(store, wanted, "hash")
        assert await store.find_users(user.display_name, after_name="", limit=10) == []
        assert await rows_in_index(session, user) == {wanted.display_name}

    await check_breaking(check)


async def test_a_deletion_that_broke_off_can_be_repeated_and_leaves_no_name_in_the_index(
    session: CassandraSession, store: CassandraAccounts, check_breaking: CheckBreaking
) -> None:
    async def check(breaking: CassandraAccounts) -> None:
        user = new_user()
        await store.add_user(user, "hash")
        with suppress(Unavailable):
            await breaking.delete_user(user.user_id)
        await store.delete_user(user.user_id)
        assert await store.users([user.user_id]) == [replace(user, display_name="", version=2, is_deleted=True)]
        assert await rows_in_index(session, user) == set()

    await check_breaking(check)


async def test_an_account_whose_creation_broke_off_is_deleted_with_its_password(
    session: CassandraSession, store: CassandraAccounts, check_breaking: CheckBreaking
) -> None:
    select = await session.prepare("SELECT password_hash, display_name FROM user_by_name WHERE name = ?")
    deleted = []

    async def check(breaking: CassandraAccounts) -> None:
        user = new_user()
        with suppress(Unavailable):
            await breaking.add_user(user, "hash")
        await store.delete_user(user.user_id)
        if await store.users([user.user_id]):
            deleted.extend(await session.execute(select, [user.name]))

    await check_breaking(check)
    assert set(deleted) == {(None, None)}


async def test_a_sign_in_that_broke_off_harms_no_later_one(
    store: CassandraAccounts, check_breaking: CheckBreaking
) -> None:
    async def check(breaking: CassandraAccounts) -> None:
        user = new_user()
        (broken, broken_token), (family, token) = new_family(user), new_family(user)
        with suppress(Unavailable):
            await breaking.start_family(broken, broken_token, 9_000)
        await store.start_family(family, token, 9_000)
        await store.start_family(broken, broken_token, 9_000)
        for each, digest in ((family, token), (broken, broken_token)):
            assert await store.rotate(digest, digest + b"+", now_ms=2_000, expires_at_ms=9_000) == each
        assert sorted(await store.end_families(user.user_id)) == sorted([broken.family_id, family.family_id])

    await check_breaking(check)


async def test_a_rotation_that_broke_off_can_be_retried_with_the_same_token(
    store: CassandraAccounts, check_breaking: CheckBreaking
) -> None:
    async def check(breaking: CassandraAccounts) -> None:
        user = new_user()
        family, token = new_family(user)
        await store.start_family(family, token, 9_000)
        with suppress(Unavailable):
            await breaking.rotate(token, token + b"+", now_ms=2_000, expires_at_ms=9_500)
        assert await store.is_live(family.family_id)
        assert await store.rotate(token, token + b"+", now_ms=2_000, expires_at_ms=9_500) == family
        assert await store.rotate(token + b"+", token + b"++", now_ms=9_200, expires_at_ms=9_900) == family
        assert await store.end_families(user.user_id) == [family.family_id]

    await check_breaking(check)


async def test_a_rotation_that_broke_off_was_made_or_not_for_a_caller_with_another_token(
    store: CassandraAccounts, check_breaking: CheckBreaking
) -> None:
    outcomes = set()

    async def check(breaking: CassandraAccounts) -> None:
        family, token = new_family(new_user())
        await store.start_family(family, token, 9_000)
        with suppress(Unavailable):
            await breaking.rotate(token, token + b"+", now_ms=2_000, expires_at_ms=9_000)
        outcome = await store.rotate(token, token + b"*", now_ms=2_000, expires_at_ms=9_000)
        outcomes.add(outcome if isinstance(outcome, Rotation) else None)
        assert await store.is_live(family.family_id) == (outcome == family)
        alive = await store.rotate(token + b"*", token + b"**", now_ms=2_000, expires_at_ms=9_000)
        assert alive == (family if outcome == family else Rotation.UNKNOWN)

    await check_breaking(check)
    assert outcomes == {None, Rotation.REUSED}


async def test_a_reuse_that_broke_off_ends_the_family_when_it_is_repeated(
    store: CassandraAccounts, check_breaking: CheckBreaking
) -> None:
    async def check(breaking: CassandraAccounts) -> None:
        family, token = new_family(new_user())
        await store.start_family(family, token, 9_000)
        await store.rotate(token, token + b"+", now_ms=2_000, expires_at_ms=9_000)
        with suppress(Unavailable):
            await breaking.rotate(token, b"-", now_ms=2_000, expires_at_ms=9_000)
        outcome = await store.rotate(token, b"-", now_ms=2_000, expires_at_ms=9_000)
        assert outcome in (Rotation.REUSED, Rotation.UNKNOWN)
        assert not await store.is_live(family.family_id)

    await check_breaking(check)


async def test_the_end_of_a_sign_in_is_repeated_once(store: CassandraAccounts, monkeypatch: pytest.MonkeyPatch) -> None:
    async def end_unconfirmed(user_id: int, family_ids: Sequence[str]) -> None:
        monkeypatch.setattr(store, "_end", end)
        raise Unavailable("no answer")

    family, token = new_family(new_user())
    await store.start_family(family, token, 9_000)
    end = store._end
    monkeypatch.setattr(store, "_end", end_unconfirmed)
    await store.end_family(family.family_id)
    assert not await store.is_live(family.family_id)


@pytest.mark.parametrize("failures", [1, 2])
async def test_the_end_of_a_reused_sign_in_is_repeated_once(
    store: CassandraAccounts, monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    attempts = itertools.count(1)

    async def end_unconfirmed(user_id: int, family_ids: Sequence[str]) -> None:
        if next(attempts) <= failures:
            raise Unavailable("no answer")
        await end(user_id, family_ids)

    family, token = new_family(new_user())
    await store.start_family(family, token, 9_000)
    await store.rotate(token, token + b"+", now_ms=2_000, expires_at_ms=9_000)
    end = store._end
    monkeypatch.setattr(store, "_end", end_unconfirmed)
    with nullcontext() if failures == 1 else pytest.raises(UnconfirmedEnd):
        assert await store.rotate(token, b"-", now_ms=2_000, expires_at_ms=9_000) is Rotation.REUSED
        assert not await store.is_live(family.family_id)


async def test_the_end_of_a_reused_sign_in_that_takes_longer_than_a_request_is_unconfirmed(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """As with long time-outs in the settings: its sessions end all the same."""
    family, token = new_family(new_user())

    class Slow:
        """Statements of which a write gets no answer within the deadline."""

        async def run(self, text: str, *_: object) -> list[tuple[object, ...]]:
            columns = (family.family_id, family.user_id, family.device_name, family.created_at_ms, None)
            return [(family.family_id,) if text == FAMILY_OF_TOKEN else (*columns, token + b"+", 9_000)]

        async def run_all(self, *_: object) -> None:
            await trio.sleep(2 * WRITE_DEADLINE)

    with pytest.raises(UnconfirmedEnd), completed():
        await CassandraSignIns(cast(Statements, Slow())).rotate(token, b"-", now_ms=2_000, expires_at_ms=9_000)


@pytest.mark.parametrize("is_one_kept", [True, False])
async def test_an_end_of_all_sign_ins_that_broke_off_names_all_when_it_is_repeated(
    store: CassandraAccounts, break_at: BreakAt, *, is_one_kept: bool
) -> None:
    """So that each is announced to the gateways."""
    count = 3
    for at in range(2 * count + 2):
        breaking = accounts(break_at(at))
        user = new_user()
        families = [new_family(user) for _ in range(count)]
        for family, token in families:
            await store.start_family(family, token, 9_000)
        all_ids = sorted(family.family_id for family, _ in families)
        kept_id = all_ids.pop() if is_one_kept else ""
        has_broken_off = True
        with suppress(Unavailable):
            await breaking.end_families(user.user_id, except_family_id=kept_id)
            has_broken_off = False
        named = sorted(await store.end_families(user.user_id, except_family_id=kept_id))
        assert [await store.is_live(family_id) for family_id in all_ids] == [False] * len(all_ids)
        assert not is_one_kept or await store.is_live(kept_id)
        assert set(named) <= set(all_ids)
        assert not has_broken_off or named == all_ids or at > len(all_ids)  # then only their index was left to remove


async def test_an_end_of_many_sign_ins_that_broke_off_goes_on_where_it_was_when_it_is_repeated() -> None:
    all_ids = [f"family {number:03}" for number in range(2 * ENDED_AT_ONCE + 1)]
    ended, listed, writes = list[object](), [*all_ids], itertools.count(1)

    class Breaking:
        """Statements that break off in the second batch."""

        async def run(self, *_: object) -> list[tuple[str]]:
            return [(family_id,) for family_id in listed]

        async def run_all(self, text: str, rows: Sequence[Sequence[str]]) -> None:
            if next(writes) == 3:
                raise Unavailable("broken off")
            for row in rows:
                if text == END_FAMILY:
                    ended.append(row[0])
                else:
                    listed.remove(row[1])

    store = CassandraSignIns(cast(Statements, Breaking()))
    with pytest.raises(Unavailable):
        await store.end_families(1)
    assert await store.end_families(1) == all_ids[ENDED_AT_ONCE:]
    assert (ended, listed) == (all_ids, [])


async def test_a_sign_out_that_broke_off_can_be_retried(
    store: CassandraAccounts, check_breaking: CheckBreaking
) -> None:
    async def check(breaking: CassandraAccounts) -> None:
        family, token = new_family(new_user())
        await store.start_family(family, token, 9_000)
        with suppress(Unavailable):
            await breaking.end_family(family.family_id)
        await store.end_family(family.family_id)
        assert not await store.is_live(family.family_id)
        assert await store.family_of(token) is None

    await check_breaking(check)


async def test_a_first_key_that_broke_off_can_be_added_again(
    session: CassandraSession, store: CassandraAccounts, break_at: BreakAt
) -> None:
    await empty(session)
    first, second = SigningKey("first", "{}", 1), SigningKey("second", "{}", 2)
    with pytest.raises(Unavailable):
        await accounts(break_at(0)).add_signing_key(first, if_none=True)
    await store.add_signing_key(second, if_none=True)
    (key,) = await store.signing_keys()
    assert key in (first, second)
    for _ in range(2):
        await store.add_signing_key(first)
    assert first in await store.signing_keys()
    assert len(await store.signing_keys()) <= 2


async def expect_account(store: CassandraAccounts, user: User, password_hash: str) -> None:
    """Assert that the whole account is there, and that no other has its names."""
    credentials = await store.credentials(user.name)
    assert credentials is not None
    assert (credentials.user_id, credentials.password_hash) == (user.user_id, password_hash)
    assert await store.users([user.user_id]) == [user]
    for name in (user.name, user.display_name):
        if name:
            assert await store.find_users(name, after_name="", limit=10) == [user]


async def rows_in_index(session: CassandraSession, user: User) -> set[str]:
    """The display names with which the index has the user's name."""
    select = await session.prepare("SELECT display_name FROM names_by_trigram WHERE trigram = ?")
    return {display_name for (display_name,) in await session.execute(select, [user.name])}


# ---- concurrent calls


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
    """In either order: no sign-in outlives an end that does not find it."""
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


async def test_a_late_write_to_the_index_harms_no_later_change(
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


@examples(5)
@given(
    display_names=st.lists(st.lists(st.text("abcd", max_size=5), min_size=1, max_size=4), max_size=8),
    words=st.lists(st.text("abcd", min_size=1, max_size=4), min_size=1, max_size=2),
    page=st.integers(1, 4),
    limit=st.integers(1, 5),
)
async def test_a_search_finds_the_same_as_reading_all_accounts(
    open_session: OpenSession, display_names: list[list[str]], words: list[str], page: int, limit: int
) -> None:
    """Though pages of the index are short, and it holds names that no account has had or has any more."""
    own = letters("abcd", next(NUMBERS))
    words = [word.translate(own) for word in words]

    def is_found(user: User) -> bool:
        names = [*user.name.split(), user.display_name]
        return all(any(word in name if len(word) > 2 else name.startswith(word) for name in names) for word in words)

    async with open_session() as session:
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
        expected = [user for user in users if is_found(user)]
        for _ in range(2):  # with the rows of former names, and without
            found: list[User] = []
            while some := await index.find(" ".join(words), after_name=found[-1].name if found else "", limit=limit):
                assert len(some) <= limit
                found += some
            assert found == expected


async def set_display_name(session: CassandraSession, user: User) -> None:
    """Change the name as a process that is killed before it has removed the old name from the index."""
    update = await session.prepare("UPDATE users SET display_name = ?, version = ? WHERE user_id = ? IF EXISTS")
    await session.execute(update, [user.display_name, user.version, user.user_id])


async def test_a_search_reads_along_the_rarest_part_of_the_name(
    session: CassandraSession, store: CassandraAccounts
) -> None:
    """Otherwise many accounts with a common part would hide one with a rare part."""
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
    both = "abcdef".translate(own)
    for number in range(12):  # with every trigram of the part that is searched for, but not the part
        await store.add_user(replace(new_user(), name=f"{number:02}", display_name=f"{both[1:]} {both[:-1]}"), "hash")
    user = replace(new_user(), name="99", display_name=both)
    await store.add_user(user, "hash")
    bounded = NameIndex(Statements(session), store.users, page=3, max_scanned=9)
    assert await bounded.find(both, after_name="", limit=10) == []
    assert await bounded.find(both, after_name="05", limit=10) == [user]
    assert await store.find_users(both, after_name="", limit=10) == [user]


async def test_migrations_add_all_accounts_to_the_index_and_to_the_list(
    session: CassandraSession, store: CassandraAccounts, monkeypatch: pytest.MonkeyPatch
) -> None:
    users = [new_user() for _ in range(5)]

    class Noted:
        """A Progress from the first row on."""

        def __init__(self) -> None:
            self.places: list[int] = []

        def place(self, table: str) -> int:
            return FIRST_PLACE

        async def note(self, table: str, token: int) -> None:
            self.places.append(token)

    async def nothing(*_: object) -> None: ...

    with monkeypatch.context() as patch:
        patch.setattr(NameIndex, "add", nothing)
        patch.setattr("shared.accounts.cassandra.store._list", nothing)
        for user in users:
            await store.add_user(user, "hash")
            assert await store.find_users(user.name, after_name="", limit=10) == []
            assert user not in await store.list_users(after_id=user.user_id + 1, limit=1)
    monkeypatch.setattr("shared.accounts.cassandra.search.PAGE", 2)
    progress = Noted()
    await FILLS[4](session, progress)
    assert len(progress.places) > 2
    assert progress.places == sorted(progress.places)
    await FILLS[len(MIGRATIONS)](session, Noted())
    for user in users:
        assert await store.find_users(user.name[:1], after_name="", limit=10) == [user]
    assert await store.list_users(after_id=users[-1].user_id + 1, limit=5) == users[::-1]


# ---- rows that expire


@pytest.mark.parametrize(
    ("life_ms", "seconds"), [(60_000, 60 + KEPT_SECONDS), (1, 1 + KEPT_SECONDS), (YEARS_100, MAX_SECONDS)]
)
async def test_every_row_of_a_sign_in_expires_a_day_after_it_and_a_rotation_extends_all(
    session: CassandraSession, store: CassandraAccounts, life_ms: int, seconds: int
) -> None:
    family, token = new_family(new_user())
    await store.start_family(family, token, family.created_at_ms + life_ms)
    for left in await lives(session, family, token):
        assert seconds - 60 < left <= seconds
    await store.rotate(token, token + b"+", now_ms=family.created_at_ms, expires_at_ms=1_000_000_000)
    for left in await lives(session, family, token + b"+"):
        assert left > 900_000
    assert await store.family_of(token + b"+") == family


async def lives(session: CassandraSession, family: Family, token: bytes) -> list[int]:
    """Seconds until each column of a sign-in expires."""
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
