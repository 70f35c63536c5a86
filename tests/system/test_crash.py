"""`kill -9` in the middle of a burst of sends: nothing accepted is lost, nothing is there twice."""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest
import trio

from rookery.client import HistoryMessage, Unreachable
from tests.process import Rookery
from tests.system.burst import Claims, Copy, Sender, claims_of, copy_of, faults
from tests.system.people import read_history, sign_up
from tests.system.sessions import TRANSPORTS, SessionOver, connector, open_session

MESSAGES = 2_000
PAIRS = 4
"""One of each is at a WebSocket, the other at gRPC."""


class Burst:
    """Everyone sends at once, and the process is killed at its moments: when so many messages were accepted."""

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


@pytest.mark.parametrize("moments", [(1,), (300, 301, 1_200), (1_950,)])
async def test_what_was_accepted_before_a_kill_is_kept_once_and_in_order(
    own_rookery: Rookery, moments: tuple[int, ...]
) -> None:
    senders = await make_senders(own_rookery)
    burst = Burst(own_rookery, senders, moments)
    for _ in moments:
        await burst.run_until_killed()
        await trio.to_thread.run_sync(own_rookery.start)
    await burst.run_to_end()

    for sender in senders:
        assert faults(claims_of([partner_of(sender, senders)]), sender.heard.values()) == []
        await see_the_same_answer_to_a_retry(own_rookery, sender)
    for sender, partner in zip(senders[::2], senders[1::2], strict=True):
        claims = claims_of([sender, partner])
        assert len(claims.accepted) == MESSAGES // PAIRS
        last = {sender.texts[-1], partner.texts[-1]}
        for reader in (sender.person, partner.person):
            history = await read_history(own_rookery.url, reader, sender.chat_id, until=partial(has_texts, last))
            assert faults(claims, [copy_of(item.message) for item in history]) == []


def has_texts(texts: set[str], messages: Sequence[HistoryMessage]) -> bool:
    return texts <= {item.message.text.body for item in messages}


async def see_the_same_answer_to_a_retry(rookery: Rookery, sender: Sender) -> None:
    """Of the first message, which was accepted before the last kill."""
    text = sender.texts[0]
    async with open_session(connector(rookery, "websocket"), sender.person) as session:
        again = await session.send_text(sender.chat_id, text, client_message_id=text)
    assert again.message_id == sender.accepted[text]


async def make_senders(rookery: Rookery) -> list[Sender]:
    """Pairs, next to each other."""
    senders: list[Sender] = []
    for number in range(PAIRS):
        people = [await sign_up(rookery.url, f"{transport}-{number}") for transport in TRANSPORTS]
        for person, other, transport in zip(people, reversed(people), TRANSPORTS, strict=True):
            senders.append(Sender(person, other, connector(rookery, transport), MESSAGES // PAIRS // 2))
    return senders


def partner_of(sender: Sender, senders: Sequence[Sender]) -> Sender:
    return next(each for each in senders if each.person == sender.other)


# ---- the judge

ADA, GRACE = 1, 2
SENT = {ADA: ["a0", "a1", "a2"], GRACE: ["g0", "g1"]}
KEPT = [Copy((sender, text), 100 + place, text) for place, (sender, text) in enumerate(
    [(ADA, "a0"), (GRACE, "g0"), (ADA, "a1"), (GRACE, "g1"), (ADA, "a2")]
)]  # fmt: skip
CLAIMS = Claims(SENT, {copy.key: copy.message_id for copy in KEPT[:4]})


def test_the_judge_finds_nothing_wrong_with_what_is_right() -> None:
    assert faults(CLAIMS, KEPT) == []
    assert faults(CLAIMS, KEPT[:4]) == []  # what was not answered may be there or not
    assert faults(Claims(SENT), []) == []


def planted() -> Iterator[tuple[str, list[Copy], str]]:
    first, second, third, *rest = KEPT
    yield "a loss", [first, third, *rest], "(2, 'g0') was accepted and is lost"
    yield "a copy", [*KEPT, replace(first, message_id=200)], "(1, 'a0') is there 2 times"
    yield "one id twice", [*KEPT[:4], replace(KEPT[4], message_id=103)], "id 103 is there 2 times"
    yield "another id", [replace(first, message_id=99), *KEPT[1:]], "(1, 'a0') was accepted as 100 and is there as 99"
    yield "a stranger", [*KEPT, Copy((ADA, "a3"), 200, "a3")], "(1, 'a3') was never sent"
    yield "another text", [*KEPT[:4], replace(KEPT[4], text="a1")], "(1, 'a2') says 'a1'"
    yield "another order", [third, second, first, *rest], "a0 of 1 comes after a1, and was sent before it"


@pytest.mark.parametrize(("found", "fault"), [pytest.param(*case[1:], id=case[0]) for case in planted()])
def test_the_judge_sees_a_planted_fault(found: list[Copy], fault: str) -> None:
    assert fault in faults(CLAIMS, found)
