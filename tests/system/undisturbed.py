"""A pair of users who chat while bad clients connect."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count, permutations

import trio

from tests.system.sessions import TRANSPORTS, Session, connector, open_sessions
from tools.launch.people import Person, sign_up
from tools.launch.process import Rookery, wait_until

PAUSE = 0.03
"""Seconds between two exchanges of the pair."""

FRAME_BURST = 300
FRAMES_PER_SECOND = 100
"""Limits of `strict`: low, so that a flood is small; more than the pair sends."""


class Pair:
    """Two users who chat, one on each transport: each message is accepted, and received by the other."""

    def __init__(self, ada: Session, grace: Session, chat_id: str) -> None:
        self._ada, self._grace, self._chat_id = ada, grace, chat_id

    async def exchange(self, number: int) -> None:
        """Send a message in each direction."""
        text = f"undisturbed {number}"
        for sender, receiver in permutations((self._ada, self._grace)):
            accepted = await sender.send_text(self._chat_id, text)
            message = (await receiver.next_event("message")).message
            assert (message.message_id, message.text.body) == (accepted.event_id, text)

    async def chat_for_ever(self, pause: float) -> None:
        for number in count():
            await self.exchange(number)
            await trio.sleep(pause)


@asynccontextmanager
async def chatting_pair(rookery: Rookery, *, pause: float = PAUSE) -> AsyncIterator[Person]:
    """Let a pair chat, one user on each transport, during the block; yield one of the two. Afterwards, the process has
    no more open files and sockets than before."""
    people = [await sign_up(rookery.url, name) for name in ("ada", "grace")]
    connects = [connector(rookery, transport) for transport in TRANSPORTS]
    async with open_sessions(*zip(connects, people, strict=True)) as (ada, grace):
        pair = Pair(ada, grace, people[0].chat_with(people[1]))
        await pair.exchange(-1)
        before = rookery.open_files
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pair.chat_for_ever, pause)
            yield people[0]
            nursery.cancel_scope.cancel()
    assert await trio.to_thread.run_sync(wait_until, lambda: rookery.open_files <= before)
