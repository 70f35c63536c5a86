"""Removes files that nobody can need: uploads that have ended, files that no message uses, bytes without a row, and
avatars that no user or group has.

Every step may be repeated and done by several processes at once, and a process may be killed between any two of them:

1. A file that no message uses is condemned, and so is an upload that is not complete in time. It is not found from then
   on. A use that is recorded meanwhile revives it, so the uses are read again.
2. Once every message that had got the file before is recorded, and none uses it, its row is removed, unless it was
   revived.
3. The bytes of the file are deleted. Bytes that are left are found without a row a day later.

Avatars have no rows. One can be set within a day of its upload only, so no user or group gets it while it is deleted.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from random import randrange

import structlog
import trio

from messaging.archive.store.files import FIRST_CURSOR, FileRow
from messaging.archive.store.protocol import ChatStore
from messaging.archive.watermark import Watermark
from rookery.v1.archive_pb2 import FILE_STATE_COMPLETE
from shared.accounts.store import AccountStore, batches
from shared.contract.avatars import SETTABLE_MS, place_of
from shared.contract.ids import first_id_at, wall_clock_ms
from shared.contract.partitions import partition_of
from shared.files.keys import avatar_of, file_id_of, file_key, keys_of
from shared.files.owner import claim
from shared.files.protocol import MAX_LISTED, FileStore, Stored, Upload

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS

UNUSED_MS = DAY_MS
"""Time from the completion of a file to its removal, unless a message uses it."""

UPLOAD_MS = 7 * DAY_MS
"""Time from the reservation of a file to its removal, if it is not complete, or is blocked."""

GRACE_MS = HOUR_MS
"""Time after a file is condemned in which a message may still use it: more than a gateway takes from the look-up of a
file to the log, and more than clocks differ."""

LEFT_MS = DAY_MS
"""Bytes and uploads without a row are deleted at this age: an upload begins before its file is reserved."""

AVATAR_MS = SETTABLE_MS + HOUR_MS
"""Time from the upload of an avatar to its removal: more than a change of a profile takes, and clocks differ."""

SHARES = 24
"""Number of sweeps in which the uses of each file are read once, and the keys of the file store are listed once."""

PAGE = 500
"""Rows that are read at once: about 5 ms of work of the loop."""

FIRST_SECONDS = 300.0
"""Seconds from the start of an archive to its first sweep: a process that is started often sweeps too."""

HOUR_SECONDS = 3_600.0
"""Seconds from one sweep to the next."""

Failed = Callable[[str, Exception], None]
"""Takes the name of a step of a sweep, `files`, `keys` or `uploads`, and the exception that has ended the step."""

_log = structlog.get_logger(__name__)


@dataclass
class Swept:
    """The result of a sweep: numbers of files; `bytes` without a row, and squares of `avatars`, in keys of the file
    store; and `uploads` without a row."""

    condemned: int = 0
    revived: int = 0
    forgotten: int = 0
    bytes: int = 0
    avatars: int = 0
    uploads: int = 0


class Sweep:
    """Sweeps the files of a platform."""

    def __init__(
        self, chats: ChatStore, accounts: AccountStore, files: FileStore, partitions: int, platform: str
    ) -> None:
        """`partitions` is the number of partitions of the log, `platform` the owner of the file store."""
        self._chats = chats
        self._accounts = accounts
        self._table = chats.files
        self._files = files
        self._platform = platform
        self._watermark = Watermark(chats, partitions)

    async def run(self, share: int | None = None, failed: Failed | None = None) -> Swept:
        """Sweep everything, or one of SHARES: in all shares are the files that are condemned or uploading, which are
        few; the first one has the bytes and the avatars. Raises Unavailable, also if the file store belongs to another
        platform, and may be repeated.

        With `failed`, exceptions of the listings, which come after the files, are passed to it instead."""
        await claim(self._files, self._platform)
        swept = Swept()
        complete_up_to = await self._watermark.complete_up_to()  # before the uses are read
        is_empty = await self._sweep_files(share, complete_up_to, swept)
        listings: dict[str, Callable[[], Awaitable[None]]] = {}
        if not share:
            listings["keys"] = partial(self._sweep_keys, complete_up_to, swept, is_empty=is_empty)
        listings["uploads"] = partial(self._sweep_uploads, swept, is_empty=is_empty)
        for step, sweep in listings.items():
            try:
                await sweep()
            except Exception as error:  # supervises the listing: the next step does not depend on it
                if failed is None:
                    raise
                failed(step, error)
        return swept

    async def _sweep_files(self, share: int | None, complete_up_to: int, swept: Swept) -> bool:
        """Sweep the rows of the file table, and return whether there are none."""
        cursor: int | None = FIRST_CURSOR
        is_empty = True
        while cursor is not None:
            rows, cursor = await self._table.page(cursor, PAGE)
            is_empty = is_empty and not rows
            condemned = [row for row in rows if row.condemned_ms]
            used = await self._revive(condemned, swept)
            unused = [row for row in condemned if _id(row) not in used]
            await self._forget([row for row in unused if _grace_of(row) <= complete_up_to], swept)
            await self._condemn([row for row in rows if not row.condemned_ms], share, swept)
        return is_empty

    async def _condemn(self, rows: Collection[FileRow], share: int | None, swept: Swept) -> None:
        now_ms = wall_clock_ms()
        ended = [row for row in rows if not _is_complete(row) and row.changed_ms < now_ms - UPLOAD_MS]
        in_share = [row for row in rows if _is_complete(row) and share in (None, _share_of(row))]
        old = [row for row in in_share if row.changed_ms < now_ms - UNUSED_MS]
        used = await self._used(old)
        unused = [row for row in old if _id(row) not in used]
        if ended or unused:
            await self._table.condemn([*ended, *unused], now_ms)
            swept.condemned += len(ended) + len(unused)
            await self._revive(unused, swept)

    async def _revive(self, rows: Collection[FileRow], swept: Swept) -> Collection[int]:
        """Revive those of the files that a message uses, and return their ids."""
        if used := await self._used(rows):
            await self._table.revive(used)
            swept.revived += len(used)
        return used

    async def _used(self, rows: Collection[FileRow]) -> Collection[int]:
        """The ids of the files that a message uses."""
        return await self._table.used([_id(row) for row in rows]) if rows else ()

    async def _forget(self, rows: Collection[FileRow], swept: Swept) -> None:
        """Forget files, and delete their bytes, unless they were revived."""
        if not rows:
            return
        forgotten = await self._table.forget(rows)
        for row in forgotten:
            if row.file.upload_id:
                await self._files.cancel(file_key(_id(row)), row.file.upload_id)
        await self._files.delete([key for row in forgotten for key in keys_of(_id(row))])
        swept.forgotten += len(forgotten)

    async def _sweep_keys(self, complete_up_to: int, swept: Swept, *, is_empty: bool) -> None:
        """Delete the keys of the file store that nobody reads any more, in one listing of all.

        If the file table `is_empty`, it may be that of another database, and all bytes are files of others: delete only
        avatars, and only of users and groups that exist."""
        after = ""
        while True:
            stored = await self._files.keys(after=after)
            if not is_empty:
                swept.bytes += await self._delete(await self._left_bytes(stored))
            left = await self._left_avatars(stored, complete_up_to, only_known=is_empty)
            swept.avatars += await self._delete(left)
            if len(stored) < MAX_LISTED:
                return
            after = stored[-1].key

    async def _delete(self, keys: Sequence[str]) -> int:
        """Delete keys, and return their number."""
        if keys:
            await self._files.delete(keys)
        return len(keys)

    async def _left_bytes(self, stored: Sequence[Stored]) -> list[str]:
        """The keys of the bytes of files without a row, and of the bytes that another rendition is read in place of."""
        before_ms = wall_clock_ms() - LEFT_MS
        old = {each.key: file_id for each in stored if each.at_ms < before_ms and (file_id := file_id_of(each.key))}
        rows = await self._table.rows({*old.values()}) if old else {}
        rowless = {*old.values()} - rows.keys()  # a restore may have lost their rows, and may bring them
        used = await self._table.used(rowless) if rowless else ()
        return [key for key, file_id in old.items() if file_id not in used and _is_left(key, rows.get(file_id))]

    async def _left_avatars(self, stored: Sequence[Stored], complete_up_to: int, *, only_known: bool) -> list[str]:
        """The keys of the squares of avatars that their users and groups do not have any more, or did not get in time.
        With `only_known`, without the avatars of users and groups that do not exist."""
        settled = [each.key for each in stored if _is_settled(each, complete_up_to)]
        tokens = {key: token for key in settled if (token := avatar_of(key))}
        present = await self._avatars({place_of(token) for token in tokens.values()})
        if only_known:
            tokens = {key: token for key, token in tokens.items() if place_of(token) in present}
        return [key for key, token in tokens.items() if present.get(place_of(token)) != token]

    async def _avatars(self, places: Collection[str]) -> Mapping[str, str]:
        """Return the avatar, or an empty text, of each of these users and groups that exists, or is deleted."""
        user_ids = [int(place) for place in places if place.isdigit()]
        groups = {place: await self._chats.get_group(place) for place in places if not place.isdigit()}
        present = {place: group.settings.avatar for place, group in groups.items() if group}
        for batch in batches(user_ids):
            present |= {str(user.user_id): user.avatar for user in await self._accounts.users(batch)}
        return present

    async def _sweep_uploads(self, swept: Swept, *, is_empty: bool) -> None:
        """Cancel the uploads that no file has, in one listing of all; if the file table `is_empty`, only uploads of
        avatars."""
        before_ms, after = wall_clock_ms() - LEFT_MS, ""
        while True:
            uploads = await self._files.uploads(before_ms, after, MAX_LISTED)
            left = [] if is_empty else await self._left_uploads(uploads)
            left += [upload for upload in uploads if avatar_of(upload.key)]  # their processes were killed during them
            for upload in left:
                await self._files.cancel(upload.key, upload.upload_id)
                swept.uploads += 1
            if len(uploads) < MAX_LISTED:
                return
            after = uploads[-1].key

    async def _left_uploads(self, uploads: Sequence[Upload]) -> list[Upload]:
        """Return the uploads of files without a row: their processes were killed during them."""
        ids = {upload: file_id for upload in uploads if (file_id := file_id_of(upload.key))}
        rows = await self._table.rows({*ids.values()}) if ids else {}
        used = {(file_id, row.file.upload_id) for file_id, row in rows.items()}
        return [upload for upload, file_id in ids.items() if (file_id, upload.upload_id) not in used]


async def number_of_partitions(chats: ChatStore, configured: int) -> int:
    """Return the number of partitions of the log for a process that does not open the log, and may have other settings
    than those that do: history has watermarks of all partitions that are recorded. Raises Unavailable."""
    return max(configured, 1 + max(await chats.watermarks(), default=-1))


async def sweep_hourly(sweep: Sweep, is_chosen: Callable[[], bool]) -> None:
    """Sweep a share every hour while `is_chosen`, which holds in one process; two at once do no harm.

    A share whose files could not be swept is repeated. A listing that fails, always perhaps, does not stop the next
    share: the next listing does its work."""
    share = randrange(SHARES)  # noqa: S311 - no secret
    await trio.sleep(FIRST_SECONDS)
    while True:
        if is_chosen():
            try:
                swept = await sweep.run(share, _report)
            except Exception as error:  # supervises the sweep: the next one does its work
                _report("files", error)
            else:
                _log.info("files_swept", share=share, **asdict(swept))
                share = (share + 1) % SHARES
        await trio.sleep(HOUR_SECONDS)


def _report(step: str, error: Exception) -> None:
    _log.warning("sweep_failed", step=step, reason=f"{type(error).__name__}: {error}")


def _id(row: FileRow) -> int:
    return row.file.file.file_id


def _is_complete(row: FileRow) -> bool:
    return row.file.state == FILE_STATE_COMPLETE


def _share_of(row: FileRow) -> int:
    return partition_of(_id(row), SHARES)


def _grace_of(row: FileRow) -> int:
    """The event id that history must have reached before a condemned file is forgotten."""
    return first_id_at(row.condemned_ms + GRACE_MS)


def _is_settled(stored: Stored, complete_up_to: int) -> bool:
    """Whether every change that has set this avatar is recorded: nobody can set it any more."""
    return first_id_at(stored.at_ms + AVATAR_MS) <= complete_up_to


def _is_left(key: str, row: FileRow | None) -> bool:
    """Whether nobody reads the bytes of a file with this key any more."""
    if row is None:
        return True
    return _is_complete(row) and bool(row.file.rendition) and key == file_key(_id(row))
