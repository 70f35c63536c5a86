"""A pair of users who chat while bad clients connect."""

from itertools import count, permutations

import trio

from tests.system.sessions import Session

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
            assert (message.message_id, message.text.body) == (accepted.message_id, text)

    async def chat_for_ever(self) -> None:
        for number in count():
            await self.exchange(number)
            await trio.sleep(PAUSE)
