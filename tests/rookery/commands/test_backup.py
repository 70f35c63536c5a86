"""`rookery backup` and `rookery restore`: the restored data, refusals, and the state after a failure."""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import time
from contextlib import AsyncExitStack, closing
from pathlib import Path
from typing import Any

import click
import pytest
from pydantic import SecretStr

from messaging.archive.store.protocol import Logged
from rookery.commands import backup
from rookery.commands.backup import OFFSET_GAP, UNFINISHED, back_up, restore
from rookery.serve.engines import open_accounts, open_backplane, open_chats, open_configuration, open_files
from rookery.v1.session_pb2 import Event, Message
from shared.accounts.tokens import new_signing_key
from shared.archive import ARCHIVE_GROUP
from shared.backplane import Assignment, Backplane, Checkpoint, Record
from shared.backplane.publishing import publish_and_wait
from shared.backplane.sqlite.log import LogInUse, hold, open_sqlite_log
from shared.contract.chats import direct_chat_id
from shared.contract.ids import wall_clock_ms
from shared.files.keys import file_key
from shared.settings import FilesSettings, Settings
from tests.shared.files.content import content_of, read, store, write

DOCUMENT = (Path(__file__).resolve().parents[3] / "docs/operations/backup.md").read_text()

DATABASES = ["accounts.db", "chats.db", "configuration.db", "log.db"]
FILES = sorted([*DATABASES, "backup.json", "files"])

CONTENT = content_of(6 << 20)

CHAT = direct_chat_id(1, 2)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


@pytest.fixture
def elsewhere(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "elsewhere")


@pytest.fixture
async def folder(settings: Settings, tmp_path: Path) -> Path:
    """A backup of an open data folder in which two of three records are recorded."""
    async with AsyncExitStack() as stack:
        log = await stack.enter_async_context(open_backplane(settings))
        chats = await stack.enter_async_context(open_chats(settings))
        accounts = await stack.enter_async_context(open_accounts(settings))
        configuration = await stack.enter_async_context(open_configuration(settings))
        files = await stack.enter_async_context(open_files(settings))
        await store(files, file_key(7), [CONTENT, b"end"])
        await files.put(file_key(7, "320"), b"small")
        await write(files, file_key(8), await files.begin(file_key(8)), 1, b"unfinished")
        for value in (b"one", b"two", b"three"):
            await publish_and_wait(log, [Record(1, value)])
        await chats.record([Logged(event(number), 0) for number in (1, 2)], {1: 2})
        await accounts.add_signing_key(new_signing_key(1))
        await configuration.set("access_token_seconds", "60")
        await back_up(settings, tmp_path / "backup")
    return tmp_path / "backup"


def event(message_id: int) -> Event:
    message = Message(message_id=message_id, chat_id=CHAT, sender_id=1, client_message_id=str(message_id))
    return Event(event_id=message_id, message=message)


def names(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in DATABASES}


def read_manifest(folder: Path) -> Any:
    return json.loads((folder / "backup.json").read_text())


def corrupt(file: Path, place: int) -> None:
    """Change up to 64 bytes of the file from a place on."""
    content = bytearray(file.read_bytes())
    for index in range(len(content))[place:][:64]:
        content[index] ^= 0xA5
    file.write_bytes(content)


def update_manifest(folder: Path, name: str) -> None:
    """Describe the file in the manifest as it is now."""
    manifest = read_manifest(folder)
    manifest["files"][name] = backup._describe(folder / name)
    (folder / "backup.json").write_text(json.dumps(manifest))


async def read_from(log: Backplane, offset: int, count: int) -> list[tuple[int, bytes]]:
    """Read `count` records of partition 1 from an offset on, each with its offset."""
    records: list[tuple[int, bytes]] = []
    async with log.consume("reader") as consumer:
        while len(records) < count:
            fetched = await consumer.fetch()
            if isinstance(fetched, Assignment):
                consumer.seek(1, offset)
            else:
                records += [(record.offset, record.value) for record in fetched.records if record.partition == 1]
    return records


# ---- the data


async def test_a_backup_is_complete_readable_by_its_owner_only_and_leaves_no_other_file(
    folder: Path, settings: Settings
) -> None:
    assert names(folder) == FILES
    assert mode(folder) == 0o700
    for name in DATABASES:
        assert mode(folder / name) == mode(settings.data / name)
    assert mode(folder / "accounts.db") == 0o600
    assert names(folder.parent) == ["backup", "data"]
    manifest = read_manifest(folder)
    sizes = {name: len(content) for name, content in contents(folder).items()}
    assert {name: file["bytes"] for name, file in manifest["files"].items()} == sizes


async def test_a_restore_brings_back_the_data(folder: Path, elsewhere: Settings) -> None:
    await restore(elsewhere, folder)
    assert names(elsewhere.data) == sorted([*DATABASES, "files", "log.lock"])
    async with open_files(elsewhere) as files:
        assert await read(files, file_key(7)) == CONTENT + b"end"
        assert [each.key for each in await files.keys()] == [file_key(7), file_key(7, "320")]
        assert await files.uploads(2**62) == []
    async with open_chats(elsewhere) as chats, open_accounts(elsewhere) as accounts:
        assert await chats.recorded_offsets() == {1: 2}
        assert await chats.get_message(CHAT, 2) is not None
        assert len(await accounts.signing_keys()) == 1
    async with open_configuration(elsewhere) as configuration:
        assert {key: item.value for key, item in (await configuration.load()).items()} == {"access_token_seconds": "60"}
    assert mode(elsewhere.data / "accounts.db") == 0o600


async def test_a_restored_log_continues_behind_every_position_that_clients_may_hold(
    folder: Path, elsewhere: Settings
) -> None:
    await restore(elsewhere, folder)
    async with open_backplane(elsewhere) as log:
        (offset,) = await publish_and_wait(log, [Record(1, b"next")])
        assert offset == 3 + OFFSET_GAP + 1
        assert (await publish_and_wait(log, [Record(0, b"first")])) == [0]
        # The unrecorded record is still read, then the new one.
        assert await read_from(log, 2, 3) == [(2, b"three"), (3 + OFFSET_GAP, b""), (offset, b"next")]
        assert await log.end_offset(1) == offset + 1


async def test_a_restored_log_keeps_what_was_recorded_between_the_copies_of_the_two_databases(
    settings: Settings, elsewhere: Settings, folder: Path
) -> None:
    again = folder.with_name("again")
    async with open_backplane(settings) as log, log.consume(ARCHIVE_GROUP) as consumer:
        await consumer.commit({1: Checkpoint(3, 1)})
    await back_up(settings, again)
    await restore(elsewhere, again)
    async with open_sqlite_log(elsewhere.data / "log.db", partitions=4, retention_hours=1) as restored:
        await restored.trim(wall_clock_ms() + 1)
        assert await read_from(restored, 2, 1) == [(2, b"three")]
        async with restored.consume(ARCHIVE_GROUP) as consumer:
            assert await consumer.committed([1]) == {1: Checkpoint(0, 0)}


async def test_a_backup_of_a_stopped_rookery_is_the_same(folder: Path, settings: Settings, tmp_path: Path) -> None:
    lines = await back_up(settings, tmp_path / "again")
    assert contents(tmp_path / "again") == contents(folder)
    assert lines[-1] == f"{tmp_path / 'again'} is complete"
    assert f"chats.db: {len(contents(folder)['chats.db']):,} bytes" in lines
    assert "files: 2 keys, 6,291,464 bytes" in lines
    assert names(settings.data) == sorted([*DATABASES, "files", "log.lock"])


async def test_a_backup_may_leave_the_bytes_of_files_to_others(folder: Path, settings: Settings) -> None:
    in_bucket = FilesSettings(url="s3://bucket", access_key="key", secret_key=SecretStr("secret"))
    for name, with_files, used, words in (
        ("databases", False, settings, "copy that folder now"),
        ("bucket", True, settings.model_copy(update={"files": in_bucket}), "are in s3://bucket: back up that bucket"),
    ):
        lines = await back_up(used, folder.with_name(name), with_files=with_files)
        assert words in "\n".join(lines)
        assert "files" not in names(folder.with_name(name))


async def test_files_that_an_engine_replaces_are_left_out(folder: Path, settings: Settings) -> None:
    with_kafka = settings.model_copy(update={"engines": frozenset({"kafka", "redis"})})
    await back_up(with_kafka, folder.with_name("some"))
    assert names(folder.with_name("some")) == ["accounts.db", "backup.json", "chats.db", "files"]


# ---- refusals


async def test_a_backup_overwrites_nothing(folder: Path, settings: Settings) -> None:
    with pytest.raises(click.ClickException, match="already exists"):
        await back_up(settings, folder)
    folder.with_name("other" + UNFINISHED).mkdir()
    with pytest.raises(click.ClickException, match="another backup"):
        await back_up(settings, folder.with_name("other"))
    assert names(folder.with_name("other" + UNFINISHED)) == []


async def test_a_data_folder_without_files_is_not_backed_up(tmp_path: Path) -> None:
    with pytest.raises(click.ClickException, match="no files to back up"):
        await back_up(Settings(data=tmp_path / "nothing"), tmp_path / "backup")
    assert names(tmp_path) == []


async def test_a_log_that_was_trimmed_beyond_the_recorded_offsets_is_not_backed_up(
    folder: Path, settings: Settings
) -> None:
    with closing(sqlite3.connect(settings.data / "log.db")) as connection, connection:
        connection.execute("DELETE FROM segments WHERE place <= (1 << 48) + 1")
    await back_up(settings, folder.with_name("fits"))
    with closing(sqlite3.connect(settings.data / "chats.db")) as connection, connection:
        connection.execute("UPDATE recorded SET offset = 1")
    with pytest.raises(click.ClickException, match="trimmed beyond"):
        await back_up(settings, folder.with_name("gap"))
    assert names(folder.parent) == ["backup", "data", "fits"]


async def test_a_restore_needs_a_backup_and_an_empty_data_folder_that_is_not_in_use(
    folder: Path, settings: Settings, elsewhere: Settings
) -> None:
    with pytest.raises(click.ClickException, match=r"is not empty: it contains accounts\.db"):
        await restore(settings, folder)
    with pytest.raises(click.ClickException, match="is not a backup"):
        await restore(elsewhere, folder.parent)
    (elsewhere.data / "lost+found").mkdir(parents=True)
    with hold(elsewhere.data / "log.db"), pytest.raises(LogInUse):
        await restore(elsewhere, folder)
    assert names(elsewhere.data) == ["log.lock", "lost+found"]
    await restore(elsewhere, folder)


@pytest.mark.parametrize("name", DATABASES)
async def test_a_file_that_is_missing_or_has_changed_is_not_restored(
    folder: Path, elsewhere: Settings, name: str
) -> None:
    corrupt(folder / name, -1)
    with pytest.raises(click.ClickException, match=f"{name} is missing, or has changed"):
        await restore(elsewhere, folder)
    (folder / name).unlink()
    with pytest.raises(click.ClickException, match=f"{name} is missing, or has changed"):
        await restore(elsewhere, folder)
    assert names(folder.parent) == ["backup", "data"]


async def test_files_without_all_their_bytes_are_not_restored(folder: Path, elsewhere: Settings) -> None:
    part = next(path for path in (folder / "files").rglob("*") if path.name.startswith("00002-3-"))
    part.write_bytes(b"en")
    with pytest.raises(click.ClickException, match="has changed since the backup: part 2"):
        await restore(elsewhere, folder)
    shutil.rmtree(part.parent)
    with pytest.raises(click.ClickException, match="is not complete"):
        await restore(elsewhere, folder)
    assert names(folder.parent) == ["backup", "data"]


@pytest.mark.parametrize(
    ("damage", "words"), [(4096, "chats.db is damaged"), (0, "chats.db is damaged"), (None, "by a newer release")]
)
async def test_a_damaged_or_newer_database_is_not_restored(
    folder: Path, elsewhere: Settings, damage: int | None, words: str
) -> None:
    chats = folder / "chats.db"
    if damage is None:
        with closing(sqlite3.connect(chats)) as connection, connection:
            connection.execute("PRAGMA user_version = 99")
    else:
        corrupt(chats, damage)
    update_manifest(folder, "chats.db")
    with pytest.raises(click.ClickException, match=words):
        await restore(elsewhere, folder)


# ---- failures half-way


async def test_a_backup_that_fails_leaves_nothing(folder: Path, settings: Settings) -> None:
    corrupt(settings.data / "accounts.db", 0)
    with pytest.raises(sqlite3.DatabaseError):
        await back_up(settings, folder.with_name("other"))
    assert names(folder.parent) == ["backup", "data"]


async def test_a_restore_that_fails_leaves_an_empty_data_folder(
    folder: Path, elsewhere: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError("No space left on device")  # `shutil.copymode` runs after the files are copied

    monkeypatch.setattr(shutil, "copymode", fail)
    with pytest.raises(OSError, match="No space"):
        await restore(elsewhere, folder)
    assert names(elsewhere.data) == ["log.lock"]
    monkeypatch.undo()
    await restore(elsewhere, folder)


# ---- the document


def test_the_nightly_command_deletes_old_backups_and_no_other_folder(tmp_path: Path) -> None:
    kept = ["2026-11-25", "before-1.4", "files"]
    for name, days in {"2026-11-05": 20, "2026-11-25": 0, "before-1.4": 20, "files": 20}.items():
        (tmp_path / name).mkdir()
        changed_at = time.time() - days * 86_400
        os.utime(tmp_path / name, (changed_at, changed_at))
    (delete,) = [line.partition("&& ")[2] for line in DOCUMENT.splitlines() if "&& find /backups" in line]
    subprocess.run(["/bin/sh", "-c", delete.replace("/backups", str(tmp_path))], check=True)
    assert names(tmp_path) == kept
