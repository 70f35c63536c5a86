"""Users who send as fast as they are answered, over as many connections as it takes, and the judge of the outcome."""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from rookery.client.errors import Unreachable
from rookery.v1 import session_pb2 as pb
from tests.system.people import Person
from tests.system.sessions import Connect, Session, open_session, text_to

IN_FLIGHT = 24
"""Sends of one sender that wait for an answer: fewer than the server's limit of 64, enough to fill its batches."""

Key = tuple[int, str]
"""A sender and a client_message_id: what a message is the same by."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A message, as someone found it."""

    key: Key
    message_id: int
    text: str


@dataclass(slots=True)
class Claims:
    """What the clients know: what was sent, in the order of each sender, and what the server said to that."""

    sent: dict[int, list[str]] = field(default_factory=dict)
    """By sender, the client_message_ids. The text of each is the same."""
    accepted: dict[Key, int] = field(default_factory=dict)
    """The message ids that were answered."""


def faults(claims: Claims, found: Iterable[Copy]) -> list[str]:
    """What is wrong with the messages found, in their order; nothing, if every promise was kept."""
    copies = list(found)
    return [
        *_lost(claims.accepted, copies),
        *_twice(copies),
        *_never_sent(claims.sent, copies),
        *_out_of_order(claims.sent, copies),
    ]


def _lost(accepted: Mapping[Key, int], copies: Sequence[Copy]) -> Iterator[str]:
    ids = {copy.key: copy.message_id for copy in copies}
    for key, message_id in accepted.items():
        if key not in ids:
            yield f"{key} was accepted and is lost"
        elif ids[key] != message_id:
            yield f"{key} was accepted as {message_id} and is there as {ids[key]}"


def _twice(copies: Sequence[Copy]) -> Iterator[str]:
    for what, counts in (("", Counter(copy.key for copy in copies)), ("id ", Counter(c.message_id for c in copies))):
        for key, count in counts.items():
            if count > 1:
                yield f"{what}{key} is there {count} times"


def _never_sent(sent: Mapping[int, Sequence[str]], copies: Sequence[Copy]) -> Iterator[str]:
    known = {(sender, each) for sender, ids in sent.items() for each in ids}
    for copy in copies:
        if copy.key not in known:
            yield f"{copy.key} was never sent"
        elif copy.text != copy.key[1]:
            yield f"{copy.key} says {copy.text!r}"


def _out_of_order(sent: Mapping[int, Sequence[str]], copies: Sequence[Copy]) -> Iterator[str]:
    for sender, ids in sent.items():
        place = {each: number for number, each in enumerate(ids)}
        places = [place[copy.key[1]] for copy in copies if copy.key[0] == sender and copy.key[1] in place]
        for before, after in itertools.pairwise(places):
            if after < before:
                yield f"{ids[after]} of {sender} comes after {ids[before]}, and was sent before it"


class Sender:
    """A user who sends texts to one other, who sends as many: a client with no more than it needs."""

    def __init__(self, person: Person, other: Person, connect: Connect, count: int) -> None:
        self.person = person
        self.other = other
        self.chat_id = person.chat_with(other)
        self.texts = [text_of(person, number) for number in range(count)]
        """In the order in which they are sent; the client_message_ids too."""
        self.accepted: dict[str, int] = {}
        """The message ids, by text."""
        self.heard: dict[Key, Copy] = {}
        """The other's messages, in the order in which they came."""
        self._connect = connect
        self._position: pb.Position | None = None

    async def run(self, on_accepted: Callable[[], None]) -> None:
        """Send what was never accepted; return when all is, and the other's last was heard.

        Raises Unreachable or SessionOver if the connection ends before that.
        """
        todo = iter([text for text in self.texts if text not in self.accepted])
        async with open_session(self._connect, self.person, position=self._position) as session:
            self._take(session.frames[0])
            for text in itertools.islice(todo, IN_FLIGHT):
                await self._send(session, text)
            while len(self.accepted) < len(self.texts) or not self._has_heard_last:
                frame = await session.receive()
                self._take(frame)
                if frame.HasField("accepted"):
                    on_accepted()
                    if text := next(todo, ""):
                        await self._send(session, text)

    @property
    def _has_heard_last(self) -> bool:
        return (self.other.user_id, text_of(self.other, len(self.texts) - 1)) in self.heard

    async def _send(self, session: Session, text: str) -> None:
        # If the connection is lost, there may be answers to be read yet, before that says so.
        with suppress(Unreachable):
            await session.say(send=text_to(self.chat_id, text, text))

    def _take(self, frame: pb.ServerFrame) -> None:
        match frame.WhichOneof("frame"):
            case "welcome" if not frame.welcome.replayed:
                self._position = frame.welcome.position
            case "welcome":
                pass
            case "accepted":
                self.accepted[frame.accepted.client_message_id] = frame.accepted.message_id
            case "event":
                self._position = frame.event.position
                copy = copy_of(frame.event.message)
                if copy.key[0] == self.other.user_id:
                    self.heard.setdefault(copy.key, copy)
            case _:
                raise AssertionError(frame)


def text_of(person: Person, number: int) -> str:
    return f"{person.name} {number}"


def copy_of(message: pb.Message) -> Copy:
    return Copy((message.sender_id, message.client_message_id), message.message_id, message.text.body)


def claims_of(senders: Iterable[Sender]) -> Claims:
    """What these know."""
    claims = Claims()
    for sender in senders:
        user_id = sender.person.user_id
        claims.sent[user_id] = sender.texts
        claims.accepted |= {(user_id, text): message_id for text, message_id in sender.accepted.items()}
    return claims
