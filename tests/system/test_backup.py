"""A backup under load, restored elsewhere, has every message that was accepted before it began."""

from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest
import trio

from rookery.v1 import session_pb2 as pb
from rookery.v1.archive_pb2 import HistoryMessage
from tests.system.burst import Sender
from tests.system.sessions import TRANSPORTS, connector, open_session, text_to
from tests.system.test_crash import make_senders
from tools.launch.people import PATIENCE, Person, read_history, sign_in, sign_up
from tools.launch.process import Rookery, stop_all

MOMENT = 500
"""Accepted messages when the backup begins, of 2,000."""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Rookery]:
    """A platform on another data folder, not started."""
    process = Rookery(tmp_path / "elsewhere")
    process._live = {}  # live configuration is in the backup
    try:
        yield process
    finally:
        stop_all([process])


class Backup:
    """A backup in the middle of a burst."""

    def __init__(self, rookery: Rookery, folder: Path, senders: list[Sender]) -> None:
        self._rookery = rookery
        self._folder = folder
        self._senders = senders
        self._accepted = 0
        self._moment = trio.Event()
        self.before: dict[tuple[int, str], int] = {}
        """Ids of messages that were accepted before it began, by sender and text."""
        self.accepted_during = 0

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._back_up)
            for sender in self._senders:
                nursery.start_soon(sender.run, self._count)

    def _count(self) -> None:
        self._accepted += 1
        if self._accepted == MOMENT:
            self._moment.set()

    async def _back_up(self) -> None:
        await self._moment.wait()
        self.before = {
            sent.key: sent.message_id for each in self._senders for sent in each.sent.values() if sent.is_accepted
        }
        began = self._accepted
        done = await trio.to_thread.run_sync(self._rookery.run, "backup", str(self._folder))
        assert done.returncode == 0, done.stderr
        self.accepted_during = self._accepted - began


async def test_a_backup_under_load_has_all_that_was_accepted_before_it_began(
    own_rookery: Rookery, elsewhere: Rookery, tmp_path: Path
) -> None:
    senders = await make_senders(own_rookery)
    backup = Backup(own_rookery, tmp_path / "backup", senders)
    await backup.run()
    assert len(backup.before) >= MOMENT
    assert backup.accepted_during > 0, "it was not under load"
    assert own_rookery.is_running

    await restore(elsewhere, tmp_path / "backup")
    for sender in senders:
        mine = {key: message_id for key, message_id in backup.before.items() if key[0] == sender.person.user_id}
        assert mine
        until = partial(has_all, set(mine.values()))
        history = await read_history(elsewhere.url, sender.person, sender.chat_id, until=until)
        assert len(ids_of(history)) == len(history)
        found = {(item.message.sender_id, item.message.text.body): item.message.message_id for item in history}
        assert mine.items() <= found.items()


async def test_people_go_on_after_a_restore(own_rookery: Rookery, elsewhere: Rookery, tmp_path: Path) -> None:
    ada, grace = [await sign_up(own_rookery.url, name) for name in ("ada", "grace")]
    before = await exchange(own_rookery, ada, grace, "before")
    done = await trio.to_thread.run_sync(own_rookery.run, "backup", str(tmp_path / "backup"))
    assert done.returncode == 0, done.stderr
    after = await exchange(own_rookery, ada, grace, "after", position=before)
    await trio.to_thread.run_sync(own_rookery.kill)

    await restore(elsewhere, tmp_path / "backup")
    await sign_in(elsewhere.url, ada.name)
    # Clients have positions from after the backup, and must receive the messages that take those places.
    last = await exchange(elsewhere, ada, grace, "again", position=after)
    assert last.offset > after.offset
    history = await read_history(elsewhere.url, ada, ada.chat_with(grace), until=lambda items: len(items) >= 2)
    assert [item.message.text.body for item in history] == ["before", "again"]
    assert [line for line in elsewhere.log_lines() if line["level"] == "error"] == []


async def exchange(
    rookery: Rookery, sender: Person, reader: Person, text: str, *, position: pb.Position | None = None
) -> pb.Position:
    """Send a message to a reader who resumes from a position; return the message's position."""
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(open_session(connector(rookery, TRANSPORTS[0]), sender))
        other = await stack.enter_async_context(
            open_session(connector(rookery, TRANSPORTS[1]), reader, position=position)
        )
        await one.say(send=text_to(sender.chat_with(reader), text, text))
        with trio.fail_after(PATIENCE):
            while True:
                frame = await other.receive()
                if frame.event.message.text.body == text:
                    return frame.event.position


async def restore(elsewhere: Rookery, folder: Path) -> None:
    done = await trio.to_thread.run_sync(elsewhere.run, "restore", str(folder))
    assert done.returncode == 0, done.stderr
    await trio.to_thread.run_sync(elsewhere.start)


def has_all(ids: set[int], items: Sequence[HistoryMessage]) -> bool:
    return ids <= ids_of(items)


def ids_of(items: Sequence[HistoryMessage]) -> set[int]:
    return {item.message.message_id for item in items}
