"""The sweep of files, on the embedded stores; that of avatars on every store of chats."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from structlog.testing import capture_logs

from messaging.archive import sweep as module
from messaging.archive.store.protocol import ChatStore
from messaging.archive.store.sqlite.store import SqliteChats
from messaging.archive.sweep import (
    AVATAR_MS,
    DAY_MS,
    FIRST_SECONDS,
    GRACE_MS,
    HOUR_MS,
    HOUR_SECONDS,
    LEFT_MS,
    SHARES,
    UNUSED_MS,
    UPLOAD_MS,
    Failed,
    Sweep,
    Swept,
    sweep_hourly,
)
from rookery.v1.archive_pb2 import FILE_STATE_BLOCKED, FILE_STATE_COMPLETE, FILE_STATE_UPLOADING, StoredFile
from rookery.v1.files_pb2 import FileInfo
from rookery.v1.groups_pb2 import GroupSettings
from rookery.v1.session_pb2 import Event
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.store import AccountStore, User
from shared.contract.avatars import new_avatar
from shared.contract.errors import Unavailable
from shared.contract.ids import MAX_ID, wall_clock_ms
from shared.files.folder import FolderFiles, open_folder_files
from shared.files.keys import OWNER_KEY, PICTURE, avatar_keys, file_key
from tests.messaging.archive.conftest import ALICE, BOB, PARTITIONS, new_message
from tests.messaging.archive.store.chats import Company, Conversation, logged, new_ids, users
from tests.messaging.archive.store.conftest import ENGINES, OpenChats

PLATFORM = "the embedded engines"


@pytest.fixture
async def files(tmp_path: Path) -> AsyncIterator[FolderFiles]:
    async with open_folder_files(tmp_path / "files") as store:
        yield store


@pytest.fixture
async def accounts(tmp_path: Path) -> AsyncIterator[AccountStore]:
    async with open_sqlite_accounts(tmp_path / "accounts.sqlite3") as store:
        yield store


class World:
    """A file table, accounts and a file store, a clock, and a process that may be killed before any of its
    operations."""

    def __init__(
        self, chats: ChatStore, accounts: AccountStore, files: FolderFiles, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.chats, self.accounts, self.files = chats, accounts, files
        self.ahead_ms = self.recorded_ms = 0
        self.before: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint
        monkeypatch.setattr(module, "wall_clock_ms", lambda: self.now_ms)

    @property
    def now_ms(self) -> int:
        return wall_clock_ms() + self.ahead_ms

    async def sweep(self, share: int | None = None, failed: Failed | None = None) -> Swept:
        """A sweep by a process that has just started."""
        chats: Any = Stepping(self, self.chats, files=Stepping(self, self.chats.files), watermarks=self.watermarks)
        accounts: Any = Stepping(self, self.accounts)
        files: Any = Stepping(self, self.files, read=self.files.read)
        return await Sweep(chats, accounts, files, PARTITIONS, PLATFORM).run(share, failed)

    async def kill_a_sweep(self, step: int) -> bool:
        """Sweep with a process that is killed after so many operations. Return whether it was, or had ended before."""
        left = step

        async def kill() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Unavailable("killed")

        self.before = kill
        try:
            await self.sweep()
        except Unavailable:
            return True
        finally:
            self.before = trio.lowlevel.checkpoint
        return False

    async def watermarks(self) -> dict[int, int]:
        return dict.fromkeys(range(PARTITIONS), self.recorded_ms)

    async def record(self, *events: Event) -> None:
        """Record the log up to now."""
        await self.chats.record(logged(*events), {})
        self.recorded_ms = self.now_ms

    async def add(self, state: int = FILE_STATE_COMPLETE, rendition: str = "") -> StoredFile:
        """A file of Alice; a complete one has a thumbnail too."""
        file = StoredFile(file=FileInfo(file_id=next(new_ids), name="a", size=1), owner_id=ALICE)
        file.state, file.reserved_at_ms = FILE_STATE_UPLOADING, self.now_ms
        file.upload_id = await self.files.begin(file_key(file.file.file_id))
        limits = {"quota_bytes": MAX_ID, "max_uploads": 99}
        await self.chats.files.reserve(str(file.file.file_id), file, **limits)
        if state == FILE_STATE_UPLOADING:
            return file
        await self.files.cancel(file_key(file.file.file_id), file.upload_id)
        for each in ("", "320", *filter(None, [rendition])):
            await self.files.put(file_key(file.file.file_id, each), b"x")
        file.state, file.rendition = state, rendition  # type: ignore[assignment]
        stored = await self.chats.files.complete(file, self.now_ms)
        assert stored is not None
        return stored

    async def is_there(self, file: StoredFile) -> bool:
        """Whether the file can be read; if it is forgotten, nothing is left of it."""
        row = (await self.chats.files.rows([file.file.file_id])).get(file.file.file_id)
        keys = [stored.key for stored in await self.files.keys(file_key(file.file.file_id))]
        if row is None:
            assert not keys
            return False
        assert file.state == FILE_STATE_UPLOADING or file_key(file.file.file_id, "320") in keys
        return not row.condemned_ms


class Stepping:
    """A store with `World.before` before each operation, and some attributes of its own."""

    def __init__(self, world: World, store: object, **own: object) -> None:
        self._world, self._store = world, store
        self.__dict__.update(own)

    def __getattr__(self, name: str) -> Any:
        async def operation(*arguments: Any, **named: Any) -> Any:
            await self._world.before()
            return await getattr(self._store, name)(*arguments, **named)

        return operation


@pytest.fixture
def world(chats: SqliteChats, accounts: AccountStore, files: FolderFiles, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(chats, accounts, files, monkeypatch)


@pytest.fixture(params=sorted(ENGINES))
def open_any_chats(request: pytest.FixtureRequest) -> OpenChats:
    return ENGINES[request.param](request)


@pytest.fixture
async def any_world(
    open_any_chats: OpenChats, accounts: AccountStore, files: FolderFiles, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[World]:
    """A world on each store of chats, with a file in a message, since nothing is deleted without files."""
    async with open_any_chats() as chats:
        world = World(chats, accounts, files, monkeypatch)
        await world.record(message_with(await world.add()))
        yield world


def message_with(file: StoredFile) -> Event:
    event = new_message()
    event.message.files.append(file.file)
    return event


async def test_an_unused_file_is_condemned_after_a_day_and_forgotten_when_history_is_complete(world: World) -> None:
    unused, used = await world.add(), await world.add()
    await world.record(message_with(used))
    assert await world.sweep() == Swept()
    world.ahead_ms += UNUSED_MS + 1
    young = await world.add()
    assert await world.sweep() == Swept(condemned=1)
    assert [await world.is_there(file) for file in (unused, used, young)] == [False, True, True]
    world.ahead_ms += GRACE_MS - 1_000
    await world.record()
    assert await world.sweep() == Swept()
    world.ahead_ms += 2_000 + module.UNUSED_MS // 2
    assert await world.sweep() == Swept()  # the log is not recorded that far
    await world.record()
    assert await world.sweep() == Swept(forgotten=1)
    assert [await world.is_there(file) for file in (unused, used, young)] == [False, True, True]
    assert await world.sweep() == Swept()


async def test_a_file_is_removed_after_the_deletion_of_its_last_message(world: World) -> None:
    file, event = await world.add(), Conversation(members=(ALICE, BOB))
    sent = message_with(file)
    world.ahead_ms += 2 * DAY_MS
    await world.record(sent)
    assert await world.sweep() == Swept()
    await world.record(event.deletion(sent.event_id))
    assert await world.sweep() == Swept(condemned=1)
    world.ahead_ms += 2 * GRACE_MS
    await world.record()
    assert await world.sweep() == Swept(forgotten=1)


@pytest.mark.parametrize("state", [FILE_STATE_UPLOADING, FILE_STATE_BLOCKED])
async def test_an_upload_that_does_not_become_complete_ends_after_a_week(world: World, state: int) -> None:
    file = await world.add(state)
    world.ahead_ms += UPLOAD_MS - HOUR_MS
    await world.record()
    assert await world.sweep() == Swept()
    world.ahead_ms += 2 * HOUR_MS
    assert await world.sweep() == Swept(condemned=1)
    world.ahead_ms += 2 * GRACE_MS
    await world.record()
    assert await world.sweep() == Swept(forgotten=1)
    assert await world.files.uploads(world.now_ms) == []
    assert not await world.is_there(file)


async def test_a_used_file_that_a_killed_sweep_has_condemned_is_revived(world: World) -> None:
    file = await world.add()
    await world.record(message_with(file))
    rows = await world.chats.files.rows([file.file.file_id])
    await world.chats.files.condemn(rows.values(), world.now_ms)
    world.ahead_ms += 2 * GRACE_MS
    await world.record()
    assert await world.sweep() == Swept(revived=1)
    assert await world.is_there(file)


async def test_bytes_and_uploads_without_a_file_are_deleted_after_a_day(world: World) -> None:
    uploading, picture = await world.add(FILE_STATE_UPLOADING), await world.add(rendition=PICTURE)
    await world.record(message_with(picture))
    left = file_key(next(new_ids), "800")
    for key in (left, "avatars/1"):
        await world.files.put(key, b"x")
    await world.files.begin(left)
    assert await world.sweep() == Swept()
    world.ahead_ms += LEFT_MS + 60_000
    assert await world.sweep() == Swept(bytes=2, uploads=1)
    file_id = picture.file.file_id
    kept = {file_key(file_id, "320"), file_key(file_id, PICTURE), "avatars/1"}
    assert {stored.key for stored in await world.files.keys()} == kept | {OWNER_KEY}
    assert [upload.upload_id for upload in await world.files.uploads(MAX_ID)] == [uploading.upload_id]


async def test_the_bytes_of_a_recorded_message_are_kept_although_a_restore_has_lost_the_row_of_the_file(
    world: World,
) -> None:
    await world.add()
    lost = StoredFile(file=FileInfo(file_id=next(new_ids), name="a", size=1))
    await world.files.put(file_key(lost.file.file_id), b"x")
    await world.record(message_with(lost))
    world.ahead_ms += LEFT_MS + 60_000
    assert (await world.sweep()).bytes == 0


async def test_left_uploads_are_found_behind_any_number_of_others(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_LISTED", 1)
    uploading = [await world.add(FILE_STATE_UPLOADING) for _ in range(3)]
    for key in (*map(file_key, range(1, 4)), *avatar_keys(new_avatar(str(ALICE))), "others/1"):
        await world.files.begin(key)
    world.ahead_ms += LEFT_MS + 60_000
    assert await world.sweep() == Swept(uploads=5)
    left = {upload.key for upload in await world.files.uploads(MAX_ID)}
    assert left == {file_key(file.file.file_id) for file in uploading} | {"others/1"}


async def test_a_store_of_another_platform_is_not_swept(world: World) -> None:
    await world.files.put(OWNER_KEY, b"Cassandra's keyspace rookery")
    await world.files.put(file_key(1), b"x")
    await world.add()
    world.ahead_ms += 10 * DAY_MS
    with pytest.raises(Unavailable, match="belongs to a platform on Cassandra's keyspace rookery"):
        await world.sweep()
    assert await world.files.size(file_key(1)) == 1


async def test_no_bytes_are_deleted_while_the_file_table_is_empty(world: World) -> None:
    await world.files.put(file_key(1), b"x")
    world.ahead_ms += 10 * DAY_MS
    assert await world.sweep() == Swept()


@pytest.mark.parametrize("is_empty", [True, False])
async def test_uploads_are_swept_although_keys_can_not_be_listed(
    world: World, monkeypatch: pytest.MonkeyPatch, *, is_empty: bool
) -> None:
    """Without a file, only uploads of avatars: the file table may belong to another database."""
    if not is_empty:
        await world.add()
    failures: list[str] = []

    async def refuse(*_: object, **__: object) -> None:
        raise Unavailable("403 AccessDenied")

    for key in (file_key(1), avatar_keys(new_avatar("1"))[0]):
        await world.files.begin(key)
    world.ahead_ms += LEFT_MS + 60_000
    monkeypatch.setattr(world.files, "keys", refuse)
    swept = await world.sweep(failed=lambda step, _: failures.append(step))
    assert (swept.uploads, failures) == (1 if is_empty else 2, ["keys"])
    with pytest.raises(Unavailable, match="403"):
        await world.sweep()


async def test_all_shares_together_sweep_everything(world: World) -> None:
    files = [await world.add() for _ in range(30)]
    await world.files.put(file_key(next(new_ids)), b"x")
    world.ahead_ms += UNUSED_MS + 60_000
    swept = [await world.sweep(share) for share in range(SHARES)]
    assert sum(each.condemned for each in swept) == len(files)
    assert sum(each.bytes for each in swept) == 1
    assert max(each.condemned for each in swept) < len(files)


async def test_a_sweep_that_is_killed_anywhere_loses_no_file_of_a_message_and_is_completed_by_the_next(
    world: World,
) -> None:
    step, is_killed = 0, True
    while is_killed:
        used, unused = await world.add(), await world.add()
        await world.record(message_with(used))
        for pause_ms in (UNUSED_MS + 1, 2 * GRACE_MS):
            world.ahead_ms += pause_ms
            await world.record()
            is_killed = await world.kill_a_sweep(step)
            await world.sweep(share=0)
        for _ in range(2):
            world.ahead_ms += LEFT_MS + GRACE_MS
            await world.record()
            await world.sweep()
        assert [await world.is_there(file) for file in (used, unused)] == [True, False]
        step += 1
    assert step > 5


class Avatars:
    """A user and a group, with new avatars that they have, and others that they don't have."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._user_id = next(users)
        self._group = Company()

    async def set_new(self) -> list[str]:
        """Give the user and the group new avatars, and return these."""
        tokens = await self.upload()
        await self._world.accounts.add_user(User(self._user_id, f"u{self._user_id}", "", "", 1, 1), "hash")
        [user] = await self._world.accounts.users([self._user_id])
        await self._world.accounts.update_profile(
            self._user_id, display_name="", about="", version=user.version, avatar=tokens[0]
        )
        if self._group.version:
            event = self._group.control(settings=GroupSettings(avatar=tokens[1]))
        else:
            event = self._group.creation(avatar=tokens[1])
        await self._world.record(event)
        return tokens

    async def upload(self) -> list[str]:
        """Upload an avatar for the user, and one for the group, and return these."""
        tokens = [new_avatar(str(self._user_id)), new_avatar(self._group.chat_id)]
        for key in [key for token in tokens for key in avatar_keys(token)]:
            await self._world.files.put(key, b"square")
        return tokens

    async def are_there(self, tokens: list[str]) -> bool:
        """Whether all of these are whole; if not, nothing is left of them."""
        stored = [await self._world.files.size(key) for token in tokens for key in avatar_keys(token)]
        assert all(stored) or not any(stored)
        return all(stored)


async def test_an_avatar_that_nobody_has_is_deleted_once_nobody_can_set_it(any_world: World) -> None:
    avatars = Avatars(any_world)
    former, unset, present = await avatars.set_new(), await avatars.upload(), await avatars.set_new()
    unknown = new_avatar("g-1")
    await any_world.files.put(avatar_keys(unknown)[0], b"square")
    for ahead_ms, is_recorded in ((AVATAR_MS - HOUR_MS, True), (2 * HOUR_MS, False)):
        any_world.ahead_ms += ahead_ms
        if is_recorded:
            await any_world.record()
        assert (await any_world.sweep()).avatars == 0
    await any_world.record()
    assert (await any_world.sweep(share=1)).avatars == 0
    assert (await any_world.sweep(share=0)).avatars == 9
    assert [await avatars.are_there(each) for each in (former, unset, present)] == [False, False, True]
    assert (await any_world.sweep()).avatars == 0


async def test_a_deleted_account_leaves_no_avatar(world: World) -> None:
    await world.add(FILE_STATE_UPLOADING)
    avatars = Avatars(world)
    user_avatar, _ = await avatars.set_new()
    await world.accounts.delete_user(int(user_avatar.partition(".")[0]))
    world.ahead_ms += AVATAR_MS + HOUR_MS
    await world.record()
    assert (await world.sweep()).avatars == 2
    assert not await avatars.are_there([user_avatar])


async def test_avatars_are_swept_on_a_platform_without_files(world: World) -> None:
    avatars, deleted = Avatars(world), Avatars(world)
    former, present = await avatars.set_new(), await avatars.set_new()
    left, _ = await deleted.set_new()
    await world.accounts.delete_user(int(left.partition(".")[0]))
    world.ahead_ms += AVATAR_MS + HOUR_MS
    await world.record()
    assert await world.sweep() == Swept(avatars=6)
    assert [await avatars.are_there(each) for each in (former, present, [left])] == [False, True, False]


async def test_an_empty_database_deletes_no_avatar(world: World) -> None:
    """Its platform may have been attached to the wrong database, or is about to be restored."""
    unknown = await Avatars(world).upload()
    world.ahead_ms += AVATAR_MS + HOUR_MS
    await world.record()
    await world.accounts.add_user(User(next(users), "first", "", "", 1, 1), "hash")
    assert await world.sweep() == Swept()
    assert await Avatars(world).are_there(unknown)


async def test_avatars_of_several_listings_are_swept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.add(FILE_STATE_UPLOADING)
    monkeypatch.setattr(module, "MAX_LISTED", 3)
    list_keys = world.files.keys
    monkeypatch.setattr(world.files, "keys", lambda prefix="", after="": list_keys(prefix, after, 3))
    unset = [await Avatars(world).upload() for _ in range(3)]
    present = await Avatars(world).set_new()
    world.ahead_ms += AVATAR_MS + HOUR_MS
    await world.record()
    assert (await world.sweep()).avatars == 12
    assert [await Avatars(world).are_there(each) for each in (*unset, present)] == [False, False, False, True]


async def test_a_sweep_that_is_killed_anywhere_deletes_no_avatar_that_somebody_has(any_world: World) -> None:
    step, avatars, is_killed = 0, Avatars(any_world), True
    while is_killed:
        unset, present = await avatars.upload(), await avatars.set_new()
        any_world.ahead_ms += AVATAR_MS + HOUR_MS
        await any_world.record()
        is_killed = await any_world.kill_a_sweep(step)
        assert await avatars.are_there(present)
        await any_world.sweep()
        assert [await avatars.are_there(each) for each in (unset, present)] == [False, True]
        step += 1
    assert step > 5


@pytest.mark.parametrize("delay", [0, 1, 3])
async def test_a_message_that_got_the_file_before_a_sweep_condemned_it_keeps_it(world: World, delay: int) -> None:
    """The look-up of the message comes before each step of the sweep, and its record some steps later."""
    results = [await sent_while_swept(world, step, step + delay) for step in range(8)]
    assert {*results} == {True, False}


async def sent_while_swept(world: World, look_up: int, record: int) -> bool:
    """Sweep a file twice while a message of it is sent; return whether the gateway finds the file."""
    file = await world.add()
    event, steps, found = message_with(file), 0, False

    async def send() -> None:
        nonlocal steps, found
        if steps == look_up:
            found = await world.is_there(file)
        if steps == record and found:
            await world.chats.record(logged(event), {})
        steps += 1

    for pause_ms in (UNUSED_MS + 60_000, GRACE_MS + 60_000):
        world.ahead_ms += pause_ms
        if not found or steps > record:  # else the watermark stays below the message
            await world.record()
        world.before = send
        await world.sweep()
        world.before = trio.lowlevel.checkpoint
        if found and steps > record:
            assert await world.is_there(file)
    if found and steps <= record:
        await world.record(event)
    world.ahead_ms += GRACE_MS + 60_000
    await world.record()
    await world.sweep()
    assert await world.is_there(file) == found
    return found


async def test_one_process_sweeps_a_share_every_hour_and_repeats_one_whose_files_were_not_swept(
    autojump_clock: trio.testing.MockClock,
) -> None:
    shares: list[int] = []

    async def run(share: int, _: Failed) -> Swept:
        shares.append(share)
        if len(shares) == 2:
            raise Unavailable("away")
        return Swept()

    sweep: Any = SimpleNamespace(run=run)
    with trio.move_on_after(FIRST_SECONDS + 3.5 * HOUR_SECONDS):
        await sweep_hourly(sweep, lambda: trio.current_time() > 1_000)
    first = shares[0]
    assert shares == [first, (first + 1) % SHARES, (first + 1) % SHARES]


async def test_the_next_share_follows_although_uploads_can_not_be_listed(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with a key of the bucket that may not list them."""

    def answer(value: object) -> Callable[..., Awaitable[object]]:
        async def operation(*_: object, **__: object) -> object:
            await trio.lowlevel.checkpoint()
            if isinstance(value, Exception):
                raise value
            return value

        return operation

    chats: Any = SimpleNamespace(watermarks=answer({}), files=SimpleNamespace(page=answer(([], None))))
    files: Any = SimpleNamespace(keys=answer([]), uploads=answer(Unavailable("403 AccessDenied")))
    monkeypatch.setattr(module, "claim", answer(None))
    sweep = Sweep(chats, cast(AccountStore, None), files, PARTITIONS, PLATFORM)
    with capture_logs() as logs, trio.move_on_after(FIRST_SECONDS + (SHARES - 0.5) * HOUR_SECONDS):
        await sweep_hourly(sweep, lambda: True)
    assert sorted(line["share"] for line in logs if line["event"] == "files_swept") == [*range(SHARES)]
    failures = [(line["step"], line["reason"]) for line in logs if line["event"] == "sweep_failed"]
    assert failures == [("uploads", "Unavailable: 403 AccessDenied")] * SHARES
