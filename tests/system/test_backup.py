"""A backup under load, restored elsewhere, has every message that was accepted before it began."""

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import trio

from rookery.v1 import session_pb2 as pb
from rookery.v1.archive_pb2 import HistoryMessage
from tests.system.commands import command
from tests.system.sessions import TRANSPORTS, Connect, connector, open_session, text_to
from tests.waiting import until
from tools.launch.people import PATIENCE, Person, read_history, sign_in, sign_up
from tools.launch.process import Rookery, stop_all

ENOUGH = 200
"""Accepted messages when the backup begins."""


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Rookery]:
    """A platform on another data folder, not started."""
    process = Rookery(tmp_path / "elsewhere")
    process._live = {}  # live configuration is in the backup
    try:
        yield process
    finally:
        stop_all([process])


@pytest.mark.slow
async def test_a_backup_under_load_has_all_that_was_accepted_before_it_began(
    own_rookery: Rookery, elsewhere: Rookery, tmp_path: Path
) -> None:
    ada, grace = [await sign_up(own_rookery.url, name) for name in ("ada", "grace")]
    chat_id = ada.chat_with(grace)
    accepted: list[int] = []
    async with trio.open_nursery() as nursery:
        for person, transport in product((ada, grace), TRANSPORTS):
            nursery.start_soon(send_for_ever, connector(own_rookery, transport), person, chat_id, accepted)
        await until(lambda: len(accepted) >= ENOUGH)
        before = list(accepted)
        await command(own_rookery, "backup", str(tmp_path / "backup"))
        assert len(accepted) > len(before), "it was not under load"
        nursery.cancel_scope.cancel()
    assert own_rookery.is_running

    await restore(elsewhere, tmp_path / "backup")
    history = await read_history(elsewhere.url, ada, chat_id, until=partial(has_all, set(before)))
    assert len(ids_of(history)) == len(history)


async def send_for_ever(connect: Connect, person: Person, chat_id: str, accepted: list[int]) -> None:
    async with open_session(connect, person) as session:
        while True:
            accepted.append((await session.send_text(chat_id, f"number {len(accepted)}")).event_id)


async def test_users_continue_after_a_restore(own_rookery: Rookery, elsewhere: Rookery, tmp_path: Path) -> None:
    ada, grace = [await sign_up(own_rookery.url, name) for name in ("ada", "grace")]
    before = await exchange(own_rookery, ada, grace, "before")
    await command(own_rookery, "backup", str(tmp_path / "backup"))
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
    connects = [connector(rookery, transport) for transport in TRANSPORTS]
    async with open_session(connects[0], sender) as one, open_session(connects[1], reader, position=position) as other:
        await one.send_frame(send=text_to(sender.chat_with(reader), text, text))
        with trio.fail_after(PATIENCE):
            while True:
                frame = await other.receive()
                if frame.event.message.text.body == text:
                    return frame.event.position


async def restore(elsewhere: Rookery, folder: Path) -> None:
    await command(elsewhere, "restore", str(folder))
    await trio.to_thread.run_sync(elsewhere.start)


def has_all(ids: set[int], items: Sequence[HistoryMessage]) -> bool:
    return ids <= ids_of(items)


def ids_of(items: Sequence[HistoryMessage]) -> set[int]:
    return {item.message.message_id for item in items}
