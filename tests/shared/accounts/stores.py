"""Helpers for the tests of both account stores."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar

from shared.accounts.cassandra.store import open_cassandra_accounts
from shared.accounts.store import AccountStore
from shared.contract.errors import Unavailable
from shared.drivers.cassandra.session import CassandraSession
from tests.cassandra_sessions import OpenSession

OpenStore = Callable[[], AbstractAsyncContextManager[AccountStore]]

TABLES = (
    "users",
    "last_seen",
    "user_by_name",
    "names_by_trigram",
    "families",
    "families_by_user",
    "refresh_tokens",
    "signing_keys",
    "standings",
    "audit_by_month",
    "audit_months",
    "users_by_month",
    "user_months",
    "invites",
    "password_resets",
    "relationships",
    "relationships_by_user",
    "reports",
    "open_reports",
    "closed_reports",
    "report_openings",
)

TRIES = 50
"""More failures in a row are a fault."""

T = TypeVar("T")


def over_cassandra(open_session: OpenSession) -> OpenStore:
    """Opens the store, which is empty the first time. Each opening has a session of its own, as a process has."""
    is_empty = False

    @asynccontextmanager
    async def open_store() -> AsyncIterator[AccountStore]:
        nonlocal is_empty
        async with open_session() as session:
            if not is_empty:
                await empty(session)
                is_empty = True
            async with open_cassandra_accounts(session) as store:
                yield store

    return open_store


async def empty(session: CassandraSession) -> None:
    """Empty the tables of accounts. Looking first is faster: few tests fill all of them."""
    filled = await session.execute_all([(f"SELECT * FROM {table} LIMIT 1", ()) for table in TABLES])
    tables = {table for table, rows in zip(TABLES, filled, strict=True) if rows}
    if "users" in tables:  # the removed rows of a deleted account would hide new ones of the same version
        tables |= {"names_by_trigram", "last_seen"}
    if "relationships" in tables:
        tables.add("relationships_by_user")  # as above
    await session.execute_all([(f"TRUNCATE {table}", ()) for table in tables])


async def patiently(attempt: Callable[[], Awaitable[T]]) -> T:
    """Retry until the result is known: of many transactions on one row, some may have to be retried."""
    for _ in range(TRIES):
        try:
            return await attempt()
        except Unavailable:
            continue
    raise AssertionError(f"still unavailable after {TRIES} tries")


def letters(alphabet: str, number: int) -> dict[int, str]:
    """For `str.translate`: letters without case that only this number has, in the same order."""
    first = 0x4E00 + number * len(alphabet)
    return {ord(letter): chr(first + index) for index, letter in enumerate(alphabet)}
