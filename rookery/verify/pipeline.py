"""Sends one client's messages in order, several at once, and after a refusal again in the same order."""

import heapq
import math
from collections.abc import Callable

import trio

from rookery.client import Accepted, Client, Refused, Submission, Unreachable
from rookery.verify.records import Sent

RETRY_PAUSE = 0.25
"""Seconds before a refused message is sent again, unless the server asks for more."""

ANSWER_DEADLINE = 30.0
"""Seconds after which a message without an answer is sent again, including reconnects."""

HELD_SECONDS = 35.0
"""Seconds after which a server may accept later messages before one that is sent again: 40 after its refusal, by
docs/client-guide.md, less what a frame may take. Only clients that lack CPU time take so long."""


class Pipeline:
    """Sends messages until each is accepted.

    A client must send again in order (docs/client-guide.md). So after a refusal, or without an answer, all later
    messages are withdrawn, whether they have an answer or not, and sent again behind the refused one.
    """

    def __init__(
        self,
        client: Client,
        on_accepted: Callable[[Sent], None],
        on_retry: Callable[[Refused | Unreachable], None],
    ) -> None:
        """`on_retry` receives each reason to send a message again; later messages that are withdrawn have none."""
        self._client = client
        self._on_accepted = on_accepted
        self._on_retry = on_retry
        self._waiting: list[tuple[int, Sent]] = []
        """A heap: the message with the lowest number is sent next."""
        self._in_flight: dict[int, tuple[Sent, trio.CancelScope]] = {}
        self._submitted_at: dict[int, float] = {}
        """By the number of each message that is not accepted."""
        self._resumes_at = -math.inf
        self._changed = trio.Event()

    def put(self, sent: Sent) -> None:
        """Send a message once all messages with lower numbers are sent."""
        heapq.heappush(self._waiting, (sent.number, sent))
        self._changed.set()

    async def run(self) -> None:
        """Send messages, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._changed.wait()
                await trio.sleep_until(self._resumes_at)
                if trio.current_time() < self._resumes_at:  # another refusal came meanwhile
                    continue
                if not self._waiting:
                    self._changed = trio.Event()
                    continue
                _, sent = heapq.heappop(self._waiting)
                scope = trio.CancelScope()
                self._in_flight[sent.number] = sent, scope
                nursery.start_soon(self._await_answer, sent, self._submit(sent), scope)

    def _submit(self, sent: Sent) -> Submission | Refused:
        now = trio.current_time()
        sent.is_overdue |= now - self._submitted_at.get(sent.number, now) > HELD_SECONDS
        self._submitted_at[sent.number] = now
        try:
            return submit(self._client, sent)
        except Refused as refused:
            return refused

    async def _await_answer(self, sent: Sent, submission: Submission | Refused, withdrawal: trio.CancelScope) -> None:
        outcome: Accepted | Refused | Unreachable | None = None
        with withdrawal:
            outcome = submission if isinstance(submission, Refused) else await answer_of(submission)
        if withdrawal.cancel_called:
            return
        del self._in_flight[sent.number]
        match outcome:
            case Accepted():
                sent.message_id, sent.accepted_at = outcome.event_id, trio.current_time()
                del self._submitted_at[sent.number]
                self._on_accepted(sent)
            case Refused() | Unreachable():
                self._on_retry(outcome)
                self._go_back(sent, outcome.retry_after_ms / 1000 if isinstance(outcome, Refused) else 0.0)
            case None:
                raise AssertionError("an answer, unless the message is withdrawn")

    def _go_back(self, sent: Sent, pause: float) -> None:
        """Send the message again after the pause, at least RETRY_PAUSE, and all later ones behind it."""
        later = [number for number in self._in_flight if number > sent.number]
        withdrawn = [self._in_flight.pop(number) for number in later]
        for _, withdrawal in withdrawn:
            withdrawal.cancel()
        for each in (sent, *(each for each, _ in withdrawn)):
            each.retried = True
            self.put(each)
        # The pause also lets the client forget the withdrawn messages, before they are submitted again.
        self._resumes_at = max(self._resumes_at, trio.current_time() + max(pause, RETRY_PAUSE))


def submit(client: Client, sent: Sent) -> Submission:
    """Send the message, for the first time or again. Raises Refused; SignedOut."""
    return client.submit(sent.recipient_id, sent.text, client_message_id=sent.key[1], first_sent_ms=sent.at_ms)


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
