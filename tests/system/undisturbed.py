"""A pair of users who keep chatting while others misbehave."""

from itertools import count, permutations

import trio

from tests.system.sessions import Session

PAUSE = 0.03
"""Seconds between two exchanges of the pair that must not be disturbed."""

FRAME_BURST = 300
FRAMES_PER_SECOND = 100
"""What one session may send to `strict`: little, so that a flood need not be large; more than the pair sends."""


class Pair:
    """Two users who keep chatting, one on each transport: what each sends is accepted, and heard by the other."""

    def __init__(self, ada: Session, grace: Session, chat_id: str) -> None:
        self._ada, self._grace, self._chat_id = ada, grace, chat_id

    async def exchange(self, number: int) -> None:
        """A message each way."""
        text = f"undisturbed {number}"
        for sender, receiver in permutations((self._ada, self._grace)):
            accepted = await sender.send_text(self._chat_id, text)
            message = (await receiver.next_event("message")).message
            assert (message.message_id, message.text.body) == (accepted.message_id, text)

    async def chat_for_ever(self) -> None:
        for number in count():
            await self.exchange(number)
            await trio.sleep(PAUSE)
