"""The file table with many files, each in one message of a direct chat, and the sweep that reads all of them:

    python -m benchmarks.file_table [--files 1000000] [--cassandra 0] [--keys 4] [--folder FOLDER]

1,000 users have as many files each, and the store of files is a folder with 4 keys for each, as for pictures: empty,
but of the usual names, so each takes some 4 KiB of the disk. Times are the median and the slowest of single calls from
this process, in milliseconds. `stall` is the longest time for which the sweep has kept the event loop from another
task.
"""

import argparse
import math
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import partial
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TypeVar

import trio

from benchmarks.stores import on_cassandra
from messaging.archive.store.protocol import ChatStore, Logged
from messaging.archive.store.sqlite.store import open_sqlite_chats
from messaging.archive.sweep import SHARES, Sweep
from rookery.v1.archive_pb2 import FILE_CLASS_MEDIA, FILE_STATE_COMPLETE, FILE_STATE_UPLOADING, StoredFile
from rookery.v1.files_pb2 import FileInfo
from rookery.v1.session_pb2 import Event, Message
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.contract.chats import direct_chat_id
from shared.contract.ids import MAX_ID, first_id_at, time_of, wall_clock_ms
from shared.files.folder import open_folder_files
from shared.files.keys import THUMBNAILS, file_key
from shared.settings import CassandraSettings
from tools.engines.cassandra import Cassandra
from tools.engines.engine import running
from tools.engines.install import exit_if_missing

Value = TypeVar("Value")

USERS = 1_000

AT_ONCE = 50
"""Calls while the table is filled."""

REPEATS = 100
"""Calls that are measured of each operation."""

RENDITIONS = ("", *map(str, THUMBNAILS))
"""A picture has a key for its bytes, and one for each thumbnail."""

EMPTY_PART = "00001-0-00000000"
"""The name of the file with the bytes of a key: its number, its size and its checksum."""

AGO_MS = 2 * 24 * 3_600_000
"""The age of the files: old enough for the sweep to look for their uses."""

ids = count(first_id_at(wall_clock_ms() - AGO_MS), 1 << 12)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=1_000_000, help="on SQLite (%(default)s)")
    parser.add_argument("--cassandra", type=int, default=0, help="files on Cassandra; 0 for no Cassandra")
    parser.add_argument(
        "--keys", type=int, choices=range(len(RENDITIONS) + 1), default=4, help="of a file (%(default)s)"
    )
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    options = parser.parse_args()
    with TemporaryDirectory(dir=options.folder) as directory:
        folder, keys = Path(directory), options.keys
        if options.files:
            trio.run(measure, "SQLite", open_sqlite_chats(folder / "chats.db"), folder, options.files, keys)
            print(f"chats.db has {sum(file.stat().st_size for file in folder.glob('chats.db*')) >> 20} MiB")
        if options.cassandra:
            with exit_if_missing():
                Cassandra.install()
            with running(Cassandra(folder / "cassandra")) as server:
                settings = CassandraSettings(hosts=(server.host,), port=server.port, timeout_seconds=30)
                trio.run(measure, "Cassandra", on_cassandra(settings), folder, options.cassandra, keys)


async def measure(
    engine: str, opened: AbstractAsyncContextManager[ChatStore], folder: Path, size: int, keys: int
) -> None:
    async with (
        opened as chats,
        open_sqlite_accounts(folder / "accounts.db") as accounts,
        open_folder_files(folder / f"files of {engine}") as files,
    ):
        print(f"{engine}, {size:,} files, {size * keys:,} keys")
        began = time.perf_counter()
        stored = await add_files(chats, size)
        print(f"  reserved and completed: {size / (time.perf_counter() - began):,.0f}/s, {AT_ONCE} at once")
        began = time.perf_counter()
        events = await send(chats, stored)
        print(f"  recorded in messages: {size / (time.perf_counter() - began):,.0f}/s")
        await measure_calls(chats, stored, events)
        add_keys(folder / f"files of {engine}/stored", stored, RENDITIONS[:keys])
        await chats.raise_watermarks({0: wall_clock_ms()})
        sweep = Sweep(chats, accounts, files, partitions=1, platform=engine)
        for name, share in ((f"sweep of a share of {SHARES}", 0), ("sweep of everything", None)):
            began, cpu = time.perf_counter(), time.process_time()
            stall, swept = await longest_stall(partial(sweep.run, share))
            assert not swept.bytes, swept
            seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
            print(f"  {name}: {seconds:.1f} s, {cpu:.1f} s of CPU here, stall {stall * 1000:.0f} ms")


def new_file(owner_id: int, state: int) -> StoredFile:
    info = FileInfo(file_id=next(ids), name="holiday picture.jpg", media_type="image/jpeg", size=400_000)
    info.width, info.height, info.thumbhash, info.thumbnails[:] = 3_000, 2_000, bytes(25), (320, 800, 1600)
    file = StoredFile(file=info, owner_id=owner_id, sha256=bytes(32), reserved_at_ms=time_of(info.file_id))
    file.state = state  # type: ignore[assignment]
    return file


async def reserve(chats: ChatStore, file: StoredFile) -> None:
    await chats.files.reserve(str(file.file.file_id), file, quota_bytes=MAX_ID, max_uploads=1_000)


async def add_files(chats: ChatStore, size: int) -> list[StoredFile]:
    stored = [new_file(1 + number % USERS, FILE_STATE_UPLOADING) for number in range(size)]
    waiting = iter(stored)

    async def add() -> None:
        for file in waiting:
            await reserve(chats, file)
            file.state = FILE_STATE_COMPLETE
            await chats.files.complete(file, file.reserved_at_ms)

    async with trio.open_nursery() as nursery:
        for _ in range(AT_ONCE):
            nursery.start_soon(add)
    return stored


def add_keys(root: Path, stored: list[StoredFile], renditions: Sequence[str]) -> None:
    """Create the keys of the files in a folder of files, as old as the files."""
    ago = time.time() - AGO_MS / 1000
    for file in stored:
        for rendition in renditions:
            key = root / f"{file_key(file.file.file_id, rendition)}.file"
            key.mkdir(parents=True)
            (key / EMPTY_PART).touch()
            os.utime(key, (ago, ago))


async def send(chats: ChatStore, stored: list[StoredFile]) -> list[Event]:
    events = [message_with(file) for file in stored]
    for start in range(0, len(events), 500):
        await chats.record([Logged(event, time_of(event.event_id)) for event in events[start : start + 500]], {})
    return events


def message_with(file: StoredFile) -> Event:
    event_id, owner_id = next(ids), file.owner_id
    message = Message(message_id=event_id, chat_id=direct_chat_id(owner_id, 5_000), sender_id=owner_id)
    message.client_message_id = str(event_id)
    message.files.append(file.file)
    return Event(event_id=event_id, message=message)


async def measure_calls(chats: ChatStore, stored: list[StoredFile], events: list[Event]) -> None:
    step = max(len(stored) // REPEATS, 1)
    new = [new_file(1 + number, FILE_STATE_UPLOADING) for number in range(REPEATS)]
    messages = [(event.message.chat_id, event.event_id) for event in events[::step]]
    some = [file.file.file_id for file in stored[::step]]

    table, listed = chats.files, chats.messages_with_files
    await timed("reserve", [partial(reserve, chats, file) for file in new])
    await timed("complete", [partial(table.complete, file, 1) for file in done(new)])
    await timed("read a row", [partial(table.rows, [at]) for at in some])
    await timed("files of a message", [partial(table.held_by, [at]) for at in messages])
    await timed("files of 100 messages", [partial(table.held_by, messages)] * 20)
    pages = [partial(listed, chat_id, FILE_CLASS_MEDIA, before_id, 50) for chat_id, before_id in messages]
    await timed("50 messages with files", pages)


def done(files: list[StoredFile]) -> list[StoredFile]:
    for file in files:
        file.state = FILE_STATE_COMPLETE
    return files


async def timed(name: str, calls: Sequence[Callable[[], Awaitable[object]]]) -> None:
    """Print how long the calls take, one after the other."""
    seconds = []
    for call in calls:
        began = time.perf_counter()
        await call()
        seconds.append(time.perf_counter() - began)
    print(f"  {name}: {median(seconds) * 1000:.2f} ms, slowest {max(seconds) * 1000:.1f}")


async def longest_stall(work: Callable[[], Awaitable[Value]]) -> tuple[float, Value]:
    """Do the work; return the longest time, in seconds, for which another task did not run, and the result."""
    longest = -math.inf

    async def tick() -> None:
        nonlocal longest
        while True:
            began = time.perf_counter()
            await trio.sleep(0.001)
            longest = max(longest, time.perf_counter() - began)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        result = await work()
        nursery.cancel_scope.cancel()
    return longest, result


if __name__ == "__main__":
    main()
