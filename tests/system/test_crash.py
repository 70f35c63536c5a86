"""`kill -9` in the middle of a burst: no accepted message is lost or duplicated."""

import math
from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import pytest
import trio

from rookery.client import HistoryMessage, Unreachable
from rookery.verify.checker import check_records
from rookery.verify.records import Copy
from tests.system.burst import Sender, records_of
from tests.system.sessions import TRANSPORTS, SessionOver, connector, open_session
from tools.launch.people import read_history, sign_up
from tools.launch.process import Rookery

MESSAGES = 2_000
PAIRS = 4
"""Pairs of users, one on WebSocket, one on gRPC."""


class Burst:
    """All send at once; the process is killed when these numbers of messages are accepted."""

    def __init__(self, rookery: Rookery, senders: Sequence[Sender], moments: Sequence[int]) -> None:
        self._rookery = rookery
        self._senders = senders
        self._moments = iter((*moments, math.inf))
        self._accepted = 0
        self._next = next(self._moments)

    async def run_until_killed(self) -> None:
        async with trio.open_nursery() as nursery:
            for sender in self._senders:
                nursery.start_soon(self._run_one_until_killed, sender)
        await trio.to_thread.run_sync(self._rookery.wait)
        self._next = next(self._moments)

    async def run_to_end(self) -> None:
        async with trio.open_nursery() as nursery:
            for sender in self._senders:
                nursery.start_soon(sender.run, self._count)

    async def _run_one_until_killed(self, sender: Sender) -> None:
        with suppress(Unreachable, SessionOver):
            await sender.run(self._count)

    def _count(self) -> None:
        self._accepted += 1
        if self._accepted >= self._next:
            self._rookery.process.kill()


@pytest.mark.parametrize(
    "moments",
    [pytest.param((1,), marks=pytest.mark.slow), (300, 301, 1_200), pytest.param((1_950,), marks=pytest.mark.slow)],
)
async def test_what_was_accepted_before_a_kill_is_kept_once_and_in_order(
    own_rookery: Rookery, moments: tuple[int, ...]
) -> None:
    senders = await make_senders(own_rookery)
    burst = Burst(own_rookery, senders, moments)
    for _ in moments:
        await burst.run_until_killed()
        await trio.to_thread.run_sync(own_rookery.start)
    await burst.run_to_end()

    histories: dict[tuple[int, str], list[Copy]] = {}
    for sender in senders:
        await check_answer_to_retry(own_rookery, sender)
        last = {list(each.sent)[-1] for each in senders if each.chat_id == sender.chat_id}
        history = await read_history(own_rookery.url, sender.person, sender.chat_id, until=partial(has_texts, last))
        histories[sender.person.user_id, sender.chat_id] = [Copy.of(item.message) for item in history]
    records = records_of(senders, histories)
    assert sum(sent.is_accepted for sent in records.sent.values()) == MESSAGES
    assert check_records(records) == []


def has_texts(texts: set[str], messages: Sequence[HistoryMessage]) -> bool:
    return texts <= {item.message.text.body for item in messages}


async def check_answer_to_retry(rookery: Rookery, sender: Sender) -> None:
    """Retry the first message, which was accepted before the last kill."""
    text, sent = next(iter(sender.sent.items()))
    async with open_session(connector(rookery, "websocket"), sender.person) as session:
        again = await session.send_text(sender.chat_id, text, client_message_id=text)
    assert again.message_id == sent.message_id


async def make_senders(rookery: Rookery) -> list[Sender]:
    """Pairs of users, adjacent in the list, each with a position."""
    senders: list[Sender] = []
    for number in range(PAIRS):
        people = [await sign_up(rookery.url, f"{transport}-{number}") for transport in TRANSPORTS]
        for person, other, transport in zip(people, reversed(people), TRANSPORTS, strict=True):
            senders.append(Sender(person, other, connector(rookery, transport), MESSAGES // PAIRS // 2))
            await senders[-1].arrive()
    return senders
