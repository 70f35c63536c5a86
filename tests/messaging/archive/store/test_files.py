"""The contract of every FileTable, and of the uses that a ChatStore records, on the engines of conftest.py."""

import itertools
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest
import trio
from cassandra.query import PreparedStatement

from messaging.archive.store.cassandra.store import open_cassandra_chats
from messaging.archive.store.files import FIRST_CURSOR, Exceeded, FileRow
from messaging.archive.store.protocol import ChatStore
from rookery.v1.archive_pb2 import (
    FILE_CLASS_LINKS,
    FILE_CLASS_MEDIA,
    FILE_CLASS_OTHER,
    FILE_STATE_BLOCKED,
    FILE_STATE_COMPLETE,
    FILE_STATE_UPLOADING,
    StoredFile,
)
from rookery.v1.files_pb2 import FileInfo
from rookery.v1.session_pb2 import Event
from shared.contract.errors import Unavailable
from shared.contract.ids import MAX_ID
from shared.drivers.cassandra import CassandraSession
from shared.drivers.cassandra.tracing import Statement
from tests.cassandra_sessions import OpenSession
from tests.messaging.archive.store.chats import NOW_MS, Conversation, ids, logged, new_ids, users

pytestmark = pytest.mark.usefixtures("clock")

names = itertools.count()


@pytest.fixture
def talk() -> Conversation:
    return Conversation()


def upload(owner_id: int, size: int = 10) -> StoredFile:
    """A file as it is reserved."""
    return StoredFile(
        file=FileInfo(file_id=next(new_ids), name=f"file {next(names)}", size=size),
        owner_id=owner_id,
        state=FILE_STATE_UPLOADING,
        upload_id="u1",
        reserved_at_ms=NOW_MS,
    )


async def reserve(chats: ChatStore, file: StoredFile, client_file_id: str = "", **limits: int) -> StoredFile | Exceeded:
    within = {"quota_bytes": 100, "max_uploads": 3} | limits
    return await chats.files.reserve(client_file_id or file.file.name, file, **within)


async def complete_file(chats: ChatStore, owner_id: int, **info: object) -> FileInfo:
    """A complete file: a picture, unless the info describes another one."""
    file = upload(owner_id)
    await reserve(chats, file, quota_bytes=MAX_ID, max_uploads=MAX_ID)
    picture = {"media_type": "image/png", "width": 3, "size": 5}
    done = StoredFile(file=FileInfo(file_id=file.file.file_id, **(picture | info)), owner_id=owner_id)  # type: ignore[arg-type]
    done.state = FILE_STATE_COMPLETE
    assert await chats.files.complete(done, NOW_MS)
    return done.file


async def row_of(chats: ChatStore, file_id: int) -> FileRow:
    return (await chats.files.rows([file_id]))[file_id]


async def away() -> None:
    raise Unavailable("away")


class Interrupted:
    """A session that calls `interrupt` once, before the first statement that begins with `before`."""

    def __init__(
        self, session: CassandraSession, before: str, interrupt: Callable[[], Awaitable[object]] = away
    ) -> None:
        self._session = session
        self._before = before
        self._interrupt = interrupt
        self._was_interrupted = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def execute(self, statement: PreparedStatement, parameters: Sequence[object] = ()) -> list[Any]:
        return (await self.execute_all([(statement, parameters)]))[0]

    async def execute_all(self, work: Sequence[tuple[Statement, Sequence[object]]]) -> list[list[Any]]:
        if not self._was_interrupted and any(_text(statement).startswith(self._before) for statement, _ in work):
            self._was_interrupted = True
            await self._interrupt()
        return await self._session.execute_all(work)


def _text(statement: Statement) -> str:
    return str(statement.query_string).strip() if isinstance(statement, PreparedStatement) else ""


def with_files(event: Event, *files: FileInfo) -> Event:
    event.message.files.extend(files)
    return event


async def test_a_reserved_file_is_returned_to_each_retry(chats: ChatStore) -> None:
    file = upload(next(users))
    assert await reserve(chats, file, "a") == file
    other = upload(file.owner_id)
    assert await reserve(chats, other, "a", quota_bytes=0, max_uploads=0) == file
    assert await chats.files.rows([file.file.file_id, other.file.file_id]) == {
        file.file.file_id: FileRow(file, "a", NOW_MS)
    }
    strangers = upload(next(users))
    assert await reserve(chats, strangers, "a") == strangers


async def test_a_request_that_two_archives_get_at_once_reserves_one_file(chats: ChatStore) -> None:
    """The client of archives repeats a request after a second, without an end to the first attempt."""
    files = [upload(next(users)) for _ in range(10)]

    async def check(file: StoredFile) -> None:
        assert await reserve(chats, file) == file

    async with trio.open_nursery() as nursery:
        for file in files * 2:
            nursery.start_soon(check, file)
    reserved = {file.file.file_id for file in files}
    assert {*await chats.files.rows(reserved)} == reserved


async def test_the_files_of_a_user_stay_within_the_limits(chats: ChatStore) -> None:
    owner = next(users)
    first = upload(owner, 60)
    await reserve(chats, first)
    assert await reserve(chats, upload(owner, 41)) is Exceeded.QUOTA
    await reserve(chats, upload(owner, 40))
    assert await reserve(chats, upload(owner, 0), max_uploads=2) is Exceeded.UPLOADS
    first.state, first.file.size = FILE_STATE_COMPLETE, 50
    await chats.files.complete(first, NOW_MS)
    assert await reserve(chats, upload(owner, 11), max_uploads=2) is Exceeded.QUOTA
    assert isinstance(await reserve(chats, upload(owner, 10), max_uploads=2), StoredFile)


async def test_a_blocked_file_leaves_room_and_keeps_its_row(chats: ChatStore) -> None:
    file = upload(next(users), 100)
    await reserve(chats, file, "a")
    file.state = FILE_STATE_BLOCKED
    blocked = await chats.files.complete(file, NOW_MS)
    assert await reserve(chats, upload(file.owner_id), "a") == blocked
    assert isinstance(await reserve(chats, upload(file.owner_id, 100), max_uploads=1), StoredFile)
    assert (await row_of(chats, file.file.file_id)).file == blocked


async def test_concurrent_reservations_stay_within_the_limits(chats: ChatStore) -> None:
    owner, results = next(users), list[StoredFile | Exceeded]()

    async def add(number: int) -> None:
        results.append(await reserve(chats, upload(owner, 30), f"c{number}"))

    async with trio.open_nursery() as nursery:
        for number in range(8):
            nursery.start_soon(add, number)
    reserved = {each.file.file_id for each in results if isinstance(each, StoredFile)}
    assert len(reserved) <= 3
    assert {*await chats.files.rows(reserved)} == reserved


async def test_a_refusal_that_a_failing_engine_interrupts_leaves_no_file(open_session: OpenSession) -> None:
    file = upload(next(users))
    async with open_session() as session, open_cassandra_chats(Interrupted(session, "DELETE")) as chats:  # type: ignore[arg-type]
        with suppress(Unavailable):
            await reserve(chats, file, "a", quota_bytes=5)
        assert await reserve(chats, file, "a", quota_bytes=5) is Exceeded.QUOTA
        assert await chats.files.rows([file.file.file_id]) == {}


async def test_a_cancellation_that_a_failing_engine_interrupts_leaves_room_when_it_is_repeated(
    open_session: OpenSession,
) -> None:
    file = upload(next(users), 100)
    async with open_session() as session, open_cassandra_chats(Interrupted(session, "DELETE")) as chats:  # type: ignore[arg-type]
        await reserve(chats, file, "a")
        with pytest.raises(Unavailable):
            await chats.files.cancel(file.owner_id, file.file.file_id, NOW_MS)
        assert await chats.files.cancel(file.owner_id, file.file.file_id, NOW_MS)
        assert isinstance(await reserve(chats, upload(file.owner_id, 100), max_uploads=1), StoredFile)


async def test_a_completion_that_a_failing_engine_interrupts_leaves_no_upload_behind(
    open_session: OpenSession, talk: Conversation
) -> None:
    async with (
        open_session() as session,
        open_cassandra_chats(session) as chats,
        open_cassandra_chats(Interrupted(session, "UPDATE files_by_owner")) as interrupted,  # type: ignore[arg-type]
    ):
        file = upload(talk.members[0])
        await reserve(chats, file, "a")
        done = StoredFile(file=file.file, owner_id=file.owner_id, state=FILE_STATE_COMPLETE)
        with pytest.raises(Unavailable):
            await interrupted.files.complete(done, NOW_MS)
        if (await row_of(chats, file.file.file_id)).file.state == FILE_STATE_UPLOADING:  # else it is not repeated
            await chats.files.complete(done, NOW_MS)
        assert isinstance(await reserve(chats, upload(file.owner_id), max_uploads=1), StoredFile)


async def test_a_revival_that_a_failing_engine_interrupts_counts_the_file_when_it_is_repeated(
    open_session: OpenSession, talk: Conversation
) -> None:
    async with (
        open_session() as session,
        open_cassandra_chats(session) as chats,
        open_cassandra_chats(Interrupted(session, "INSERT INTO files_by_owner")) as interrupted,  # type: ignore[arg-type]
    ):
        file = await complete_file(chats, talk.members[0], size=5)
        await chats.files.condemn([await row_of(chats, file.file_id)], NOW_MS)
        use = logged(with_files(talk.message(), file))
        with pytest.raises(Unavailable):
            await interrupted.record(use, {})
        await interrupted.record(use, {})
        assert (await row_of(chats, file.file_id)).condemned_ms == 0
        assert await reserve(chats, upload(talk.members[0], 96)) is Exceeded.QUOTA


async def test_a_file_that_is_forgotten_during_its_revival_leaves_room(
    open_session: OpenSession, talk: Conversation
) -> None:
    async def forget() -> None:
        assert await chats.files.forget([await row_of(chats, file.file_id)])

    async with (
        open_session() as session,
        open_cassandra_chats(session) as chats,
        open_cassandra_chats(Interrupted(session, "INSERT INTO files_by_owner", forget)) as interrupted,  # type: ignore[arg-type]
    ):
        file = await complete_file(chats, talk.members[0], size=5)
        await chats.files.condemn([await row_of(chats, file.file_id)], NOW_MS)
        await interrupted.files.revive([file.file_id])
        assert await chats.files.rows([file.file_id]) == {}
        assert isinstance(await reserve(chats, upload(talk.members[0], 100)), StoredFile)


@pytest.mark.parametrize("step", ["condemn", "forget"])
async def test_a_file_that_is_revived_before_its_bytes_are_released_counts(
    open_session: OpenSession, talk: Conversation, step: str
) -> None:
    async def revive() -> None:
        await chats.files.revive([file.file_id])

    async with (
        open_session() as session,
        open_cassandra_chats(session) as chats,
        open_cassandra_chats(Interrupted(session, "DELETE FROM files_by_owner", revive)) as interrupted,  # type: ignore[arg-type]
    ):
        file = await complete_file(chats, talk.members[0], size=5)
        condemning = chats if step == "forget" else interrupted
        await condemning.files.condemn([await row_of(chats, file.file_id)], NOW_MS)
        if step == "forget":
            assert await interrupted.files.forget([await row_of(chats, file.file_id)]) == []
        assert (await row_of(chats, file.file_id)).condemned_ms == 0
        assert await reserve(chats, upload(talk.members[0], 96)) is Exceeded.QUOTA


async def test_a_file_whose_bytes_are_released_during_its_revival_counts(
    open_session: OpenSession, talk: Conversation
) -> None:
    claimed, released = trio.Event(), trio.Event()

    async def revive() -> None:
        nursery.start_soon(reviving.files.revive, [file.file_id])
        await claimed.wait()

    async def wait_for_release() -> None:
        claimed.set()
        await released.wait()

    async with (
        open_session() as session,
        open_cassandra_chats(session) as chats,
        open_cassandra_chats(Interrupted(session, "DELETE FROM files_by_owner", revive)) as condemning,  # type: ignore[arg-type]
        open_cassandra_chats(
            Interrupted(session, "UPDATE files SET condemned_ms = null", wait_for_release)  # type: ignore[arg-type]
        ) as reviving,
    ):
        file = await complete_file(chats, talk.members[0], size=5)
        async with trio.open_nursery() as nursery:
            await condemning.files.condemn([await row_of(chats, file.file_id)], NOW_MS)
            released.set()
        assert (await row_of(chats, file.file_id)).condemned_ms == 0
        assert await reserve(chats, upload(talk.members[0], 96)) is Exceeded.QUOTA


async def test_a_file_is_completed_or_blocked_once_by_its_owner(chats: ChatStore) -> None:
    file = upload(next(users))
    await reserve(chats, file, "a")
    done = StoredFile(
        file=FileInfo(file_id=file.file.file_id, name="b", width=3), state=FILE_STATE_BLOCKED, sha256=b"s"
    )
    assert await chats.files.complete(done, NOW_MS + 1) is None
    done.owner_id = file.owner_id
    stored = StoredFile(reserved_at_ms=NOW_MS)
    stored.MergeFrom(done)
    assert await chats.files.complete(done, NOW_MS + 1) == stored
    done.state = FILE_STATE_COMPLETE
    assert await chats.files.complete(done, NOW_MS + 2) == stored
    assert await row_of(chats, done.file.file_id) == FileRow(stored, "a", NOW_MS + 1)
    assert not await chats.files.cancel(file.owner_id, file.file.file_id, NOW_MS)


async def test_a_cancelled_file_leaves_room_and_its_client_file_id(chats: ChatStore) -> None:
    file = upload(next(users), 100)
    await reserve(chats, file, "a")
    assert await chats.files.cancel(next(users), file.file.file_id, NOW_MS)
    assert await chats.files.complete(upload(file.owner_id), NOW_MS) is None  # unknown
    assert (await row_of(chats, file.file.file_id)).condemned_ms == 0
    for _ in range(2):
        assert await chats.files.cancel(file.owner_id, file.file.file_id, NOW_MS)
    done = StoredFile(file=file.file, owner_id=file.owner_id, state=FILE_STATE_COMPLETE)
    assert await chats.files.complete(done, NOW_MS) is None
    again = upload(file.owner_id, 100)
    assert await reserve(chats, again, "a") == again


async def test_every_file_is_on_one_page(chats: ChatStore) -> None:
    files = [await complete_file(chats, next(users)) for _ in range(5)]
    cursor: int | None = FIRST_CURSOR
    found: list[FileRow] = []
    while cursor is not None:
        rows, cursor = await chats.files.page(cursor, 2)
        found += rows
    listed = [row.file.file.file_id for row in found]
    assert {file.file_id for file in files} <= {*listed}
    assert len({*listed}) == len(listed)


async def test_a_file_is_used_until_its_last_message_is_deleted(chats: ChatStore, talk: Conversation) -> None:
    file, unused = [await complete_file(chats, talk.members[0]) for _ in range(2)]
    events = [with_files(talk.message(0, "first"), file), with_files(talk.message(1), file, unused)]
    events[1].message.files.pop()
    await chats.record(logged(*events), {})
    assert await chats.files.used([file.file_id, unused.file_id, 1]) == {file.file_id}
    keys = [(talk.chat_id, event.event_id) for event in events]
    assert await chats.files.held_by(keys) == {key: {file.file_id} for key in keys}
    retry = with_files(talk.message(0, "first"), unused)
    deletions = [talk.deletion(event.event_id, who) for who, event in enumerate(events)]
    await chats.record(logged(deletions[0], retry), {})
    assert await chats.files.used([file.file_id, unused.file_id]) == {file.file_id}
    await chats.record(logged(deletions[1]), {})
    await chats.record(logged(*events, *deletions, retry), {})  # the log is read again
    await chats.record(logged(*events), {})
    assert await chats.files.used([file.file_id, unused.file_id]) == set()
    assert await chats.files.held_by([*keys, (talk.chat_id, 1)]) == {key: set() for key in keys}
    early = with_files(talk.message(), unused)
    await chats.record(logged(talk.deletion(early.event_id)), {})
    await chats.record(logged(early), {})
    assert await chats.files.used([unused.file_id]) == set()


async def test_a_use_is_found_behind_many_that_are_deleted(chats: ChatStore, talk: Conversation) -> None:
    file = await complete_file(chats, talk.members[0])
    events = [with_files(talk.message(), file) for _ in range(45)]
    await chats.record(logged(*events), {})
    await chats.record(logged(*(talk.deletion(event.event_id) for event in events[:-1])), {})
    assert await chats.files.used([file.file_id]) == {file.file_id}
    page = await chats.messages_with_files(talk.chat_id, FILE_CLASS_MEDIA, MAX_ID, 10)
    assert (ids(page.messages), page.has_older) == ([events[-1].event_id], False)


async def test_messages_with_files_are_listed_by_class(chats: ChatStore, talk: Conversation) -> None:
    owner = talk.members[0]
    picture, other = await complete_file(chats, owner), await complete_file(chats, owner, width=0)
    film = await complete_file(chats, owner, media_type="video/mp4", width=0)
    events = [
        *(with_files(talk.message(), picture, film), with_files(talk.message(), other), talk.message()),
        *(with_files(talk.message(), other, film), talk.message(body="at https://a.example, `https://b`")),
        talk.message(body="`https://b.example`"),
    ]
    await chats.record(logged(*events), {})
    await chats.record(logged(talk.reaction(events[3].event_id)), {})

    async def listed(file_class: int, before_id: int = MAX_ID, limit: int = 10) -> tuple[list[int], bool]:
        page = await chats.messages_with_files(talk.chat_id, file_class, before_id, limit)  # type: ignore[arg-type]
        assert not page.has_newer
        assert [each.message for each in page.messages] == [
            event.message for event in events if event.event_id in ids(page.messages)
        ]
        return [[event.event_id for event in events].index(at) for at in ids(page.messages)], page.has_older

    assert await listed(FILE_CLASS_MEDIA) == ([0, 3], False)
    assert await listed(FILE_CLASS_MEDIA, limit=1) == ([3], True)
    assert await listed(FILE_CLASS_OTHER) == ([1, 3], False)
    assert await listed(FILE_CLASS_OTHER, before_id=events[3].event_id) == ([1], False)
    assert await listed(FILE_CLASS_LINKS) == ([4], False)
    await chats.record(logged(*(talk.deletion(events[at].event_id) for at in (3, 4))), {})
    assert await listed(FILE_CLASS_MEDIA, limit=1) == ([0], False)
    assert await listed(FILE_CLASS_LINKS) == ([], False)


async def test_a_condemned_file_is_forgotten_unless_a_use_of_it_is_recorded(
    chats: ChatStore, talk: Conversation
) -> None:
    owner = talk.members[0]
    files = [await complete_file(chats, owner) for _ in range(3)]
    rows = [await row_of(chats, file.file_id) for file in files]
    await chats.files.condemn(rows, NOW_MS)
    await chats.files.condemn(rows, NOW_MS + 1)
    condemned = [await row_of(chats, file.file_id) for file in files]
    assert [row.condemned_ms for row in condemned] == [NOW_MS] * 3
    again = upload(owner)
    assert await reserve(chats, again, rows[0].client_file_id) == again
    await chats.record(logged(with_files(talk.message(), files[1])), {})
    await chats.files.revive([files[2].file_id, again.file.file_id, 1])
    assert [(await row_of(chats, file.file_id)).condemned_ms for file in files] == [NOW_MS, 0, 0]
    assert await chats.files.forget(condemned) == condemned[:1]
    assert await chats.files.forget(condemned) == []
    assert {*await chats.files.rows([file.file_id for file in files])} == {file.file_id for file in files[1:]}
    await chats.files.condemn([await row_of(chats, files[2].file_id)], NOW_MS + 2)
    assert await chats.files.forget(condemned) == []  # it was revived since then
    assert (await row_of(chats, files[2].file_id)).condemned_ms == NOW_MS + 2
    # The files that are not condemned have 15 bytes.
    assert await reserve(chats, upload(owner, 86)) is Exceeded.QUOTA
    assert isinstance(await reserve(chats, upload(owner, 85)), StoredFile)


async def test_a_file_that_has_another_state_is_not_condemned(chats: ChatStore) -> None:
    file = upload(next(users))
    await reserve(chats, file)
    row = await row_of(chats, file.file.file_id)
    done = StoredFile(file=file.file, owner_id=file.owner_id, state=FILE_STATE_COMPLETE)
    await chats.files.complete(done, NOW_MS)
    await chats.files.condemn([row], NOW_MS)
    assert (await row_of(chats, file.file.file_id)).condemned_ms == 0
