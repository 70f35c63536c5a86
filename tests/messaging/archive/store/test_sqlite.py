"""The chat store on SQLite beyond the contract: deleted text is not in the file, complete files survive a power loss,
and control changes come in any order."""

import shutil
import sqlite3
from collections.abc import Callable
from functools import partial
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import trio

from messaging.archive.store.sqlite.store import SqliteChats, open_sqlite_chats
from rookery.v1.archive_pb2 import FILE_STATE_COMPLETE, FILE_STATE_UPLOADING, StoredFile
from rookery.v1.files_pb2 import FileInfo
from rookery.v1.groups_pb2 import ROLE_ADMIN, ROLE_GUEST, ROLE_UNSPECIFIED, GroupSettings
from shared.contract.ids import MAX_ID
from shared.drivers.sqlite import Database
from tests.messaging.archive.store.chats import Company, Conversation, all_chats, chat_of, logged, users


@pytest.mark.parametrize("size", [20, 20_000])
async def test_the_text_of_a_deleted_message_is_not_in_the_file(tmp_path: Path, size: int) -> None:
    talk = Conversation()
    message = talk.message(body="a secret " * size)
    edit = talk.edit(message.event_id, "another one " * size)
    for some in ([message], [edit, *talk.messages(20)], [talk.deletion(message.event_id)]):
        async with open_sqlite_chats(tmp_path / "chats.db") as chats:
            await chats.record(logged(*some), {})
    data = await trio.Path(tmp_path / "chats.db").read_bytes()
    assert [text in data for text in (b"hello", b"secret", b"another one")] == [True, False, False]


async def test_a_complete_file_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = tmp_path / "after a power loss"
    synced.mkdir()

    def fsync(_: int) -> None:
        for name in ("chats.db", "chats.db-wal"):
            shutil.copy(tmp_path / name, synced)

    file = StoredFile(file=FileInfo(file_id=1), owner_id=2, state=FILE_STATE_UPLOADING)
    async with open_sqlite_chats(tmp_path / "chats.db") as chats:
        await chats.files.reserve("a", file, quota_bytes=1, max_uploads=1)
        monkeypatch.setattr("os.fsync", fsync)
        file.state = FILE_STATE_COMPLETE
        await chats.files.complete(file, 1)
    async with open_sqlite_chats(synced / "chats.db") as chats:
        assert (await chats.files.rows([1]))[1].file.state == FILE_STATE_COMPLETE


async def test_control_changes_make_the_same_group_in_any_order(tmp_path: Path) -> None:
    async with open_sqlite_chats(tmp_path / "chats.db") as chats:
        for order in permutations(range(5)):
            crew = Company()
            events = [
                *(crew.creation(), crew.control({1: ROLE_UNSPECIFIED}), crew.control({1: ROLE_ADMIN, 2: ROLE_GUEST})),
                *(crew.control(settings=GroupSettings(name="Later")), crew.control({2: ROLE_UNSPECIFIED})),
            ]
            recorded: set[int] = set()
            group = await chats.get_group(crew.chat_id)
            for n in order:
                await chats.record(logged(events[n]), {})
                recorded.add(n)
                group = await chats.get_group(crew.chat_id)
                version = 0 if group is None else group.version
                assert version == min(set(range(6)) - recorded)
            assert group is not None
            assert ([*group.members], group.settings.name) == ([crew.known[user] for user in crew.members], "Later")
            seen = [(await all_chats(chats, user))[0] for user in crew.members]
            assert [(chat.version, chat.settings.name, chat.member_count) for chat in seen] == [
                *[(5, "Later", 2)] * 2,
                (5, "Later", 0),
            ]


async def test_a_chat_has_no_private_changes_of_other_members(tmp_path: Path) -> None:
    crew = Company()
    unread = [crew.toggle("marked_unread", 0, who) for who in (0, 1)]
    async with open_sqlite_chats(tmp_path / "chats.db") as chats:
        await chats.record(logged(crew.creation(), *unread, pinned := crew.toggle("pinned", 0)), {})
        seen = [await chat_of(chats, crew, user) for user in crew.members[:2]]
    assert [list(chat.changes) for chat in seen] == [[change, pinned] for change in unread]


async def test_a_batch_of_deletions_takes_few_statements_whatever_else_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    statements: list[str] = []
    steps: list[None] = []  # of SQLite's virtual machine, in tens
    write = Database.write

    async def counted(database: Database, work: Callable[[sqlite3.Connection], Any]) -> Any:
        def run(connection: sqlite3.Connection) -> Any:
            connection.set_trace_callback(statements.append)
            connection.set_progress_handler(lambda: steps.append(None), 10)
            try:
                return work(connection)
            finally:
                connection.set_trace_callback(None)

        return await write(database, run)

    monkeypatch.setattr(Database, "write", counted)
    costs: list[int] = []
    async with open_sqlite_chats(tmp_path / "chats.db") as chats:
        for others in (0, 1_000):
            talk = Conversation()
            messages = [talk.message(files=[0]) for _ in range(others + 60)]
            edits = [talk.edit(message.event_id) for message in messages]
            await chats.record(logged(*messages, *edits), {})
            deletions = [talk.deletion(message.event_id) for message in messages[-60:]]
            statements.clear()
            steps.clear()
            await chats.record(logged(*deletions), {})
            assert len(statements) <= 10
            costs.append(len(steps))
    assert costs[1] <= costs[0] * 1.1


async def test_reads_of_a_channel_do_not_grow_with_its_members_and_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[None] = []  # of SQLite's virtual machine, in tens
    read = Database.read

    async def counted(database: Database, work: Callable[[sqlite3.Connection], Any]) -> Any:
        def run(connection: sqlite3.Connection) -> Any:
            connection.set_progress_handler(lambda: steps.append(None), 10)
            return work(connection)

        return await read(database, run)

    async def cost(chats: SqliteChats, size: int) -> list[int]:
        crew = Company(tuple(next(users) for _ in range(size)))
        events = [
            *(crew.creation(size, is_channel=True), message := crew.message()),
            *(crew.control({who: ROLE_ADMIN}) for who in range(2, size)),
            crew.control({1: ROLE_UNSPECIFIED}),
            *(crew.toggle(kind, 0, who) for kind in ("chat_pinned", "marked_unread") for who in range(size)),
            *(crew.toggle("starred", message.event_id, who) for who in range(size)),
            crew.mark(size - 1, read=MAX_ID),  # unread messages are counted one by one
        ]
        await chats.record(logged(*events), {})
        costs: list[int] = []
        for user_id in (crew.members[-1], crew.members[1]):  # a member and a former one
            for call in (
                partial(all_chats, chats, user_id),
                partial(chats.get_chat, user_id, crew.chat_id),
                partial(chats.get_member, crew.chat_id, user_id),
                partial(chats.get_group, crew.chat_id, [user_id]),
                partial(chats.messages_before, crew.chat_id, message.event_id + 1, 1, user_id),
            ):
                steps.clear()
                assert await call()
                costs.append(len(steps))
        return costs

    monkeypatch.setattr(Database, "read", counted)
    async with open_sqlite_chats(tmp_path / "chats.db") as chats:
        small, large = [await cost(chats, size) for size in (10, 500)]
    assert [each for each in zip(small, large, strict=True) if each[1] > each[0] + 10] == []
