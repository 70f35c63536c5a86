"""Users who send as fast as they get answers, over several connections, and record what they receive.

They use sessions of a gateway without a client of ours; `rookery.verify.checker` checks their records.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress

import trio

from rookery.client.errors import Unreachable
from rookery.v1 import session_pb2 as pb
from rookery.verify.records import Copy, Delivery, Key, Records, Sent, by_key
from tests.system.sessions import Connect, Session, open_session, text_to
from tools.launch.people import Person

IN_FLIGHT = 24
"""Unanswered sends of one sender: below the server's limit of 64, and enough to fill its batches."""


class Sender:
    """A user who exchanges texts with another, with a minimal client."""

    def __init__(self, person: Person, other: Person, connect: Connect, count: int) -> None:
        self.person = person
        self.other = other
        self.chat_id = person.chat_with(other)
        self.sent = {text: self._unsent(text, number) for number, text in enumerate(texts_of(person, count))}
        """By text, which is also the client_message_id, in order of sending."""
        self.received: dict[Key, Delivery] = {}
        """The other's messages, in order of arrival."""
        self._last_of_other = texts_of(other, count)[-1]
        self._connect = connect
        self._position: pb.Position | None = None

    async def arrive(self) -> None:
        """Open a first session, to have a position: without one, a session gets only the last seconds replayed."""
        async with open_session(self._connect, self.person) as session:
            self._take(session.frames[0])

    async def run(self, on_accepted: Callable[[], None]) -> None:
        """Send each message until it is accepted; return when all are, and the other's last message has arrived.

        Raises Unreachable or SessionOver if the connection ends before that.
        """
        todo = iter([sent for sent in self.sent.values() if not sent.is_accepted])
        async with open_session(self._connect, self.person, position=self._position) as session:
            self._take(session.frames[0])
            for sent in itertools.islice(todo, IN_FLIGHT):
                await self._send(session, sent)
            while not (all(sent.is_accepted for sent in self.sent.values()) and self._has_received_last):
                frame = await session.receive()
                self._take(frame)
                if frame.HasField("accepted"):
                    on_accepted()
                    if (next_one := next(todo, None)) is not None:
                        await self._send(session, next_one)

    @property
    def _has_received_last(self) -> bool:
        return (self.other.user_id, self._last_of_other) in self.received

    def _unsent(self, text: str, number: int) -> Sent:
        return Sent((self.person.user_id, text), self.chat_id, self.other.user_id, text, number, at=math.inf)

    async def _send(self, session: Session, sent: Sent) -> None:
        sent.at = min(sent.at, trio.current_time())
        # After a lost connection there may be answers left to read, before receive() raises.
        with suppress(Unreachable):
            await session.say(send=text_to(self.chat_id, sent.text, sent.key[1]))

    def _take(self, frame: pb.ServerFrame) -> None:
        match frame.WhichOneof("frame"):
            case "welcome" if not frame.welcome.replayed:
                self._position = frame.welcome.position
            case "welcome":
                pass
            case "accepted":
                sent = self.sent[frame.accepted.client_message_id]
                sent.message_id, sent.accepted_at = frame.accepted.message_id, trio.current_time()
            case "event":
                self._position = frame.event.position
                copy = Copy.of(frame.event.message)
                if copy.key[0] != self.person.user_id:
                    self.received.setdefault(copy.key, Delivery(copy, trio.current_time()))
            case _:
                raise AssertionError(frame)


def texts_of(person: Person, count: int) -> list[str]:
    return [f"{person.name} {number}" for number in range(count)]


def records_of(senders: Iterable[Sender], histories: Mapping[tuple[int, str], Sequence[Copy]]) -> Records:
    """Records of the senders, with histories by reader and chat."""
    everyone = list(senders)
    deliveries = {sender.person.user_id: list(sender.received.values()) for sender in everyone}
    return Records(by_key(sent for sender in everyone for sent in sender.sent.values()), deliveries, histories)
