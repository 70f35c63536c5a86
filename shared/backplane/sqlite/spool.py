"""How a command has something published to the embedded log, which one process has open: it leaves a file in a folder
beside it, and that process takes it up within half a second, or when it starts.

For what is rare, such as the end of someone's sign-ins.
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

LOOK_SECONDS = 0.5
"""How often to look for files: it takes some microseconds."""

_SUFFIX = ".record"

_log = structlog.get_logger(__name__)


def leave(folder: Path, user_id: int, value: bytes) -> None:
    """Have the record published to the partition of the user. It is on disk when this returns. Raises OSError."""
    if not folder.exists():
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _give(folder)
    name = f"{time.time_ns():020}-{user_id}-{secrets.token_hex(4)}"
    unfinished = folder / name
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(value)
        file.flush()
        os.fsync(file.fileno())
    _give(unfinished)
    unfinished.rename(folder / f"{name}{_SUFFIX}")


def _give(path: Path) -> None:
    """What root makes belongs to whom the folder around it does, who is to read it."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)


async def publish_left(folder: Path, log: Backplane) -> None:
    """Publish what is left in the folder, in the order in which it was, until cancelled."""
    while True:
        for path in _left(folder):
            try:
                await _publish(path, log)
            except (Unavailable, OSError) as error:
                _log.warning("spool_not_published", file=path.name, error=str(error))
                break  # it is tried again, and nothing goes before it
        await trio.sleep(LOOK_SECONDS)


def _left(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == _SUFFIX)
    except OSError:  # nobody has left anything yet
        return []


async def _publish(path: Path, log: Backplane) -> None:
    """Publish the file and take it away; one that can't be published is left, under another name."""
    try:
        await publish_and_wait(log, [_read(path, log.partitions)])
    except (ValueError, IndexError) as error:
        _log.error("spool_file_refused", file=path.name, error=str(error))
        _take_away(path, refused=True)
    else:
        _take_away(path)


def _read(path: Path, partitions: int) -> Record:
    """Raises ValueError or IndexError for what is none of ours."""
    user_id = int(path.stem.split("-")[1])
    return Record(partition_of(user_id, partitions), path.read_bytes())


def _take_away(path: Path, *, refused: bool = False) -> None:
    if refused:
        path.rename(path.with_suffix(".refused"))
    else:
        path.unlink()
