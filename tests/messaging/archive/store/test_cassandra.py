"""The chat store on Cassandra beyond the contract: few requests, and the repair of partial batches."""

import itertools
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import pytest
import trio
from cassandra import InvalidRequest
from hypothesis import given
from hypothesis import strategies as st

from messaging.archive.recorder import Recorder
from messaging.archive.store.cassandra import history as history_module
from messaging.archive.store.cassandra import recording
from messaging.archive.store.cassandra.batch import (
    DEDUPE_AHEAD,
    DEDUPE_BEHIND,
    KEYS_PER_READ,
    MAX_KEY_BYTES,
    MESSAGES_PER_READ,
    Batch,
    message_reads,
)
from messaging.archive.store.cassandra.store import CassandraChats, open_cassandra_chats
from messaging.archive.store.cassandra.writes import MAX_BYTES, MAX_PARTITION_BYTES, MAX_PARTITIONS, Writes
from messaging.archive.store.protocol import FIRST_PUBLIC, ChatCursor
from rookery.v1.archive_pb2 import Group
from rookery.v1.groups_pb2 import ROLE_GUEST, ROLE_MEMBER, ROLE_OWNER, ROLE_UNSPECIFIED, GroupSettings, Role
from rookery.v1.session_pb2 import Event
from shared.background import open_background
from shared.contract.changes import KINDS
from shared.contract.errors import Unavailable
from shared.contract.ids import MAX_ID
from shared.drivers.cassandra import CassandraSession
from shared.drivers.cassandra.driver import translate
from tests.cassandra_sessions import OpenSession
from tests.fuzzing import examples
from tests.messaging.archive.conftest import FakeLog, truth_of
from tests.messaging.archive.store.chats import (
    ALL,
    Company,
    Conversation,
    all_chats,
    history,
    hypothetical,
    ids,
    logged,
    newest_page,
    state,
    steps,
    users,
)
from tests.waiting import until

SPAN = 1 << 52
"""Of a bucket, as a distance of ids."""


class Scripted:
    """A session that executes the writes that a test selects."""

    def __init__(self, session: CassandraSession) -> None:
        self._session = session
        self.written: list[int] | None = None  # indexes of the writes before it fails; None for all
        self.before_writes = trio.Event()
        self.before_writes.set()
        self.requests: list[int] = []
        self.refusal: Exception | None = None  # of every request

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def execute_all(self, work: Sequence[Any]) -> list[list[Any]]:
        self.requests.append(len(work))
        if self.refusal is not None:
            raise self.refusal
        if any(parameters for _, parameters in work) or not work:
            return await self._session.execute_all(work)
        await self.before_writes.wait()
        if self.written is None:
            return await self._session.execute_all(work)
        await self._session.execute_all([work[n] for n in sorted({n % len(work) for n in self.written})])
        raise Unavailable("broken off")


@pytest.fixture
async def session(open_session: OpenSession) -> AsyncIterator[CassandraSession]:
    async with open_session() as session:
        yield session


# ---- requests


@pytest.mark.parametrize("members", [2, 100])
async def test_a_message_or_a_change_alone_takes_a_read_and_a_write(session: CassandraSession, members: int) -> None:
    """In a group too, whatever the number of members."""
    talk = Conversation() if members == 2 else Company(tuple(itertools.islice(users, members)))
    message = talk.message()
    scripted = Scripted(session)
    async with open_cassandra_chats(scripted) as chats:  # type: ignore[arg-type]
        if isinstance(talk, Company):
            await chats.record(logged(talk.creation(members)), {})
            scripted.requests.clear()
        changes = talk.reaction(message.event_id), talk.edit(message.event_id, mentions=[1])
        for event in (message, talk.message(mentions=[0, ALL]), *changes):
            await chats.record(logged(event), {})
    assert scripted.requests == [1, 1] * 4


async def test_a_busy_batch_takes_a_quarter_of_a_request_for_a_message(session: CassandraSession) -> None:
    talks = [Conversation() for _ in range(100)]
    scripted = Scripted(session)
    async with open_cassandra_chats(scripted) as chats:  # type: ignore[arg-type]
        await chats.record(logged(*(talk.message(body="x" * 256) for _ in range(10) for talk in talks)), {})
    assert sum(scripted.requests) <= 250


async def test_a_bucket_is_written_once(session: CassandraSession, monkeypatch: pytest.MonkeyPatch) -> None:
    added: list[object] = []

    class Watched(Writes):
        def add(self, partition: Any, statement: Any, parameters: Sequence[object], *, size: int = 0) -> None:
            if isinstance(partition, tuple) and partition[0] == "chat":
                added.append(partition[1])
            super().add(partition, statement, parameters, size=size)

    monkeypatch.setattr(recording, "Writes", Watched)
    monkeypatch.setattr(recording, "MAX_CACHED_BUCKETS", 2)
    one, two, three = (Conversation() for _ in range(3))
    async with open_cassandra_chats(session) as chats:
        for talk in (one, two, one, three, one, two):  # the third evicts the second
            await chats.record(logged(talk.message()), {})
    assert added == [talk.chat_id for talk in (one, two, three, two)]


async def test_a_mention_that_is_recorded_during_a_reading_is_not_counted_before_its_message(
    session: CassandraSession,
) -> None:
    talk = Conversation()
    first, second = talk.message(mentions=[1]), talk.message(mentions=[1])

    class RecordsAnother(Scripted):
        is_done = False

        async def execute_all(self, work: Sequence[Any]) -> list[list[Any]]:
            queries = [getattr(statement, "query_string", "") for statement, _ in work]
            if not self.is_done and any("FROM mentions_by_user" in query for query in queries):
                self.is_done = True
                await chats.record(logged(second), {})
            return await super().execute_all(work)

    async with open_cassandra_chats(RecordsAnother(session)) as chats:  # type: ignore[arg-type]
        await chats.record(logged(first), {})
        (chat,) = await all_chats(chats, talk.members[1])
        assert (chat.newest.message.message_id, chat.unread, chat.unread_mentions) == (first.event_id, 1, 1)
        (chat,) = await all_chats(chats, talk.members[1])
        assert (chat.newest.message.message_id, chat.unread, chat.unread_mentions) == (second.event_id, 2, 2)


class Records(Scripted):
    """Records an event right after the first reading whose statement has one of these texts."""

    def __init__(self, session: CassandraSession) -> None:
        super().__init__(session)
        self.texts: tuple[str, ...] = ()
        self.record: Callable[[], Awaitable[object]] | None = None

    async def execute(self, statement: Any, parameters: Sequence[object] = ()) -> list[Any]:
        return (await self.execute_all([(statement, parameters)]))[0]

    async def execute_all(self, work: Sequence[Any]) -> list[list[Any]]:
        rows = await super().execute_all(work)
        read = " ".join(getattr(statement, "query_string", "") for statement, _ in work)
        if self.record is not None and any(text in read for text in self.texts):
            record, self.record = self.record, None
            await record()
        return rows


async def test_a_group_has_no_later_version_than_the_membership_of_its_reader(session: CassandraSession) -> None:
    crew = Company()
    creation, removal = crew.creation(), crew.control({1: ROLE_UNSPECIFIED})
    records = Records(session)
    async with open_cassandra_chats(records) as chats:  # type: ignore[arg-type]
        await chats.record(logged(creation), {})
        records.texts = "member, changed_id", "newest_sent_id, version"
        records.record = partial(chats.record, logged(removal), {})
        chat = await chats.get_chat(crew.members[1], crew.chat_id)
        assert records.record is None
        assert chat is not None
        assert chat.version == 1 or not chat.own.role


async def test_a_chat_whose_newest_message_is_not_written_yet_is_as_before_it(session: CassandraSession) -> None:
    talk = Conversation()
    first, second = talk.message(), talk.message(body="x" * MAX_BYTES)
    scripted = Scripted(session)
    async with open_cassandra_chats(scripted) as chats:  # type: ignore[arg-type]
        await chats.record(logged(first), {})
        scripted.written = [1]  # the lists of chats; the large message is request 0
        with suppress(Unavailable):
            await chats.record(logged(second), {})
        (chat,) = await all_chats(chats, talk.members[1])
        assert (chat.newest.message.message_id, chat.unread) == (first.event_id, 1)


async def test_a_chat_that_is_unpinned_during_a_reading_hides_no_other_pinned_one(session: CassandraSession) -> None:
    user = next(users)
    one, two = Conversation((user, next(users))), Conversation((user, next(users)))
    records = Records(session)
    async with open_cassandra_chats(records) as chats:  # type: ignore[arg-type]
        for talk in (two, one):
            await chats.record(logged(talk.message(), talk.change(chat_pinned={"set": True})), {})
        records.texts = ("WHERE user_id = ? AND changed_id >= ?",)
        records.record = partial(chats.record, logged(one.change(chat_pinned={"set": False})), {})
        listed, after = list[str](), None
        while page := await chats.list_chats(user, changed_since_ms=0, limit=1, after=after):
            listed += [chat.chat_id for chat in page]
            after = ChatCursor.of(page[-1])
        assert records.record is None
        assert {*listed} == {one.chat_id, two.chat_id}


async def test_messages_with_more_changes_than_a_read_returns_keep_all_kinds(
    session: CassandraSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_module, "MAX_PAGE_CHANGES", 3)
    talk = Conversation()
    messages = talk.messages(3)
    changes = [
        change
        for message in messages
        for change in (
            talk.change(message.event_id, reacted={"emoji": "👍", "set": True}),
            talk.change(message.event_id, 1, reacted={"emoji": "🎉", "set": True}),
            talk.change(message.event_id, pinned={"set": True}),
        )
    ]
    async with open_cassandra_chats(session) as chats:
        await chats.record(logged(*messages, *changes), {})
        page = await chats.messages_having(talk.chat_id, KINDS["pinned"].number, "[]", MAX_ID, 9)
        assert [each.message.message_id for each in page.messages] == [message.event_id for message in messages]


async def test_a_public_group_without_members_leaves_the_index_with_the_first_search(
    session: CassandraSession,
) -> None:
    crew = Company()
    name = f"rowing {crew.number}"
    left: dict[int, Role] = {0: ROLE_UNSPECIFIED, 1: ROLE_UNSPECIFIED}  # the third one is no member
    public = crew.creation(), crew.control(settings=GroupSettings(name=name, is_public=True)), crew.control(left)
    async with open_cassandra_chats(session) as chats:
        await chats.record(logged(*public), {})
        assert await chats.list_public_chats(crew.members[0], name, after=FIRST_PUBLIC, limit=9) == []
    rows = await session.execute(
        await session.prepare("SELECT chat_id FROM public_chats_by_trigram WHERE trigram = '-' AND name = ?"), (name,)
    )
    assert rows == []


async def test_a_page_of_chats_takes_few_requests_for_the_newest_messages(session: CassandraSession) -> None:
    user = next(users)
    talks = [Conversation((user, next(users))) for _ in range(100)]
    messages = [talk.message() for talk in talks]
    edits = [talk.edit(message.event_id) for talk, message in zip(talks, messages, strict=True)]
    read = [talk.mark(read=message.event_id) for talk, message in zip(talks, messages, strict=True)]
    of_another_chat = [talk.reaction(messages[0].event_id) for talk in talks[1:]]
    scripted = Scripted(session)
    async with open_cassandra_chats(scripted) as chats:  # type: ignore[arg-type]
        await chats.record(logged(*messages, *edits, *read, *of_another_chat), {})
        scripted.requests.clear()
        listed = await all_chats(chats, user)
    newest = {chat.chat_id: [chat.newest.message, *chat.newest.changes] for chat in listed}
    states = zip(talks, messages, edits, strict=True)
    assert newest == {talk.chat_id: [event.message, edit] for talk, event, edit in states}
    assert sum(scripted.requests) == 12


async def test_a_page_of_groups_takes_few_requests(session: CassandraSession) -> None:
    user = next(users)
    crews = [Company((next(users), user)) for _ in range(150)]
    creations = [crew.creation() for crew in crews]
    read = [crew.mark(1, read=creation.event_id) for crew, creation in zip(crews, creations, strict=True)]
    async with open_cassandra_chats(session) as chats:
        await chats.record(logged(*creations, *read), {})
        before = session.statistics().requests
        listed = await all_chats(chats, user)
    assert [chat.newest.message for chat in listed] == [each.message for each in creations[:49:-1]]
    assert session.statistics().requests - before == 16


rows = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 5_000)), max_size=80)


@given(rows=rows)
async def test_each_row_is_in_one_request_and_none_is_too_large_or_for_too_many(rows: list[tuple[int, int]]) -> None:
    writes = Writes()
    for n, (partition, size) in enumerate(rows):
        writes.add(partition, partition, (n,), size=size)
    packed = list(writes._packed())
    assert sorted(row[1][0] for some in packed for row in some) == list(range(len(rows)))  # type: ignore[type-var]
    for some in packed:
        partitions, size = {row[0] for row in some}, sum(row[2] for row in some)
        assert len(partitions) <= MAX_PARTITIONS
        assert size <= (MAX_BYTES if len(partitions) > 1 else MAX_PARTITION_BYTES)


def test_rows_of_one_partition_are_divided_when_they_are_many() -> None:
    writes = Writes()
    for n in range(10):
        writes.add("one", None, (n,), size=MAX_PARTITION_BYTES // 3)
    assert [len(some) for some in writes._packed()] == [2] * 5


@examples(15)
@given(counts=st.lists(st.integers(1, 250), max_size=12))
def test_reads_of_sends_are_bounded_and_cover_each_send(counts: list[int]) -> None:
    talks = [Conversation() for _ in counts]
    start = 100 * SPAN + SPAN // 2  # where only one bucket can have the first of a send
    events = [
        talk.message(message_id=start + n) for talk, count in zip(talks, counts, strict=True) for n in range(count)
    ]
    reads = Batch(logged(*events)).send_reads()
    read = {(chat_id, bucket, send) for chat_ids, bucket, sends in reads for chat_id in chat_ids for send in sends}
    for event in events:
        message = event.message
        assert (message.chat_id, 100, (message.sender_id, message.client_message_id)) in read
    assert all(len(chat_ids) * len(sends) <= KEYS_PER_READ for chat_ids, _, sends in reads)


@examples(15)
@given(counts=st.lists(st.integers(1, 60), max_size=12))
def test_reads_of_messages_cover_each_message_and_search_few_chats(counts: list[int]) -> None:
    talks = [Conversation() for _ in counts]
    wanted = [(talk.chat_id, n) for n in range(60) for talk, count in zip(talks, counts, strict=True) if n < count]
    reads = message_reads(wanted)
    read = {
        (chat_id, message_id)
        for chat_ids, _, message_ids in reads
        for chat_id in chat_ids
        for message_id in message_ids
    }
    assert read.issuperset(wanted)
    assert all(len(message_ids) <= MESSAGES_PER_READ for _, _, message_ids in reads)
    assert sum(len(chat_ids) for chat_ids, _, _ in reads) <= len(counts) + len(reads)


@pytest.mark.parametrize("count", [1, 50])
async def test_deletions_of_a_chat_write_its_rows_in_the_lists_once(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    written: list[str] = []

    class Unconnected:
        async def prepare(self, cql: str) -> str:
            return cql

        async def execute_all(self, work: Sequence[Any]) -> list[list[Any]]:
            return [[] for _ in work]

    class Watched(Writes):
        def add(self, partition: Any, statement: Any, parameters: Sequence[object], *, size: int = 0) -> None:
            assert statement.count("?") == len(parameters)
            written.append(statement)

    monkeypatch.setattr(recording, "Writes", Watched)
    talk = Conversation()
    events = [talk.deletion(message.event_id) for message in talk.messages(count)]
    await (await recording.prepare_recording(Unconnected())).record(logged(*events))  # type: ignore[arg-type]
    tables = Counter(re.findall(r"(?:INTO|FROM|UPDATE) (\w+)", " ".join(written)))
    once = {"chats_by_user": 4}  # of each member, the newest event, and the former copy of the newest message
    each = dict.fromkeys(
        ("changes_by_chat", "changes_by_target", "messages_by_chat", "reactions_by_chat", "sends_by_chat"), 1
    )
    assert tables == once | {table: rows * count for table, rows in {**each, "state_by_chat": 4}.items()}


# ---- sizes


@pytest.mark.parametrize("part", ["client id", "key", "name", "message", "change"])
async def test_an_event_too_large_for_a_node_is_refused_before_anything_is_written(
    session: CassandraSession, part: str
) -> None:
    talk = Conversation()
    good = talk.message()
    bad = {
        "client id": talk.message(client_message_id="é" * 33_000),
        "key": talk.reaction(good.event_id, "x" * (MAX_KEY_BYTES + 1)),
        "name": Company().control(settings=GroupSettings(name="x" * (MAX_KEY_BYTES + 1))),
        "message": talk.message(body="x" * (1 << 20)),
        "change": talk.edit(good.event_id, "x" * (1 << 20)),
    }[part]
    async with open_cassandra_chats(session) as chats:
        with pytest.raises(ValueError, match=part):
            await chats.record(logged(good, bad), {})
        assert await chats.get_chat(talk.members[0], talk.chat_id) is None


async def test_the_largest_event_is_stored(session: CassandraSession) -> None:
    talk = Conversation()
    message = talk.message(client_message_id="c" * MAX_KEY_BYTES, body="x" * 900_000)
    async with open_cassandra_chats(session) as chats:
        await chats.record(logged(message, talk.reaction(message.event_id, "e" * (MAX_KEY_BYTES - 50))), {})
        page = await newest_page(chats, talk.chat_id)
    assert ids(page.messages) == [message.event_id]
    assert len(page.messages[0].changes) == 1


# ---- refusals of a node


async def test_events_that_a_node_refuses_are_recorded_later_and_only_invalid_ones_are_skipped(
    session: CassandraSession,
) -> None:
    """A node calls each write invalid while its disk is too full."""
    talk, log = Conversation(), FakeLog()
    good, bad = talk.messages(4), talk.message()
    bad.message.chat_id = "bad"
    log.publish([truth_of(event) for event in (*good[:2], bad, *good[2:])])
    scripted = Scripted(session)
    async with open_cassandra_chats(scripted) as chats:  # type: ignore[arg-type]
        scripted.refusal = translate(InvalidRequest("disk usage exceeds failure threshold"))
        recorder = Recorder(log, chats)  # type: ignore[arg-type]
        async with open_background() as nursery:
            nursery.start_soon(recorder.run)
            await until(lambda: recorder.statistics().retries >= 3)
            assert (log.letters, log.committed.get(0, 0)) == ([], 0)
            scripted.refusal = None
            await until(lambda: log.committed.get(0, 0) == 5)
        assert await all_of(chats, talk) == [event.event_id for event in good]
    assert [letter.record.offset for letter in log.letters] == [2]


# ---- partial writes, and concurrent archives


@hypothetical
@given(steps=steps, cuts=st.lists(st.tuples(st.integers(0, 25), st.lists(st.integers(0, 20), max_size=4)), max_size=4))
async def test_a_replay_repairs_a_partly_written_batch(
    open_session: OpenSession,
    steps: Sequence[tuple[str, int, int, bool]],
    cuts: list[tuple[int, list[int]]],
) -> None:
    whole, cut = Conversation(), Conversation()
    events = history(whole, steps)
    async with open_session() as session:
        scripted = Scripted(session)
        async with open_cassandra_chats(scripted) as chats:  # type: ignore[arg-type]
            for event in events:
                await chats.record(logged(event), {})
            for size, written in cuts:
                scripted.written = written or None
                with suppress(Unavailable):
                    await chats.record(logged(*(moved(event, whole, cut) for event in events[:size])), {})
            scripted.written = None
            await chats.record(logged(*(moved(event, whole, cut) for event in events)), {})
            expected = await state(chats, whole)
            assert plain(await state(chats, cut), cut) == plain(expected, whole)


@hypothetical
@given(cuts=st.lists(st.tuples(st.integers(1, 3), st.none() | st.lists(st.integers(0, 30), max_size=8)), max_size=6))
async def test_the_members_of_a_group_are_never_older_than_its_version(
    open_session: OpenSession, cuts: list[tuple[int, list[int] | None]]
) -> None:
    crew = Company(tuple(itertools.islice(users, 60)))
    events: list[Event] = []
    expected: dict[int, dict[int, int]] = {0: {}}
    group, found = Group(), expected[0]
    for roles in ({0: ROLE_OWNER}, dict.fromkeys(range(60), ROLE_MEMBER), dict.fromkeys(range(9, 50), ROLE_GUEST)):
        events.append(crew.control(roles))
        expected[crew.version] = {user_id: member.version for user_id, member in crew.known.items()}
    async with open_session() as session:
        scripted = Scripted(session)
        async with open_cassandra_chats(scripted) as chats:  # type: ignore[arg-type]
            for size, scripted.written in [*cuts, (3, None)]:
                with suppress(Unavailable):
                    await chats.record(logged(*events[:size]), {})
                group = await chats.get_group(crew.chat_id) or Group()
                found = {member.user_id: member.version for member in group.members}
                assert all(found[user_id] >= version for user_id, version in expected[group.version].items())
            assert (group.version, found) == (3, expected[3])


def moved(event: Event, source: Conversation, target: Conversation) -> Event:
    """The same event in another chat."""
    copy = Event()
    copy.CopyFrom(event)
    content = getattr(copy, str(copy.WhichOneof("event")))
    content.chat_id = target.chat_id
    name = "sender_id" if copy.HasField("message") else "actor_id"
    setattr(content, name, target.members[source.members.index(getattr(content, name))])
    for mention in (copy.message.text if copy.HasField("message") else copy.change.edited.text).mentions:
        mention.user_id = target.members[source.members.index(mention.user_id)]
    return copy


def plain(state: Any, talk: Conversation) -> str:
    """The state as text, with no sign of which chat it is."""
    text = repr(state).replace(talk.chat_id, "chat")
    for n, member in enumerate(talk.members):
        text = re.sub(rf"\b{member}\b", f"member{n}", text)
    return text


async def test_a_message_and_its_retry_that_two_archives_record_at_once_is_shown_once(
    session: CassandraSession,
) -> None:
    talk = Conversation()
    first, retry = talk.message(client_message_id="x"), talk.message(client_message_id="x")
    scripted = Scripted(session)
    async with open_cassandra_chats(scripted) as one, open_cassandra_chats(scripted) as other:  # type: ignore[arg-type]
        scripted.before_writes = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.record, logged(first), {})
            nursery.start_soon(other.record, logged(retry), {})
            while scripted.requests != [1, 1, 1, 1]:  # both have read, and neither has written
                await trio.sleep(0.001)
            scripted.before_writes.set()
        for limit in (10, 2):
            page = await one.messages_before(talk.chat_id, MAX_ID, limit)
            assert ids(page.messages) == [first.event_id]
        await other.record(logged(retry), {})  # the first is in the store by now
        assert ids((await newest_page(one, talk.chat_id)).messages) == [first.event_id]


async def all_of(chats: CassandraChats, talk: Conversation) -> list[int]:
    return ids((await newest_page(chats, talk.chat_id)).messages)


async def test_the_first_of_a_send_is_found_three_days_back_over_the_border_of_a_bucket(
    session: CassandraSession,
) -> None:
    border = 200 * SPAN
    async with open_cassandra_chats(session) as chats:
        for first_id, retry_id in [
            (border - 1, border),
            (border - 1, border - 1 + DEDUPE_BEHIND),
            (border, border + SPAN - 1),
            (border + DEDUPE_AHEAD - 1, border - 1),  # the older one was published late
        ]:
            talk = Conversation()
            await chats.record(logged(talk.message(client_message_id="x", message_id=first_id)), {})
            await chats.record(logged(talk.message(client_message_id="x", message_id=retry_id)), {})
            assert await all_of(chats, talk) == [first_id]
