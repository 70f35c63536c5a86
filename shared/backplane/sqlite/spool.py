"""Publish from another process to the SQLite log, which one process has open.

A command writes a file into a folder beside the log, and that process publishes it within half a second, or when it
starts. For rare records, such as the end of a user's sign-ins.
"""

import os
import secrets
import time
from pathlib import Path

import structlog
import trio

from shared.backplane.protocol import Backplane, Record
from shared.backplane.publishing import publish_and_wait
from shared.contract.errors import Unavailable
from shared.contract.partitions import partition_of

SCAN_INTERVAL = 0.5
"""Seconds between scans of the folder: each takes some microseconds."""

_SUFFIX = ".record"

_log = structlog.get_logger(__name__)


def spool_record(folder: Path, user_id: int, value: bytes) -> None:
    """Write a record for the partition of the user. It is on disk when this returns. Raises OSError."""
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _inherit_owner(folder)
    name = f"{time.time_ns():020}-{user_id}-{secrets.token_hex(4)}"
    unfinished = folder / name
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())
    _inherit_owner(unfinished)
    unfinished.rename(folder / f"{name}{_SUFFIX}")


def _inherit_owner(path: Path) -> None:
    """Set the owner of a path that root created to the owner of its folder, whose process reads it."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


async def publish_spool(folder: Path, log: Backplane) -> None:
    """Publish the files of the folder, oldest first, until cancelled."""
    while True:
        for path in _files(folder):
            try:
                await _publish(path, log)
            except (Unavailable, OSError) as error:
                _log.warning("spool_not_published", file=path.name, error=str(error))
                break  # it is retried at the next scan, before the later ones
        await trio.sleep(SCAN_INTERVAL)


def _files(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == _SUFFIX)
    except OSError:  # no record was ever written
        return []


async def _publish(path: Path, log: Backplane) -> None:
    """Publish a file and delete it; rename an invalid one, so that it is not read again."""
    try:
        await publish_and_wait(log, [_read(path, log.partitions)])
    except (ValueError, IndexError) as error:
        _log.error("spool_file_refused", file=path.name, error=str(error))
        _remove(path, refused=True)
    else:
        _remove(path)


def _read(path: Path, partitions: int) -> Record:
    """Read a record. Raises ValueError or IndexError for a file that `spool_record` has not written."""
    user_id = int(path.stem.split("-")[1])
    return Record(partition_of(user_id, partitions), path.read_bytes())


def _remove(path: Path, *, refused: bool = False) -> None:
    if refused:
        path.rename(path.with_suffix(".refused"))
    else:
        path.unlink()
