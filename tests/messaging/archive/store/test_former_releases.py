"""Chats that former releases have written, in `former`: read, changed and deleted by this one.

The files of the releases before and with changes have the same chat: three messages of two users, reactions and marks;
the former also a retry, and reactions that were removed. Those of the release before channels have a group of two, with
an invite link of its second member; one user asks to join it, another one was declined, and a third one has left.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from messaging.archive.store.cassandra.former_rows import convert_rows
from messaging.archive.store.cassandra.store import open_cassandra_chats
from messaging.archive.store.protocol import FIRST_PUBLIC, ChatStore
from messaging.archive.store.sqlite.store import open_sqlite_chats
from rookery.serve.schema import FILLS, MIGRATIONS
from rookery.v1.archive_pb2 import Group, Mark
from rookery.v1.groups_pb2 import ROLE_MEMBER, Control, GroupSettings, Member, Span
from rookery.v1.session_pb2 import Change, Deleted, Event, Message, Reacted, Text
from shared.contract.changes import KINDS
from shared.contract.errors import Unavailable
from shared.drivers.cassandra import open_cassandra
from shared.drivers.cassandra.migrations import FIRST_PLACE, migrate
from shared.settings import CassandraSettings
from tests.cassandra_sessions import migrate_patiently, patient_driver
from tests.messaging.archive.store.chats import logged, newest_page
from tests.shared.drivers.cassandra.conftest import settings_for
from tools.engines.cassandra import Cassandra

FORMER = Path(__file__).parent / "former"
ANN, BEN, CHAT = 101, 202, "d-101-202"
FIRST, SECOND, THIRD = (120269150617600000 + (n << 22) for n in range(3))

OpenChats = Callable[[], AbstractAsyncContextManager[ChatStore]]


def event(event_id: int, target_id: int, actor_id: int, emoji: str, *, set: bool = True) -> Event:
    reacted = Reacted(emoji=emoji, set=set)
    return Event(
        event_id=event_id, change=Change(chat_id=CHAT, target_id=target_id, actor_id=actor_id, reacted=reacted)
    )


BENS, ANNS = event(FIRST + (4 << 22), FIRST, BEN, "👍"), event(FIRST + (5 << 22), FIRST, ANN, "👍")
LAST = event(FIRST + (10 << 22), THIRD, BEN, "🎉")


@pytest.fixture(autouse=True)
def patient() -> Iterator[None]:
    with patient_driver():
        yield


def keyspace_of(server: Cassandra, file: str) -> CassandraSettings:
    """A new keyspace as the release before changes has left it, the one before the feed, or the one before channels."""
    settings = settings_for(server)
    former = MIGRATIONS[: {"chats.cql": 6, "changes.cql": 7, "groups.cql": 14}[file]]

    async def write() -> None:
        await migrate_patiently(settings, former)
        async with open_cassandra(settings, former) as session:
            for statement in (FORMER / file).read_text().splitlines():
                await session.execute(statement)

    trio.run(write)
    return settings


@asynccontextmanager
async def migrated(settings: CassandraSettings) -> AsyncIterator[ChatStore]:
    await migrate_patiently(settings, MIGRATIONS, FILLS)
    async with open_cassandra(settings, MIGRATIONS) as session, open_cassandra_chats(session) as chats:
        yield chats


ON_CASSANDRA = [pytest.param(name, marks=pytest.mark.slow) for name in ("chats.cql", "changes.cql")]
"""Slow: the release before channels, `groups.cql`, stands for them in `make test`."""


@pytest.fixture(params=["chats.sql", "changes.sql", *ON_CASSANDRA])
def open_chats(request: pytest.FixtureRequest, tmp_path: Path) -> OpenChats:
    """Migrates the chats of a former release, and opens them; again and again."""
    return opener(request, tmp_path, request.param)


@pytest.fixture(params=["groups.sql", "groups.cql"])
def open_groups(request: pytest.FixtureRequest, tmp_path: Path) -> OpenChats:
    """The same with the group of the release before channels."""
    return opener(request, tmp_path, request.param)


def opener(request: pytest.FixtureRequest, folder: Path, file: str) -> OpenChats:
    if file.endswith(".cql"):
        return partial(migrated, keyspace_of(request.getfixturevalue("cassandra_server"), file))
    with closing(sqlite3.connect(folder / "chats.db")) as connection:
        connection.executescript((FORMER / file).read_text())
    return partial(open_sqlite_chats, folder / "chats.db")


async def test_chats_of_the_former_release_are_complete(open_chats: OpenChats) -> None:
    for _ in range(2):
        async with open_chats() as chats:
            page = await newest_page(chats, CHAT)
            chat = await chats.get_chat(BEN, CHAT)
            versions = await chats.versions(CHAT, FIRST, KINDS["reacted"].number)
            feed = await chats.events_after(CHAT, SECOND)
            watermarks = await chats.watermarks()
        assert [(each.message.client_message_id, each.message.text.body) for each in page.messages] == [
            ("one", "hello"),
            ("two", "hi"),
            ("three", "how are you?"),
        ]
        assert [list(each.changes) for each in page.messages] == [[BENS, ANNS], [], [LAST]]
        assert (versions, watermarks) == ([BENS, ANNS], {})
        assert [event.event_id for event in feed] == [THIRD, BENS.event_id, ANNS.event_id, LAST.event_id]
        assert chat is not None
        assert (chat.newest, chat.unread) == (page.messages[2], 1)
        assert list(chat.marks) == [
            Mark(user_id=ANN, delivered_up_to=SECOND, read_up_to=SECOND),
            Mark(user_id=BEN, delivered_up_to=THIRD, read_up_to=FIRST),
        ]


async def test_messages_of_the_former_release_are_changed_and_deleted(open_chats: OpenChats) -> None:
    removal = event(LAST.event_id + 1, THIRD, BEN, "🎉", set=False)
    deletion = event(removal.event_id + 1, FIRST, ANN, "")
    deletion.change.deleted.CopyFrom(Deleted())
    async with open_chats() as chats:
        first = await chats.get_message(CHAT, FIRST)
        assert first is not None
        retry = Event(event_id=deletion.event_id + 1, message=first.message)
        retry.message.message_id = retry.event_id
        await chats.record(logged(removal, deletion, retry), {})
    async with open_chats() as chats:  # on Cassandra, the reactions are converted again
        page = await newest_page(chats, CHAT)
        assert [list(each.changes) for each in page.messages] == [[deletion], [], [removal]]
        stub = page.messages[0].message
        assert (stub.message_id, stub.sender_id, stub.client_message_id) == (FIRST, ANN, "one")
        assert not stub.HasField("text")


@pytest.fixture
def former_keyspace(cassandra_server: Cassandra) -> CassandraSettings:
    return keyspace_of(cassandra_server, "chats.cql")


@pytest.mark.slow
async def test_reactions_are_converted_while_archives_record(former_keyspace: CassandraSettings) -> None:
    """The newest change of a reaction stays, and archives of the former release may record until the last run."""
    late = event(LAST.event_id + 100, SECOND, ANN, "👍")
    events = [event(LAST.event_id + n, THIRD, BEN, "🎉", set=bool(n % 2)) for n in range(1, 100)]
    async with migrated(former_keyspace) as chats:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(migrate, former_keyspace, MIGRATIONS, FILLS)
            for each in events:
                await chats.record(logged(each), {})
        async with open_cassandra(former_keyspace, MIGRATIONS) as session:
            await session.execute(
                "INSERT INTO reactions_by_chat (chat_id, bucket, message_id, emoji, user_id, first_id)"
                f" VALUES ('{CHAT}', 26, {SECOND}, '👍', {ANN}, {late.event_id}) USING TIMESTAMP {late.event_id}"
            )
        await migrate(former_keyspace, MIGRATIONS, FILLS)
        page = await newest_page(chats, CHAT)
    assert [list(each.changes) for each in page.messages] == [[BENS, ANNS], [late], events[-1:]]


class Partitions:
    """A session with these partitions in each table, by token, without rows; and a Progress, which fails when it notes
    `broken`. The last column of a partition's key is its token."""

    def __init__(self, count: int, broken: int) -> None:
        self._count = count
        self.broken: int | None = broken
        self._places: dict[str, int] = {}
        self.read: list[int] = []

    async def prepare(self, cql: str) -> str:
        return cql

    async def execute(self, statement: str, parameters: tuple[int, int]) -> list[tuple[Any, ...]]:
        place, limit = parameters
        first = () if "versions_by_chat" in statement else (CHAT,)
        return [(token, *first, token) for token in range(max(place + 1, 0), self._count)][:limit]

    async def execute_all(self, work: list[tuple[str, tuple[Any, ...]]]) -> list[list[Any]]:
        self.read += [key[-1] for _, key in work]
        return [[] for _ in work]

    def place(self, table: str) -> int:
        return self._places.get(table, FIRST_PLACE)

    async def note(self, table: str, token: int) -> None:
        if token == self.broken:
            raise Unavailable("interrupted")
        self._places[table] = token


async def test_an_interrupted_conversion_reads_the_rest_only() -> None:
    partitions: Any = Partitions(50, broken=39)
    with pytest.raises(Unavailable):
        await convert_rows(partitions, partitions)
    assert partitions.read == [*range(40)]
    partitions.broken = None
    partitions.read.clear()
    await convert_rows(partitions, partitions)
    assert partitions.read == [*range(20, 50), *range(50), *range(50), *range(50)]  # of four tables


@pytest.mark.slow
async def test_archives_of_the_release_before_the_feed_record_while_the_schema_changes(
    cassandra_server: Cassandra,
) -> None:
    settings = settings_for(cassandra_server)
    await migrate(settings, MIGRATIONS[:7])
    async with open_cassandra(settings, MIGRATIONS[:7]) as former, trio.open_nursery() as nursery:
        statements = [await former.prepare(line) for line in (FORMER / "changes.cql").read_text().splitlines()]
        nursery.start_soon(migrate, settings, MIGRATIONS, FILLS)
        for _ in range(20):
            for statement in statements:
                await former.execute(statement)
    async with migrated(settings) as chats:
        assert await chats.versions(CHAT, FIRST, KINDS["reacted"].number) == [BENS, ANNS]
        assert await chats.events_after(CHAT, THIRD) == [BENS, ANNS, LAST]


async def test_a_group_of_the_release_before_channels_becomes_one_and_its_control_changes_are_not_unread(
    open_groups: OpenChats,
) -> None:
    cat, dan, eve = 303, 404, 505

    def control(version: int, **fields: Any) -> Event:
        change = Control(version=version, **fields)
        at = FIRST + (version + 1 << 22)
        return Event(event_id=at, message=Message(message_id=at, chat_id="g-7", sender_id=ANN, control=change))

    for _ in range(2):  # on Cassandra, the rows are converted again
        async with open_groups() as chats:
            seen = [await chats.get_chat(user, "g-7") for user in (ANN, BEN)]
            assert [each and (each.newest.message.control.version, each.unread) for each in seen] == [(6, 0), (6, 0)]
    async with open_groups() as chats:
        group = await chats.get_group("g-7") or Group()
        assert ([each.user_id for each in group.members], group.member_count) == ([ANN, BEN, cat, eve], 2)
        assert (group.version, group.changed_id) == (6, FIRST + (6 << 22))
        channel = GroupSettings(name="Crew", is_public=True, is_channel=True)
        await chats.record(logged(control(7, settings=channel, member_count=2)), {})
    async with open_groups() as chats:  # on Cassandra, the rows are converted again
        for named, found in (((), [BEN, cat]), ((ANN, dan, eve), [ANN, BEN, cat, eve])):
            group = await chats.get_group("g-7", named) or Group()
            assert ([each.user_id for each in group.members], group.member_count) == (found, 2)
        joined = [Member(user_id=user, role=ROLE_MEMBER, version=8, spans=[Span(first=FIRST)]) for user in (cat, dan)]
        await chats.record(logged(control(8, members=joined)), {})  # by a sequencer of the former release
        group = await chats.get_group("g-7") or Group()
        assert ([each.user_id for each in group.members], group.member_count) == ([BEN], 4)
        (public,) = await chats.list_public_chats(eve, "crew", after=FIRST_PUBLIC, limit=9)
        assert (public.member_count, public.own.user_id) == (4, eve)


async def test_the_newest_message_of_a_group_that_is_no_control_change_is_found_by_the_migration_or_is_the_next_one(
    open_groups: OpenChats, tmp_path: Path
) -> None:
    def sent(at: int) -> Message:
        return Message(message_id=at, chat_id="g-7", sender_id=BEN, client_message_id=f"c{at}", text=Text(body="hi"))

    former, sixth = sent(FIRST + (6 << 22) - 1), FIRST + (6 << 22)
    is_sqlite = (tmp_path / "chats.db").exists()
    if is_sqlite:
        with closing(sqlite3.connect(tmp_path / "chats.db")) as connection, connection:
            row = former.message_id, 1, BEN, "", former.SerializeToString(), None, None
            connection.execute("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    async with open_groups() as chats:
        chat = await chats.get_chat(ANN, "g-7")
        assert chat is not None
        newest = chat.newest.message
        assert (newest.message_id, newest.control.version) == (sixth, 6)
        assert chat.newest_sent_id == (former.message_id if is_sqlite else 0)
        next_sent, joined = sent(sixth + 1), Message.FromString(newest.SerializeToString())
        joined.message_id, joined.client_message_id, joined.control.version = sixth + 2, "c7", 7
        await chats.record(logged(*(Event(event_id=each.message_id, message=each) for each in (next_sent, joined))), {})
        chat = await chats.get_chat(ANN, "g-7")
        assert chat is not None
        assert (chat.newest.message.message_id, chat.newest_sent_id) == (joined.message_id, next_sent.message_id)
