"""Sends one client's messages and changes in order, several at once, and after a refusal again in the same order."""

import heapq
import itertools
import math
from collections.abc import Callable

import trio

from rookery.client import Accepted, Client, Event, Mention, Refused, Submission, Unreachable
from rookery.verify.records import EVERYONE, Made, Sent
from shared.contract.ids import wall_clock_ms

RETRY_PAUSE = 0.25
"""Seconds before a refused message or change is sent again, unless the server asks for more."""

ANSWER_DEADLINE = 30.0
"""Seconds after which a message or a change without an answer is sent again, including reconnects."""

HELD_SECONDS = 35.0
"""Seconds after which a server may accept later messages before one that is sent again: 40 after its refusal, by
docs/client-guide.md, less what a frame may take. Only clients that lack CPU time take so long."""


Command = Sent | Made


class Pipeline:
    """Sends messages until each is accepted, and changes and messages to groups until each is accepted or refused for
    good.

    A client must send again in order (docs/client-guide.md). So after a refusal, or without an answer, all later
    commands are withdrawn, whether they have an answer or not, and sent again behind the refused one.
    """

    def __init__(
        self,
        client: Client,
        on_answer: Callable[[Command], None],
        on_retry: Callable[[Command, Refused | Unreachable], None],
    ) -> None:
        """`on_retry` receives each reason to send a command again; later commands that are withdrawn have none."""
        self._client = client
        self._on_answer = on_answer
        self._on_retry = on_retry
        self._places = itertools.count()
        self._waiting: list[tuple[int, Command]] = []
        """A heap: the command with the lowest place in the order is sent next."""
        self._in_flight: dict[int, tuple[Command, Submission | Refused, trio.CancelScope]] = {}
        self._submitted_at: dict[int, float] = {}
        """By the place of each command without a final answer."""
        self._resumes_at = -math.inf
        self._changed = trio.Event()

    def put(self, command: Command) -> None:
        """Send a command once all earlier ones are sent."""
        self._put(next(self._places), command)

    def _put(self, place: int, command: Command) -> None:
        heapq.heappush(self._waiting, (place, command))
        self._changed.set()

    async def run(self) -> None:
        """Send commands, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._changed.wait()
                await trio.sleep_until(self._resumes_at)
                if trio.current_time() < self._resumes_at:  # another refusal came meanwhile
                    continue
                if not self._waiting:
                    self._changed = trio.Event()
                    continue
                place, command = heapq.heappop(self._waiting)
                submission, scope = self._submit(place, command), trio.CancelScope()
                self._in_flight[place] = command, submission, scope
                nursery.start_soon(self._await_answer, place, command, submission, scope)

    def _submit(self, place: int, command: Command) -> Submission | Refused:
        now = trio.current_time()
        if isinstance(command, Sent):
            command.is_overdue |= now - self._submitted_at.get(place, now) > HELD_SECONDS
        self._submitted_at[place] = now
        try:
            return submit(self._client, command)
        except Refused as refused:
            return refused

    async def _await_answer(
        self, place: int, command: Command, submission: Submission | Refused, withdrawal: trio.CancelScope
    ) -> None:
        outcome: Accepted | Refused | Unreachable | None = None
        with withdrawal:
            outcome = submission if isinstance(submission, Refused) else await answer_of(submission)
        if withdrawal.cancel_called:
            return
        del self._in_flight[place]
        match outcome:
            case Accepted():
                _accept(command, outcome)
                self._finish(place, command)
            case Refused() if not outcome.retryable and (isinstance(command, Made) or not command.recipient_id):
                command.refused = outcome.code
                if isinstance(command, Sent):
                    command.refused_at = trio.current_time()
                self._finish(place, command)
            case Refused() | Unreachable():
                self._on_retry(command, outcome)
                self._go_back(place, command, outcome.retry_after_ms / 1000 if isinstance(outcome, Refused) else 0.0)
            case None:
                raise AssertionError("an answer, unless the command is withdrawn")

    def _finish(self, place: int, command: Command) -> None:
        del self._submitted_at[place]
        self._on_answer(command)

    def _go_back(self, place: int, command: Command, pause: float) -> None:
        """Send the command again after the pause, at least RETRY_PAUSE, and all later ones behind it. They are
        withdrawn at once: the client may connect again in this moment, and would send them before it."""
        again = {place: command}
        for later in [each for each in self._in_flight if each > place]:
            again[later], submission, withdrawal = self._in_flight.pop(later)
            if not isinstance(submission, Refused):
                submission.withdraw()
            withdrawal.cancel()
        for each_place, each in again.items():
            each.retried = True
            self._put(each_place, each)
        self._resumes_at = max(self._resumes_at, trio.current_time() + max(pause, RETRY_PAUSE))


def _accept(command: Command, accepted: Accepted) -> None:
    if isinstance(command, Sent):
        command.message_id, command.accepted_at = accepted.event_id, trio.current_time()
    else:
        command.event = Event(event_id=accepted.event_id, change=command.change)
        command.accepted_ms = wall_clock_ms()


def submit(client: Client, command: Command) -> Submission:
    """Send the command, for the first time or again. Raises Refused; SignedOut."""
    if isinstance(command, Made):
        return client.submit_change(command.change, first_sent_ms=command.at_ms)
    return client.submit(
        command.recipient_id or command.chat_id,
        command.text,
        files=[file.ref for file in command.files],
        mentions=[Mention(user_id=each, name="you") for each in command.mentions if each != EVERYONE],
        mentions_everyone=EVERYONE in command.mentions,
        forwarded=command.forwarded,
        client_message_id=command.key[1],
        first_sent_ms=command.at_ms,
    )


async def answer_of(submission: Submission) -> Accepted | Refused | Unreachable:
    """Return the answer, or the error without one."""
    try:
        return await submission.answer(ANSWER_DEADLINE)
    except (Refused, Unreachable) as error:
        return error


async def send_again(client: Client, sent: Sent) -> None:
    """Send an accepted message once more, until there is an answer, and record its id."""
    sent.late_id = 0
    while True:
        outcome = await answer_of(submit(client, sent))
        if isinstance(outcome, Accepted):
            sent.late_id = outcome.event_id
        if isinstance(outcome, Accepted) or (isinstance(outcome, Refused) and not outcome.retryable):
            return
        await trio.sleep(RETRY_PAUSE)
