"""`rookery backup` and `rookery restore`: copy the data folder while Rookery runs, and copy it back.

SQLite's online backup copies each file as it was at one moment, and the order of these moments keeps the copies
consistent. First chats.db, which holds the recorded offset of each partition, then log.db: every message accepted
before the backup is in one of the two, and after a restore the archive records the rest from the log, as after a
crash. Then accounts.db: it contains every author of the log. Last the bytes of files, which never change: those of
every file in chats.db were stored before.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec
import trio

from messaging.archive.store.sqlite import schema as chats_sqlite
from rookery.serve.folder import ACCOUNTS, CHATS, CONFIGURATION, FILES, LOG, DataFolder
from shared.accounts.sqlite import store as accounts_sqlite
from shared.backplane.sqlite import log as sqlite_log
from shared.backplane.sqlite.segments import last_segment
from shared.configuration import sqlite as configuration
from shared.contract.ids import wall_clock_ms
from shared.drivers import sqlite
from shared.files.folder import copy_stored, count_stored, sync
from shared.files.protocol import Damaged
from shared.settings import Engine, Settings

MANIFEST = "backup.json"
"""The description of a backup: the release, its start time, the size and SHA-256 of each database, and how many keys
and bytes the file store has."""

UNFINISHED = ".unfinished"
"""The suffix of an incomplete folder or file."""

OFFSET_GAP = 1 << 32
"""Offsets that are skipped after a restored log. Clients may hold positions of records that were written after the
backup; skipping their offsets keeps them from being assigned to other records."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the data folder, which exists unless `engine` replaces it."""

    name: str
    engine: Engine
    migrations: Sequence[sqlite.Migration]


MOUNTED = "lost+found"
"""A folder that every new file system contains; a data folder with nothing else counts as empty."""

PARTS = (
    Part(CHATS, "cassandra", chats_sqlite.MIGRATIONS),
    Part(LOG, "kafka", sqlite_log.MIGRATIONS),
    Part(ACCOUNTS, "cassandra", accounts_sqlite.MIGRATIONS),
    Part(CONFIGURATION, "redis", configuration.MIGRATIONS),
)
"""The files in the order in which they are copied."""


def missing_databases(settings: Settings) -> list[str]:
    """Return the names of the missing databases: a platform with these settings creates them at its first start. Raises
    OSError if the data folder can't be read."""
    data = DataFolder(settings.data)
    return [part.name for part in PARTS if part.engine not in settings.engines and not (data.path / part.name).exists()]


async def back_up(settings: Settings, folder: Path, *, with_files: bool = True) -> list[str]:
    """Copy the data folder to a new folder, while Rookery runs or not, and return lines that describe the result.

    Without the bytes of files it has the databases only. The new folder gets its name once it is complete and on disk.
    Raises ClickException, OSError or sqlite3.Error.
    """
    return await trio.to_thread.run_sync(_back_up, settings, folder, with_files)


async def restore(settings: Settings, folder: Path) -> list[str]:
    """Copy a backup to a data folder that is empty or missing, and return lines that describe the result.

    Raises LogInUse, ClickException, OSError or sqlite3.Error, and leaves the data folder empty then.
    """
    return await trio.to_thread.run_sync(_restore, settings, folder)


def _back_up(settings: Settings, folder: Path, with_files: bool) -> list[str]:
    data = DataFolder(settings.data)
    parts = [part for part in PARTS if part.engine not in settings.engines and (data.path / part.name).exists()]
    has_store = not settings.files.url and data.files.exists()
    if not parts and not has_store:
        raise click.ClickException(f"there are no files to back up in {data.path} with these settings")
    if folder.exists():
        raise click.ClickException(f"{folder} already exists: a backup needs a new folder")
    began_at_ms = wall_clock_ms()
    with _unfinished(folder) as unfinished:
        for part in parts:
            _copy_database(data.path / part.name, unfinished / part.name)
        if {CHATS, LOG} <= {part.name for part in parts}:
            _check_consistency(unfinished / CHATS, unfinished / LOG)
        files = {part.name: _describe(unfinished / part.name) for part in parts}
        manifest: dict[str, Any] = {"release": version("rookery"), "began_at_ms": began_at_ms, "files": files}
        lines = [f"{name}: {file['bytes']:,} bytes" for name, file in files.items()]
        if settings.files.url:
            lines.append(f"the bytes of files are in {settings.files.url}: back up that bucket")
        elif not with_files:
            lines.append(f"the bytes of files are in {data.files}: copy that folder now")
        elif has_store:
            copied = copy_stored(data.files, unfinished / FILES)
            os.sync()
            manifest["stored"] = asdict(copied)
            lines.append(f"{FILES}: {copied.keys:,} keys, {copied.bytes:,} bytes")
        (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=2))
        sync(unfinished / MANIFEST)
    return [*lines, f"{folder} is complete"]


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """Create a folder readable by its owner only; rename it to its final name on success, remove it on failure."""
    unfinished = folder.with_name(folder.name + UNFINISHED)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        unfinished.mkdir(mode=0o700)
    except FileExistsError:
        raise click.ClickException(
            f"{unfinished} exists: another backup is running, or was interrupted; in that case remove it"
        ) from None
    try:
        yield unfinished
        sync(unfinished)
        unfinished.rename(folder)
    except BaseException:  # only to remove unfinished files: raised again
        shutil.rmtree(unfinished)
        raise
    sync(folder.parent)


def _copy_database(source: Path, target: Path) -> None:
    """Copy the file as it is at one moment, with its mode, while other processes write it; sync the copy to disk."""
    mode = stat.S_IMODE(source.stat().st_mode)
    target.touch(mode=0o600, exist_ok=False)
    # Not read-only: a read-only connection can create files that Rookery, running as another user, could not open.
    with (
        closing(sqlite3.connect(f"file:{quote(str(source))}?mode=rw", uri=True, timeout=sqlite.BUSY_TIMEOUT)) as old,
        closing(sqlite3.connect(target, isolation_level=None)) as new,
    ):
        old.backup(new)  # all pages in one step: with several steps, each write in between would restart the copy
    target.chmod(mode)
    sync(target)


def _check_consistency(chats: Path, log: Path) -> None:
    """Check that the log was not trimmed beyond the recorded offset of a partition."""
    with closing(_connect_unchanging(chats)) as connection:
        recorded = dict(connection.execute("SELECT partition, offset FROM recorded").fetchall())
    with closing(_connect_unchanging(log)) as connection:
        query = "SELECT place >> 48, min(place) & ((1 << 48) - 1) FROM segments GROUP BY 1"
        begins = dict(connection.execute(query).fetchall())
    if any(begin > recorded.get(partition, 0) for partition, begin in begins.items()):
        raise click.ClickException(
            "the log was trimmed beyond the recorded offsets in chats.db, because copying chats.db took longer than "
            "`log.retention_hours` (ROOKERY_LOG__RETENTION_HOURS): raise it, and back up again"
        )


def _restore(settings: Settings, folder: Path) -> list[str]:
    manifest = _read_manifest(folder)
    parts = [part for part in PARTS if part.name in manifest["files"]]
    for part in parts:
        _check(folder / part.name, part, manifest["files"][part.name])
    _check_store(folder / FILES, manifest.get("stored"))
    data = DataFolder(settings.data)
    data.path.mkdir(parents=True, exist_ok=True)
    with sqlite_log.hold(data.log):
        if names := sorted({file.name for file in data.path.iterdir()} - {data.log_lock.name, MOUNTED}):
            raise click.ClickException(
                f"{data.path} is not empty: it contains {names[0]}; set ROOKERY_DATA to another folder"
            )
        _copy_back(folder, data, parts)
    names = [part.name for part in parts] + ([FILES] if "stored" in manifest else [])
    return [f"{data.path} is restored from {folder}: {', '.join(names)}"]


def _copy_back(folder: Path, data: DataFolder, parts: Sequence[Part]) -> None:
    copies = {data.path / (part.name + UNFINISHED): data.path / part.name for part in parts}
    unfinished_store = data.path / (FILES + UNFINISHED)
    try:
        for unfinished, final in copies.items():
            unfinished.touch(mode=0o600)
            shutil.copyfile(folder / final.name, unfinished)
            if final == data.log:
                _prepare_log(unfinished)
            shutil.copymode(folder / final.name, unfinished)
            sync(unfinished)
        if (folder / FILES).exists():
            copy_stored(folder / FILES, unfinished_store)
            os.sync()
            unfinished_store.rename(data.files)
        for unfinished, final in copies.items():
            unfinished.rename(final)
        sync(data.path)
    except BaseException:  # only to remove unfinished files: raised again
        for either in (*copies, *copies.values()):
            either.unlink(missing_ok=True)
        for either in (unfinished_store, data.files):
            shutil.rmtree(either, ignore_errors=True)
        raise


def _prepare_log(file: Path) -> None:
    """Skip offsets, and set the log's own offsets of its consumers back to its beginning.

    The log was copied after chats.db, so its offsets may be above the recorded ones, and the records between them would
    be trimmed before the archive has recorded them: after a restore they are older than the retention. The archive
    continues at the offsets of chats.db. With Cassandra it reads the whole log again, which changes nothing.
    """
    with closing(sqlite.connect(file)) as connection:
        sqlite.migrate(connection, sqlite_log.MIGRATIONS)
        connection.execute("UPDATE offsets SET offset = 0, epoch = 0")
        _skip_offsets(connection)


def _skip_offsets(connection: sqlite3.Connection) -> None:
    """Append an empty record `OFFSET_GAP` offsets behind the last one of each partition that has records."""
    fillers = []
    for (partition,) in connection.execute("SELECT DISTINCT place >> 48 FROM segments"):
        if last := last_segment(connection, (partition + 1 << 48) - 1):
            fillers.append((last.place + last.records + OFFSET_GAP, 1, wall_clock_ms(), msgspec.msgpack.encode([b""])))
    insert = "INSERT INTO segments (place, records, at_ms, record_values) VALUES (?, ?, ?, ?)"
    connection.executemany(insert, fillers)


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{folder} is not a backup: can't read {MANIFEST}: {error}") from None
    return dict(manifest)


def _check(file: Path, part: Part, description: dict[str, Any]) -> None:
    """Check that the file is unchanged since the backup, an intact database, and not of a newer release."""
    if not file.exists() or _describe(file) != description:
        raise click.ClickException(f"{file} is missing, or has changed since the backup")
    try:
        with closing(_connect_unchanging(file)) as connection:
            problems = [text for (text,) in connection.execute("PRAGMA quick_check")]
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        problems, schema = [str(error)], 0
    if problems != ["ok"]:
        raise click.ClickException(f"{file} is damaged: {problems[0]}")
    if schema > len(part.migrations):
        raise click.ClickException(f"{file} was written by a newer release of Rookery: restore it with that one")


def _check_store(folder: Path, description: dict[str, int] | None) -> None:
    """Check that the file store has as many files as at the backup, each with all its bytes."""
    try:
        is_same = asdict(count_stored(folder)) == (description or {"keys": 0, "bytes": 0})
    except Damaged as error:
        raise click.ClickException(f"{folder} has changed since the backup: {error}") from None
    if not is_same:
        raise click.ClickException(f"{folder} is not complete, or has changed since the backup")


def _connect_unchanging(file: Path) -> sqlite3.Connection:
    """Open a file that no process writes, without creating files beside it."""
    return sqlite3.connect(f"file:{quote(str(file))}?mode=ro&immutable=1", uri=True)


def _describe(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}
