"""Both account stores: admins, suspended users, lists of sign-ins, and the audit log."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from shared.accounts.audit import Act, Actor, AuditEntry, new_entry
from shared.accounts.sqlite import store as accounts_sqlite
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.store import AccountStatus, AccountStore, Family, User
from tests.shared.accounts.stores import OpenStore, patiently

ALICE = User(11, "alice", "Alice Liddell", "", 1, 1_000)
FAMILY = Family("family", ALICE.user_id, "phone", 1_000)
FAR = 2**60
"""When tokens here expire."""


@pytest.fixture
async def store(store: AccountStore) -> AccountStore:
    """A store with an account."""
    await store.add_user(ALICE, "hash")
    return store


async def status(store: AccountStore, user_id: int = ALICE.user_id) -> AccountStatus:
    return (await store.account_statuses([user_id]))[user_id]


# ---- status


async def test_a_new_account_is_no_admin_and_an_admin_is_one_until_that_is_revoked(store: AccountStore) -> None:
    assert await store.account_statuses([ALICE.user_id, 99]) == {ALICE.user_id: AccountStatus(), 99: AccountStatus()}
    assert await store.account_statuses([]) == {}
    for _ in range(2):
        assert await store.make_admin(ALICE.user_id)
    assert await status(store) == AccountStatus(is_admin=True)
    for _ in range(2):
        await store.revoke_admin(ALICE.user_id)
    assert await status(store) == AccountStatus()
    assert await store.make_admin(ALICE.user_id)


async def test_a_user_is_suspended_until_restored(store: AccountStore) -> None:
    assert await store.suspend(ALICE.user_id, "spam", 5_000)
    assert await status(store) == AccountStatus(suspended_at_ms=5_000, suspended_reason="spam")
    assert await store.suspend(ALICE.user_id, "more spam", 6_000)
    assert await status(store) == AccountStatus(suspended_at_ms=6_000, suspended_reason="more spam")
    for _ in range(2):
        await store.restore(ALICE.user_id)
        assert await status(store) == AccountStatus()


async def test_an_admin_is_not_suspended_and_a_suspended_user_not_made_an_admin(store: AccountStore) -> None:
    await store.make_admin(ALICE.user_id)
    assert not await store.suspend(ALICE.user_id, "coup", 5_000)
    assert await status(store) == AccountStatus(is_admin=True)
    await store.restore(ALICE.user_id)
    assert await status(store) == AccountStatus(is_admin=True)
    await store.revoke_admin(ALICE.user_id)
    await store.suspend(ALICE.user_id, "spam", 5_000)
    assert not await store.make_admin(ALICE.user_id)
    await store.revoke_admin(ALICE.user_id)
    assert await status(store) == AccountStatus(suspended_at_ms=5_000, suspended_reason="spam")


async def test_of_a_suspension_and_a_promotion_at_once_one_is_done(open_store: OpenStore) -> None:
    async with open_store() as one, open_store() as other:
        for user_id in range(1, 11):
            done: list[bool] = []

            async def note(work: Callable[[], Awaitable[bool]], done: list[bool] = done) -> None:
                done.append(await patiently(work))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(note, partial(one.make_admin, user_id))
                nursery.start_soon(note, partial(other.suspend, user_id, "spam", 5_000))
            found = await status(other, user_id)
            assert found == await status(one, user_id)
            assert sorted(done) == [False, True]
            assert found.is_admin != found.is_suspended


# ---- status of a sign-in


async def test_a_sign_in_has_the_status_of_its_user_until_it_ends(store: AccountStore) -> None:
    assert await store.sign_in_status("family", ALICE.user_id) is None
    await store.start_family(FAMILY, b"token", FAR)
    assert await store.sign_in_status("family", ALICE.user_id) == AccountStatus()
    assert await store.sign_in_status("family", ALICE.user_id + 1) is None  # another user's sign-in
    await store.make_admin(ALICE.user_id)
    assert await store.sign_in_status("family", ALICE.user_id) == AccountStatus(is_admin=True)
    await store.revoke_admin(ALICE.user_id)
    await store.suspend(ALICE.user_id, "spam", 5_000)
    assert await store.sign_in_status("family", ALICE.user_id) == await status(store) != AccountStatus()
    await store.end_families(ALICE.user_id)
    assert await store.sign_in_status("family", ALICE.user_id) is None
    assert await store.sign_in_status("", ALICE.user_id) is None


# ---- sign-ins


async def test_the_live_sign_ins_of_a_user_are_listed_newest_first(store: AccountStore) -> None:
    bob = replace(ALICE, user_id=12, name="bob")
    await store.add_user(bob, "hash")
    families = [Family(f"family {number}", ALICE.user_id, f"device {number}", number) for number in range(1, 4)]
    for number, family in enumerate([*families, replace(FAMILY, user_id=bob.user_id)]):
        await store.start_family(family, b"token %d" % number, 5_000 + number)
    assert await store.families(ALICE.user_id, now_ms=4_999, limit=10) == families[::-1]
    assert len(await store.families(ALICE.user_id, now_ms=4_999, limit=2)) == 2
    assert await store.families(99, now_ms=10, limit=10) == []
    await store.rotate(b"token 0", b"next", now_ms=2_500, expires_at_ms=5_000)
    seen = [each.last_seen_at_ms for each in await store.families(ALICE.user_id, now_ms=4_999, limit=10)]
    assert seen == [3, 2, 2_500]
    assert await store.families(ALICE.user_id, now_ms=5_000, limit=10) == families[:0:-1]
    await store.end_family("family 2")
    assert await store.families(ALICE.user_id, now_ms=5_000, limit=10) == families[2:]


# ---- audit


def entry(number: int, at: int = 1_800_000_000_000_000_000) -> AuditEntry:
    actor = Actor(ALICE.user_id, "alice", "192.0.2.1") if number % 2 else Actor(name="root")
    at += number
    entry_id = f"{at:020}-{number:08x}"
    return AuditEntry(entry_id, at // 1_000_000, actor, Act.SUSPEND_USER, f"user ({number})", "spam é🙂")


async def test_audit_entries_are_listed_newest_first(store: AccountStore) -> None:
    assert await store.audit_entries(limit=10) == []
    entries = [entry(number) for number in range(5)]
    for each in (*entries, entries[0]):
        await store.add_audit_entry(each)
    assert await store.audit_entries(limit=10) == entries[::-1]
    assert await store.audit_entries(limit=2) == entries[:2:-1]
    assert await store.audit_entries(limit=10, before=entries[2].entry_id) == entries[1::-1]
    assert await store.audit_entries(limit=10, before=entries[0].entry_id) == []


def test_the_ids_of_audit_entries_rise_in_the_order_of_the_acts() -> None:
    ids = [new_entry(Actor(name="root"), Act.MAKE_ADMIN, "").entry_id for _ in range(50)]
    assert ids == sorted(set(ids))


async def test_pages_neither_skip_nor_repeat_over_months_of_which_some_are_empty(store: AccountStore) -> None:
    month = 31 * 24 * 3600 * 10**9
    entries = [entry(number, 1_800_000_000 * 10**9 + (number // 3) * 2 * month) for number in range(10)]
    for each in reversed(entries):
        await store.add_audit_entry(each)
    seen: list[AuditEntry] = []
    while page := await store.audit_entries(limit=2, before=seen[-1].entry_id if seen else ""):
        seen += page
    assert seen == entries[::-1]


async def test_audit_entries_and_statuses_outlive_the_store(open_store: OpenStore) -> None:
    async with open_store() as store:
        await store.add_audit_entry(entry(1))
        await store.make_admin(ALICE.user_id)
    async with open_store() as store:
        assert await store.audit_entries(limit=10) == [entry(1)]
        assert (await status(store)).is_admin


# ---- an older file


@pytest.mark.parametrize("migrations", range(1, len(accounts_sqlite.MIGRATIONS)))
async def test_a_file_of_an_older_release_is_brought_up_to_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, migrations: int
) -> None:
    path = tmp_path / "accounts.db"
    with monkeypatch.context() as older:
        older.setattr(accounts_sqlite, "MIGRATIONS", accounts_sqlite.MIGRATIONS[:migrations])
        async with open_sqlite_accounts(path) as store:
            await store.add_user(ALICE, "hash")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (migrations,)
    async with open_sqlite_accounts(path) as store:
        assert await store.users([ALICE.user_id]) == [ALICE]
        assert await status(store) == AccountStatus()
        assert await store.invites(now_ms=0) == []
        assert await store.make_admin(ALICE.user_id)
