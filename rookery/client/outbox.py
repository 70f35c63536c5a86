"""What a client has asked for and not been answered yet, in order, and what of it to send now. No I/O in here."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from rookery.client.errors import Refused
from rookery.v1 import session_pb2 as pb

MAX_PENDING = 1_000
"""Operations that may wait for their answers at once: a person never has so many, a program should wait."""

MAX_SAID = 100
"""Frames without an answer that may wait to be sent; what comes after is dropped: it would be stale."""

Finish = Callable[[pb.Accepted | Refused | None], None]
"""Hears once how an operation ended: Accepted for a message, None for the rest, or Refused."""

Key = tuple[object, ...]
"""What an answer has in common with what was asked."""


@dataclass(eq=False, slots=True)
class Operation:
    """Something that was asked for, until it is answered."""

    key: Key
    frame: pb.ClientFrame
    waiters: list[Finish]
    number: int = 0
    """Of its frame on this connection; 0 until it is sent on it."""


def key_of(frame: pb.ClientFrame) -> Key:
    match frame.WhichOneof("frame"):
        case "send":
            return "send", frame.send.client_message_id
        case "react":
            return reaction_key(frame.react, True)
        case "unreact":
            return reaction_key(frame.unreact, False)
        case "receipt":
            return "receipt", frame.receipt.chat_id
        case other:
            raise ValueError(f"{other} has no answer")


def reaction_key(reaction: pb.React | pb.Unreact | pb.Reaction, is_set: bool) -> Key:
    return "reaction", reaction.chat_id, reaction.message_id, reaction.emoji, is_set


class Outbox:
    """Everything stays in it until it is answered, over all connections."""

    def __init__(self) -> None:
        self._pending: dict[Key, Operation] = {}
        self._by_number: dict[int, Operation] = {}
        self._unsent: deque[Operation] = deque()
        self._said: list[pb.ClientFrame] = []
        self._sends_in_flight = 0
        self._sent = 0

    @property
    def wants_to_send(self) -> bool:
        """Whether `take` may have something."""
        return bool(self._said or self._unsent)

    @property
    def awaits_answer(self) -> bool:
        """Whether something was sent on this connection and is not answered yet."""
        return bool(self._by_number)

    def submit(self, frame: pb.ClientFrame, finish: Finish) -> None:
        """Ask for something; it is sent now or on the next connection, again and again until it is answered.

        What is asked for twice is sent once; of two receipts of a chat, what both say. Raises Refused if too much
        waits already.
        """
        key = key_of(frame)
        waiting = self._pending.get(key)
        if waiting is None and len(self._pending) >= MAX_PENDING:
            raise Refused("rate_limited", f"{MAX_PENDING} operations wait for an answer already", retryable=True)
        waiters = [*waiting.waiters, finish] if waiting else [finish]
        if waiting and not frame.HasField("receipt"):
            waiting.waiters = waiters
            return
        if waiting:
            _merge(frame.receipt, waiting.frame.receipt)
            self._release(waiting)
        self._pending[key] = Operation(key, frame, waiters)
        self._unsent.append(self._pending[key])

    def forget(self, frame: pb.ClientFrame) -> None:
        """Nobody waits for it any longer: don't send it again."""
        operation = self._pending.get(key_of(frame))
        if operation is not None and operation.frame is frame and len(operation.waiters) == 1:
            self._release(operation)

    def say(self, frame: pb.ClientFrame) -> None:
        """Send a frame that has no answer, on this connection or never."""
        if len(self._said) < MAX_SAID:
            self._said.append(frame)

    def begin(self) -> None:
        """A new connection, whose first frame is sent by itself."""
        self._sent = 1
        self._said = []
        self.send_again()

    def send_again(self) -> None:
        """Let everything that is unanswered be sent anew, in order. It is safe: the server knows each by its key."""
        for operation in self._pending.values():
            operation.number = 0
        self._by_number.clear()
        self._sends_in_flight = 0
        self._unsent = deque(self._pending.values())

    def take(self, max_sends_in_flight: int) -> list[pb.ClientFrame]:
        """The frames to send now, in this order, with no more messages in flight than that."""
        frames, self._said = self._said, []
        self._sent += len(frames)
        while self._unsent:
            operation = self._unsent[0]
            if self._pending.get(operation.key) is operation:  # else it was answered or forgotten meanwhile
                if operation.frame.HasField("send"):
                    if self._sends_in_flight >= max_sends_in_flight:
                        break
                    self._sends_in_flight += 1
                self._sent += 1
                operation.number = self._sent
                self._by_number[operation.number] = operation
                frames.append(operation.frame)
            self._unsent.popleft()
        return frames

    def finish(self, key: Key, outcome: pb.Accepted | Refused | None) -> None:
        """The answer came, if it was still waited for."""
        operation = self._pending.get(key)
        if operation is not None:
            self._release(operation)
            for finish in operation.waiters:
                finish(outcome)

    def key_of_number(self, number: int) -> Key | None:
        """What was sent as this frame of the connection, if it is not answered yet."""
        operation = self._by_number.get(number)
        return operation.key if operation else None

    def receipt(self, chat_id: str) -> pb.Receipt | None:
        """The chat's receipt that is not answered yet."""
        operation = self._pending.get(("receipt", chat_id))
        return operation.frame.receipt if operation else None

    def fail(self, refused: Refused) -> None:
        """There will be no session any more: everything that is unanswered is refused."""
        for key in list(self._pending):
            self.finish(key, refused)

    def _release(self, operation: Operation) -> None:
        del self._pending[operation.key]
        if self._by_number.pop(operation.number, None) is operation and operation.frame.HasField("send"):
            self._sends_in_flight -= 1


def _merge(newer: pb.Receipt, older: pb.Receipt) -> None:
    newer.delivered_up_to = max(older.delivered_up_to, newer.delivered_up_to)
    newer.read_up_to = max(older.read_up_to, newer.read_up_to)
