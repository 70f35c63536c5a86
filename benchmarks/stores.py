"""The chat stores with channels of 1,000 and of many members, on SQLite and Cassandra:

    python -m benchmarks.stores [--members 100000] [--embedded]

Control changes add 999 members each. Each channel has 3,000 messages, and a tenth of its members has read and muted it.
The table has the fastest and the median of single calls from this process, in milliseconds. Pages begin at any member.
"""

import argparse
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from itertools import count, islice
from pathlib import Path
from random import Random
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import trio

from messaging.archive.store.cassandra.store import open_cassandra_chats
from messaging.archive.store.protocol import ChatStore, Logged
from messaging.archive.store.sqlite.store import open_sqlite_chats
from rookery.serve.schema import MIGRATIONS
from rookery.v1.groups_pb2 import ROLE_ADMIN, ROLE_MEMBER, ROLE_OWNER, Control, GroupSettings, Member, Role, Span
from rookery.v1.session_pb2 import Change, Event, Marked, Message, Muted, Text
from shared.contract.groups import DEFAULT_PERMISSIONS, MAX_CHANNEL_MEMBERS, MAX_LOOKED_UP, MAX_MEMBERS
from shared.contract.ids import MAX_ID, first_id_at, time_of, wall_clock_ms
from shared.drivers.cassandra import open_cassandra
from shared.drivers.cassandra.migrations import migrate
from shared.settings import CassandraSettings
from tools.engines.cassandra import Cassandra
from tools.engines.engine import running
from tools.engines.install import exit_if_missing

MESSAGES = 3_000

BATCH = 500
"""Messages or changes that are recorded at once."""

REPEATS = 30
"""Calls that are measured of each operation."""

STEP = 1 << 22
"""A millisecond between ids."""

Call = Callable[[], Awaitable[object]]

Times = dict[str, str]
"""By operation: the fastest call and the median, in milliseconds."""

ids = count(first_id_at(wall_clock_ms() - 1_000_000), STEP)


class Channel:
    """A channel, and the events that fill it."""

    def __init__(self, number: int, size: int) -> None:
        self.chat_id = f"g-{number}"
        self.members = [*islice(ids, size)]
        self.newest_id = 0
        self._version = self._count = 0

    def additions(self) -> Iterator[Event]:
        """The creation, and the control changes that add the other members."""
        settings = GroupSettings(name="All", permissions=DEFAULT_PERMISSIONS, is_channel=True)
        yield self._control(self.members[:1], ROLE_OWNER, settings)
        for start in range(1, len(self.members), MAX_MEMBERS - 1):
            yield self._control(self.members[start : start + MAX_MEMBERS - 1], ROLE_MEMBER)

    def promotion(self) -> Event:
        """The next control change: a member becomes an admin."""
        return self._control([self.members[self._version]], ROLE_ADMIN)

    def message(self) -> Event:
        return self._message(text=Text(body="Meeting at noon in the large hall"))

    def own_changes(self) -> Iterator[Event]:
        """The marks and the private changes of a tenth of the members."""
        bodies: Sequence[dict[str, Any]] = (
            {"marked": Marked(read_up_to=self.newest_id)},
            {"muted": Muted(until_ms=MAX_ID)},
        )
        for user_id in self.members[::10]:
            for body in bodies:
                yield Event(event_id=next(ids), change=Change(chat_id=self.chat_id, actor_id=user_id, **body))

    def _control(self, user_ids: Sequence[int], role: Role, settings: GroupSettings | None = None) -> Event:
        self._version += 1
        self._count += len(user_ids) if role != ROLE_ADMIN else 0
        changed = [
            Member(user_id=user_id, role=role, version=self._version, spans=[Span(first=self.members[-1])])
            for user_id in user_ids
        ]
        control = Control(version=self._version, settings=settings, members=changed, member_count=self._count)
        return self._message(control=control)

    def _message(self, **content: Any) -> Event:
        event_id = self.newest_id = next(ids)
        message = Message(message_id=event_id, chat_id=self.chat_id, sender_id=self.members[0], **content)
        message.client_message_id = str(event_id)
        return Event(event_id=event_id, message=message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=MAX_CHANNEL_MEMBERS, help="of the large channel (%(default)s)")
    parser.add_argument("--embedded", action="store_true", help="SQLite only")
    options = parser.parse_args()
    columns: dict[str, Times] = {}
    with TemporaryDirectory() as directory:
        folder = Path(directory)
        columns |= trio.run(measure, "SQLite", open_sqlite_chats(folder / "chats.db"), options.members)
        if not options.embedded:
            with exit_if_missing():
                Cassandra.install()
            with running(Cassandra(folder / "cassandra")) as server:
                settings = CassandraSettings(hosts=(server.host,), port=server.port, timeout_seconds=30)
                columns |= trio.run(measure, "Cassandra", on_cassandra(settings), options.members)
    print("".join(f"| {title} " for title in ("", *columns)) + "|")
    print("| --- " * (len(columns) + 1) + "|")
    for name in next(iter(columns.values())):
        print(f"| {name} " + "".join(f"| {times[name]} " for times in columns.values()) + "|")


@asynccontextmanager
async def on_cassandra(settings: CassandraSettings) -> AsyncIterator[ChatStore]:
    await migrate(settings, MIGRATIONS)
    async with open_cassandra(settings, MIGRATIONS) as session, open_cassandra_chats(session) as chats:
        yield chats


async def measure(engine: str, opened: AbstractAsyncContextManager[ChatStore], members: int) -> dict[str, Times]:
    """Measure channels of 1,000 and of this many members."""
    async with opened as chats:
        await measure_channel(chats, Channel(1, MAX_MEMBERS))  # the first calls are slower
        return {
            f"{engine}, {size:,} members": await measure_channel(chats, Channel(number, size))
            for number, size in enumerate((MAX_MEMBERS, members), start=2)
        }


async def measure_channel(chats: ChatStore, channel: Channel) -> Times:
    """Fill the channel, and measure each operation."""
    times: Times = {}
    some = Random(7)

    async def record(*events: Event) -> None:
        await chats.record([Logged(event, time_of(event.event_id)) for event in events], {})

    async def walk() -> None:
        after = 0
        while (page := await chats.list_members(channel.chat_id, after=after, limit=MAX_MEMBERS)).has_more:
            after = page.members[-1].user_id

    def member() -> int:
        return some.choice(channel.members)

    def page(limit: int) -> Call:
        return lambda: chats.list_members(channel.chat_id, after=member(), limit=limit)

    def group(users: int) -> Call:
        return lambda: chats.get_group(channel.chat_id, some.sample(channel.members, users))

    async def timed(name: str, calls: Sequence[Call]) -> None:
        """Make the calls, of which the last REPEATS count."""
        taken: list[float] = []
        for call in calls:
            start = time.perf_counter()
            await call()
            taken.append((time.perf_counter() - start) * 1e3)
        last = taken[-REPEATS:]
        times[name] = f"{min(last):.1f}, {median(last):.1f}"

    creation, *additions = channel.additions()
    await record(creation)
    await timed("a control change that adds 999 members", [partial(record, each) for each in additions])
    for _ in range(MESSAGES // BATCH):
        await record(*(channel.message() for _ in range(BATCH)))
    own = [*channel.own_changes()]
    for start in range(0, len(own), BATCH):
        await record(*own[start : start + BATCH])
    await timed("a control change of one member", [partial(record, channel.promotion()) for _ in range(REPEATS)])
    await timed("a message", [partial(record, channel.message()) for _ in range(REPEATS)])
    reads: dict[str, Call] = {
        "`list_chats`": lambda: chats.list_chats(member(), changed_since_ms=0, limit=100, after=None),
        "`get_chat`": lambda: chats.get_chat(member(), channel.chat_id),
        "`get_member`": lambda: chats.get_member(channel.chat_id, member()),
        "`get_group`, one of the users": group(1),
        f"`get_group`, {MAX_LOOKED_UP:,} of the users": group(MAX_LOOKED_UP),
        "`list_members`, a page of 100": page(100),
        f"`list_members`, a page of {MAX_MEMBERS:,}": page(MAX_MEMBERS),
    }
    for name, read in reads.items():
        await timed(name, [read] * REPEATS)
    await timed("`list_members`, all pages", [walk] * 3)
    return times


if __name__ == "__main__":
    main()
