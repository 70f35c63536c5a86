"""The engines on which the contract of chat stores is tested. A further twin needs a line in ENGINES."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial

import pytest

from messaging.archive.store.cassandra.store import open_cassandra_chats
from messaging.archive.store.protocol import ChatStore
from messaging.archive.store.sqlite.store import open_sqlite_chats
from tests.messaging.archive.store.chats import NOW_MS

OpenChats = Callable[[], AbstractAsyncContextManager[ChatStore]]


def sqlite(request: pytest.FixtureRequest) -> OpenChats:
    return partial(open_sqlite_chats, request.getfixturevalue("tmp_path") / "chats.sqlite3")


def cassandra(request: pytest.FixtureRequest) -> OpenChats:
    open_session = request.getfixturevalue("open_session")

    @asynccontextmanager
    async def open_on_cassandra() -> AsyncIterator[ChatStore]:
        async with open_session() as session, open_cassandra_chats(session) as chats:
            yield chats

    return open_on_cassandra


ENGINES = {"sqlite": sqlite, "cassandra": cassandra}


@pytest.fixture(params=sorted(ENGINES))
def open_chats(request: pytest.FixtureRequest) -> OpenChats:
    """Opens the store under test, each time with the same data."""
    return ENGINES[request.param](request)


@pytest.fixture
async def chats(open_chats: OpenChats) -> AsyncIterator[ChatStore]:
    async with open_chats() as store:
        yield store


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("messaging.archive.store.cassandra.store.wall_clock_ms", lambda: NOW_MS)
