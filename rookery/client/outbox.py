"""The unanswered commands of a client, in order, and the frames to send now. No I/O."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from rookery.client.errors import Refused
from rookery.v1 import session_pb2 as pb
from shared.contract.ids import wall_clock_ms

MAX_PENDING = 1_000
"""Commands that may wait for their answers: a person never has so many, a program should wait."""

MAX_NOTIFICATIONS = 100
"""Frames without an answer that may wait to be sent; further ones are dropped, as they would be stale."""

MAX_MS_AGO = 2**32 - 1
"""In `first_sent_ms_ago`: so long ago, or not known."""

Finish = Callable[[pb.Accepted | Refused | None], None]
"""Called once with a command's outcome: Accepted for a message, None for other commands, or Refused."""

Key = tuple[object, ...]
"""Identifies a command, and its answer."""


@dataclass(eq=False, slots=True)
class Command:
    """A command that waits for its answer."""

    key: Key
    frame: pb.ClientFrame
    waiters: list[Finish]
    number: int = 0
    """The number of its frame on this connection; 0 until it is sent."""
    first_sent_ms: int | None = None
    """When it was first sent, in milliseconds since 1970; None until it is sent."""


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
    """Keeps each command until it is answered, over all connections."""

    def __init__(self) -> None:
        self._pending: dict[Key, Command] = {}
        self._by_number: dict[int, Command] = {}
        self._unsent: deque[Command] = deque()
        self._notifications: list[pb.ClientFrame] = []
        self._sends_in_flight = 0
        self._sent = 0

    @property
    def wants_to_send(self) -> bool:
        """Whether `take` may return frames."""
        return bool(self._notifications or self._unsent)

    @property
    def awaits_answer(self) -> bool:
        """Whether a command that was sent on this connection is unanswered."""
        return bool(self._by_number)

    def submit(self, frame: pb.ClientFrame, finish: Finish, first_sent_ms: int | None = None) -> None:
        """Send a command, on this and the next connections, until it is answered. `first_sent_ms` is set for a message
        that was sent before it is submitted here.

        A command with the key of a pending one joins it; receipts of one chat are merged. Raises Refused if
        `MAX_PENDING` commands wait.
        """
        key = key_of(frame)
        waiting = self._pending.get(key)
        if waiting is None and len(self._pending) >= MAX_PENDING:
            raise Refused("rate_limited", f"{MAX_PENDING} commands wait for an answer already", retryable=True)
        waiters = [*waiting.waiters, finish] if waiting else [finish]
        if waiting and not frame.HasField("receipt"):
            waiting.waiters = waiters
            return
        if waiting:
            _merge(frame.receipt, waiting.frame.receipt)
            self._release(waiting)
        self._pending[key] = Command(key, frame, waiters, first_sent_ms=first_sent_ms)
        self._unsent.append(self._pending[key])

    def forget(self, frame: pb.ClientFrame) -> None:
        """Do not send the command again, unless another caller waits for it."""
        command = self._pending.get(key_of(frame))
        if command is not None and command.frame is frame and len(command.waiters) == 1:
            self._release(command)

    def notify(self, frame: pb.ClientFrame) -> None:
        """Send a frame that has no answer, on this connection or never."""
        if len(self._notifications) < MAX_NOTIFICATIONS:
            self._notifications.append(frame)

    def begin(self) -> None:
        """Start on a new connection, whose first frame is not sent from here."""
        self._sent = 1
        self._notifications = []
        self.resend()

    def resend(self) -> None:
        """Send all unanswered commands again, in order: the server recognises each by its key."""
        for command in self._pending.values():
            command.number = 0
        self._by_number.clear()
        self._sends_in_flight = 0
        self._unsent = deque(self._pending.values())

    def take(self, max_sends_in_flight: int) -> list[pb.ClientFrame]:
        """Return the frames to send now, in order, with at most so many messages in flight."""
        frames, self._notifications = self._notifications, []
        self._sent += len(frames)
        while self._unsent:
            command = self._unsent[0]
            if self._pending.get(command.key) is command:  # else it was answered or forgotten
                if command.frame.HasField("send"):
                    if self._sends_in_flight >= max_sends_in_flight:
                        break
                    self._sends_in_flight += 1
                    _set_age(command)
                self._sent += 1
                command.number = self._sent
                self._by_number[command.number] = command
                frames.append(command.frame)
            self._unsent.popleft()
        return frames

    def finish(self, key: Key, outcome: pb.Accepted | Refused | None) -> None:
        """Finish the pending command with its outcome; without one, do nothing."""
        command = self._pending.get(key)
        if command is not None:
            self._release(command)
            for finish in command.waiters:
                finish(outcome)

    def key_of_number(self, number: int) -> Key | None:
        """Return the key of the unanswered command with this frame number."""
        command = self._by_number.get(number)
        return command.key if command else None

    def receipt(self, chat_id: str) -> pb.Receipt | None:
        """Return the chat's unanswered receipt."""
        command = self._pending.get(("receipt", chat_id))
        return command.frame.receipt if command else None

    def fail(self, refused: Refused) -> None:
        """Refuse all unanswered commands: there will be no session any more."""
        for key in list(self._pending):
            self.finish(key, refused)

    def _release(self, command: Command) -> None:
        del self._pending[command.key]
        if self._by_number.pop(command.number, None) is command and command.frame.HasField("send"):
            self._sends_in_flight -= 1


def _set_age(command: Command) -> None:
    now_ms = wall_clock_ms()
    if command.first_sent_ms is None:
        command.first_sent_ms = now_ms
    ago_ms = now_ms - command.first_sent_ms
    command.frame.send.first_sent_ms_ago = ago_ms if 0 <= ago_ms <= MAX_MS_AGO else MAX_MS_AGO  # < 0: clock set back


def _merge(newer: pb.Receipt, older: pb.Receipt) -> None:
    newer.delivered_up_to = max(older.delivered_up_to, newer.delivered_up_to)
    newer.read_up_to = max(older.read_up_to, newer.read_up_to)
