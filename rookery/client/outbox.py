"""The unanswered commands of a client, in order, and the frames to send now. No I/O."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from rookery.client.errors import Refused
from rookery.v1 import session_pb2 as pb
from shared.contract.changes import State, apply, kind_of
from shared.contract.ids import wall_clock_ms

MAX_PENDING = 1_000
"""Commands that may wait for their answers: a person never has so many, a program should wait."""

MAX_NOTIFICATIONS = 100
"""Frames of `notify` that may wait to be sent; further ones are dropped, as they would be stale."""

MAX_MS_AGO = 2**32 - 1
"""The `first_sent_ms_ago` of a command that was first sent this long ago, or at an unknown time."""

Finish = Callable[[pb.Accepted | Refused], None]
"""Called once with a command's answer."""

Key = str | tuple[int | str, ...]
"""Identifies a command over all connections: by its client id, or without one by the state that it changes."""


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


FOLLOW: Key = ("follow",)
"""The key of a Follow: a newer one takes the place of the former one."""


def key_of(frame: pb.ClientFrame) -> Key:
    """Return the key of a Send, of a Change whose kind this version knows, or of a Follow."""
    if frame.HasField("follow"):
        return FOLLOW
    change = frame.change
    client_id = frame.send.client_message_id or change.client_change_id
    kind = kind_of(change)
    if client_id or kind is None:
        return client_id
    return (change.chat_id, change.target_id, *kind.key_of(change))


class Outbox:
    """Keeps each command until it is answered, over all connections."""

    def __init__(self) -> None:
        self._pending: dict[Key, Command] = {}
        self._by_number: dict[int, Command] = {}
        self._unsent: OrderedDict[Command, None] = OrderedDict()  # keys: a command in the middle may be withdrawn
        self._notifications: list[pb.ClientFrame] = []
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
        """Send a command, on this and the next connections, until it is answered. `first_sent_ms` is set for a command
        that was sent before it is submitted here.

        A command with the client id of a pending one joins it. Commands without a client id, which change the same
        state, are merged. Raises Refused if `MAX_PENDING` commands wait, but not for a Follow; also for a command with
        the client id of a pending one and another content.
        """
        key = key_of(frame)
        waiting = self._pending.get(key)
        if waiting is None and key != FOLLOW and len(self._pending) >= MAX_PENDING:
            raise Refused("rate_limited", f"{MAX_PENDING} commands wait for an answer already", retryable=True)
        waiters = [*waiting.waiters, finish] if waiting else [finish]
        if waiting and isinstance(key, str):
            if (waiting.frame.send, waiting.frame.change) != (frame.send, frame.change):  # their ages differ in a retry
                raise Refused("invalid", "A pending command with another content has this client id", client_id=key)
            waiting.waiters = waiters
            return
        if waiting:
            if key != FOLLOW:
                frame = pb.ClientFrame(change=_merged(waiting.frame.change, frame.change))
            self._release(waiting)
        command = self._pending[key] = Command(key, frame, waiters, first_sent_ms=first_sent_ms)
        self._unsent[command] = None

    def forget(self, frame: pb.ClientFrame, finish: Finish) -> None:
        """Do not send the command again, unless another caller waits for it. Pass the arguments that `submit` got."""
        command = self._pending.get(key_of(frame))
        if command is not None and finish in command.waiters:
            command.waiters.remove(finish)
            if not command.waiters:
                self._release(command)

    def notify(self, frame: pb.ClientFrame) -> None:
        """Send a frame once, on this connection only, and ignore its answer."""
        if len(self._notifications) < MAX_NOTIFICATIONS:
            self._notifications.append(frame)

    def begin(self) -> None:
        """Start on a new connection, whose first frame is not sent from here. Send all unanswered commands again, in
        order: the server recognises each by its key."""
        self._sent = 1
        self._notifications = []
        for command in self._pending.values():
            command.number = 0
        self._by_number.clear()
        self._unsent = OrderedDict.fromkeys(self._pending.values())

    def take(
        self, max_in_flight: int, refuse: Callable[[pb.ClientFrame], Refused | None] = lambda _: None
    ) -> list[pb.ClientFrame]:
        """Return the frames to send now, in order, with at most so many commands in flight. A command is not sent, but
        finished, if `refuse` returns its refusal."""
        frames, self._notifications = self._notifications, []
        self._sent += len(frames)
        while self._unsent and len(self._by_number) < max_in_flight:
            command, _ = self._unsent.popitem(last=False)
            if command.key != FOLLOW:
                _set_age(command)
            if refused := refuse(command.frame):
                self._finish(command, refused)
                continue
            self._sent += 1
            command.number = self._sent
            self._by_number[command.number] = command
            frames.append(command.frame)
        return frames

    def finish(self, number: int, answer: pb.Accepted | Refused) -> bool:
        """Finish the command whose frame on this connection has the number. Without one, return False: its frame had
        no answer to wait for, or it was withdrawn, merged or sent again, and then the newer frame has its own answer.
        """
        command = self._by_number.get(number)
        if command is None:
            return False
        self._finish(command, answer)
        return True

    def fail(self, refused: Refused) -> None:
        """Refuse all unanswered commands: there will be no session any more."""
        for command in list(self._pending.values()):
            self._finish(command, refused)

    def _finish(self, command: Command, answer: pb.Accepted | Refused) -> None:
        self._release(command)
        for finish in command.waiters:
            finish(answer)

    def _release(self, command: Command) -> None:
        del self._pending[command.key]
        self._unsent.pop(command, None)
        self._by_number.pop(command.number, None)


def _set_age(command: Command) -> None:
    now_ms = wall_clock_ms()
    if command.first_sent_ms is None:
        command.first_sent_ms = now_ms
    ago_ms = now_ms - command.first_sent_ms
    command.frame.first_sent_ms_ago = ago_ms if 0 <= ago_ms <= MAX_MS_AGO else MAX_MS_AGO  # < 0: clock set back


def _merged(older: pb.Change, newer: pb.Change) -> pb.Change:
    """Return one change in place of two of the same state, by the law of their kind."""
    state: State = {}
    for number, change in enumerate((older, newer)):
        apply(state, pb.Event(event_id=number, change=change))
    (event,) = state.values()
    return event.change
