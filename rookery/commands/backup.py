"""`rookery backup` and `rookery restore`: the data folder, copied while Rookery runs, and put back.

Each file is copied by SQLite's online backup, as it was at one moment. The order of these moments makes the copies fit
each other. First chats.db, which says how far the log is recorded in it, then log.db: what was accepted before the
backup began is in one of the two, and after a restore the archive records what chats.db lacks from the log, as after a
crash. Then accounts.db: it has everyone who has sent something in the log.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click
import msgspec
import trio

from messaging.archive.store.sqlite import store as chats_sqlite
from rookery.serve.folder import DataFolder
from shared.accounts.sqlite import store as accounts_sqlite
from shared.backplane.sqlite import log as sqlite_log
from shared.backplane.sqlite.segments import last_segment
from shared.configuration import sqlite as configuration
from shared.contract.ids import wall_clock_ms
from shared.drivers import sqlite
from shared.settings import Engine, Settings

MANIFEST = "backup.json"
"""What a backup says of itself: the release, when it began, and of each file its size and SHA-256."""

UNFINISHED = ".unfinished"
"""Ends the name of what is not whole yet."""

ROOM = 1 << 32
"""Offsets left out behind a restored log. Clients may know positions of records that came after the backup; with these
passed over, none of them is given to another record."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file of the data folder, which is there unless `engine` stands in for it."""

    name: str
    engine: Engine
    migrations: Sequence[str]


CHATS, LOG = "chats.db", "log.db"

MOUNTED = "lost+found"
"""What a file system of its own has, and is empty nevertheless."""

PARTS = (
    Part(CHATS, "cassandra", chats_sqlite.MIGRATIONS),
    Part(LOG, "kafka", sqlite_log.MIGRATIONS),
    Part("accounts.db", "cassandra", accounts_sqlite.MIGRATIONS),
    Part("configuration.db", "redis", configuration.MIGRATIONS),
)
"""In the order in which they are copied."""


async def back_up(settings: Settings, folder: Path) -> list[str]:
    """Copy the data folder into a new one, whether Rookery runs or not; what was done, in words.

    The folder has its name once it is whole and on disk. Raises ClickException, in words, OSError or sqlite3.Error.
    """
    return await trio.to_thread.run_sync(_back_up, settings, folder)


async def restore(settings: Settings, folder: Path) -> list[str]:
    """Put a backup into a data folder that is empty or not there; what was done, in words.

    Raises LogInUse, ClickException, in words, OSError or sqlite3.Error; then the data folder is empty as before.
    """
    return await trio.to_thread.run_sync(_restore, settings, folder)


def _back_up(settings: Settings, folder: Path) -> list[str]:
    data = DataFolder(settings.data)
    parts = [part for part in PARTS if part.engine not in settings.engines and (data.path / part.name).exists()]
    if not parts:
        raise click.ClickException(f"nothing is kept in {data.path} with these settings")
    if folder.exists():
        raise click.ClickException(f"{folder} is there already: a backup makes a folder of its own")
    began_at_ms = wall_clock_ms()
    with _unfinished(folder) as unfinished:
        for part in parts:
            _copy_database(data.path / part.name, unfinished / part.name)
        if {CHATS, LOG} <= {part.name for part in parts}:
            _check_that_they_fit(unfinished / CHATS, unfinished / LOG)
        files = {part.name: _describe(unfinished / part.name) for part in parts}
        manifest = {"release": version("rookery"), "began_at_ms": began_at_ms, "files": files}
        (unfinished / MANIFEST).write_text(json.dumps(manifest, indent=2))
        _sync(unfinished / MANIFEST)
    return [*(f"{name}: {file['bytes']:,} bytes" for name, file in files.items()), f"{folder} is whole"]


@contextmanager
def _unfinished(folder: Path) -> Iterator[Path]:
    """A folder for its owner alone, which gets its name at the end of the block, and is gone if that fails."""
    unfinished = folder.with_name(folder.name + UNFINISHED)
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        unfinished.mkdir(mode=0o700)
    except FileExistsError:
        raise click.ClickException(
            f"{unfinished} is there: another backup is making it, or was interrupted; then remove it"
        ) from None
    try:
        yield unfinished
        _sync(unfinished)
        unfinished.rename(folder)
    except BaseException:  # only to remove what is unfinished: raised again
        shutil.rmtree(unfinished)
        raise
    _sync(folder.parent)


def _copy_database(source: Path, target: Path) -> None:
    """Copy the file as it is at one moment, while others go on writing it; with its mode, and on disk."""
    mode = stat.S_IMODE(source.stat().st_mode)
    target.touch(mode=0o600, exist_ok=False)
    # Not read-only: such a connection can leave files behind that Rookery, as another user, could not open.
    with (
        closing(sqlite3.connect(f"file:{quote(str(source))}?mode=rw", uri=True, timeout=sqlite.BUSY_TIMEOUT)) as old,
        closing(sqlite3.connect(target, isolation_level=None)) as new,
    ):
        old.backup(new)  # all pages in one step: with more, each write in between would make it begin again
    target.chmod(mode)
    _sync(target)


def _check_that_they_fit(chats: Path, log: Path) -> None:
    """Nothing must be missing between what is recorded and where the log begins, which is trimmed now and then."""
    with closing(_connect_unchanging(chats)) as connection:
        recorded = dict(connection.execute("SELECT partition, offset FROM recorded").fetchall())
    with closing(_connect_unchanging(log)) as connection:
        query = "SELECT place >> 48, min(place) & ((1 << 48) - 1) FROM segments GROUP BY 1"
        begins = dict(connection.execute(query).fetchall())
    if any(begin > recorded.get(partition, 0) for partition, begin in begins.items()):
        raise click.ClickException(
            "the log was trimmed beyond what was recorded when chats.db was copied, which took longer than "
            "`log.retention_hours` (ROOKERY_LOG__RETENTION_HOURS): raise that, and back up again"
        )


def _restore(settings: Settings, folder: Path) -> list[str]:
    manifest = _read_manifest(folder)
    parts = [part for part in PARTS if part.name in manifest["files"]]
    for part in parts:
        _check(folder / part.name, part, manifest["files"][part.name])
    data = DataFolder(settings.data)
    data.path.mkdir(parents=True, exist_ok=True)
    with sqlite_log.hold(data.log):
        if names := sorted({file.name for file in data.path.iterdir()} - {data.log_lock.name, MOUNTED}):
            raise click.ClickException(
                f"{data.path} is not empty: it has {names[0]}; ROOKERY_DATA names another folder"
            )
        _put_back(folder, data, parts)
    return [f"{data.path} is as {folder} has it: {', '.join(part.name for part in parts)}"]


def _put_back(folder: Path, data: DataFolder, parts: Sequence[Part]) -> None:
    copies = {data.path / (part.name + UNFINISHED): data.path / part.name for part in parts}
    try:
        for unfinished, final in copies.items():
            unfinished.touch(mode=0o600)
            shutil.copyfile(folder / final.name, unfinished)
            if final == data.log:
                _leave_room(unfinished)
            shutil.copymode(folder / final.name, unfinished)
            _sync(unfinished)
        for unfinished, final in copies.items():
            unfinished.rename(final)
        _sync(data.path)
    except BaseException:  # only to remove what is unfinished: raised again
        for either in (*copies, *copies.values()):
            either.unlink(missing_ok=True)
        raise


def _leave_room(log: Path) -> None:
    """In each partition that has records, append an empty one that is `ROOM` offsets away."""
    with closing(sqlite.connect(log)) as connection:
        fillers = []
        for (partition,) in connection.execute("SELECT DISTINCT place >> 48 FROM segments"):
            if last := last_segment(connection, (partition + 1 << 48) - 1):
                fillers.append((last.place + last.records + ROOM, 1, wall_clock_ms(), msgspec.msgpack.encode([b""])))
        # The columns by name, as the file may be of an older release than this one.
        insert = "INSERT INTO segments (place, records, at_ms, record_values) VALUES (?, ?, ?, ?)"
        connection.executemany(insert, fillers)


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError) as error:
        raise click.ClickException(f"{folder} is no backup: {MANIFEST} can't be read: {error}") from None
    return dict(manifest)


def _check(file: Path, part: Part, told: dict[str, Any]) -> None:
    """The file must be what was copied, a sound database, and of no newer release."""
    if not file.exists() or _describe(file) != told:
        raise click.ClickException(f"{file} is not what was backed up: it is missing, or has changed since")
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


def _connect_unchanging(file: Path) -> sqlite3.Connection:
    """Read a file that nobody writes, and leave nothing beside it."""
    return sqlite3.connect(f"file:{quote(str(file))}?mode=ro&immutable=1", uri=True)


def _describe(file: Path) -> dict[str, Any]:
    with file.open("rb") as content:
        return {"bytes": file.stat().st_size, "sha256": hashlib.file_digest(content, "sha256").hexdigest()}


def _sync(path: Path) -> None:
    """See to it that a file, or what a folder lists, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
