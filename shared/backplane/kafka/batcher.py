"""The producer's state machine: calls in, requests out, outcomes in, results out. No I/O, no clock, no thread.

At most one request to each broker is under way. Records that are published meanwhile go into the next one: batches form
by themselves, without a delay that would have to be chosen. Each batch has the producer's identity and a sequence
number, so that a broker stores a batch once, however often it is sent.
"""

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import NamedTuple, assert_never

from shared.backplane.kafka.batches import Batch, Call, Identity, Piece, build_batch
from shared.backplane.protocol import Done
from shared.contract.errors import Unavailable

RETRY_BACKOFF = 0.1
"""Seconds before a batch is sent again, and before a missing leader is looked up again."""

MAX_REQUEST_BYTES = 8 * 1024 * 1024
"""A request of this size takes no further batch; a broker allows 100 MB."""

Result = tuple[Done, Sequence[int] | Exception]
"""A call's callback, and the result to call it with."""

Outcome = int | Unavailable | None
"""Of a batch in a request: the offset of its first record; the broker's final rejection; or None, if it must be sent
again: a retriable error, or a response that was lost."""


class Request(NamedTuple):
    """Batches to send to one broker, of one partition each."""

    leader: int
    batches: Sequence[Batch]


class Poll(NamedTuple):
    """The caller's next actions: send the requests, poll again in `retry_after` seconds, refresh the leaders."""

    requests: Sequence[Request] = ()
    retry_after: float | None = None
    leaders_missing: bool = False


_NOTHING = Poll()


def _not_in_order() -> Unavailable:
    """The error of a call that would overtake the repetition of an earlier one."""
    return Unavailable("an earlier record of the partition could not be stored")


@dataclass(slots=True)
class _Partition:
    """`sent` stays until its outcome is known or its calls are answered: no later batch overtakes it."""

    number: int
    waiting: deque[Piece] = field(default_factory=deque)
    sent: Batch | None = None
    retry_at: float = 0.0
    sequence: int = 0
    errors: int = 0
    """Errors of all calls up to the newest error of a call that begins here."""


class Batcher:
    """Batches the calls to one topic. Times are in seconds of one monotonic clock.

    Its bound is the caller's: it holds the calls that were added and are not answered yet.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = [_Partition(number) for number in range(partitions)]
        self._turns = deque(self._partitions)  # each is first in turn, where a request can't take from all
        # Both in order of their deadlines; answered ones stay until they are due. A call that has to end earlier than
        # one before it is in the second.
        self._calls: tuple[deque[Call], deque[Call]] = deque(), deque()
        self._results: list[Result] = []
        self._answered_bytes = 0
        self._errors = 0
        self._incomplete: set[int] = set()  # first partitions of calls that failed after their first record was stored
        self._busy: set[int] = set()  # the brokers with a request under way
        self._identity: Identity | None = None

    @property
    def needs_identity(self) -> bool:
        """Whether `poll` has to wait for `identify`: at first, and after a batch whose outcome stays unknown."""
        return self._identity is None

    @property
    def has_deadlines(self) -> bool:
        """Whether `expire` has to be called later."""
        return any(self._calls)

    def identify(self, identity: Identity) -> None:
        """Build later batches under this identity. A batch that was sent before keeps its own, also when sent again."""
        self._identity = identity
        for partition in self._partitions:
            partition.sequence = 0

    def add(self, calls: Iterable[Call]) -> None:
        """Add calls. One without records is answered. One whose caller did not know of the error of an earlier call
        with the same first partition is answered with an error: it must not overtake the repetition of that one."""
        usual, early = self._calls
        for call in calls:
            if usual and usual[-1].deadline > call.deadline:
                insort(early, call, key=lambda each: each.deadline)
            else:
                usual.append(call)
            first, call.rest = call.split()
            if first is None:
                self._finish(call, [])
            elif call.known_errors < self._partitions[first.partition].errors:
                self._finish(call, _not_in_order())
            else:
                self._partitions[first.partition].waiting.append(first)

    def poll(self, now: float, at_ms: int, leader_of: Callable[[int], int | None]) -> Poll:
        """Take the batches that can be sent now; every one of their requests must get a `complete`.

        `at_ms` is the records' time. `leader_of` returns a partition's broker, None if it has none at the moment.
        """
        if self._identity is None:
            return _NOTHING
        batches: dict[int, list[Batch]] = {}
        sizes: dict[int, int] = {}
        retries: list[float] = []
        leaders_missing = False
        self._turns.rotate(-1)
        for partition in self._turns:
            if not partition.waiting and partition.sent is None:
                continue
            leader = leader_of(partition.number)
            if leader is None:
                leaders_missing = True
                retries.append(RETRY_BACKOFF)
            elif leader in self._busy or sizes.get(leader, 0) > MAX_REQUEST_BYTES:
                continue
            elif partition.retry_at > now:
                retries.append(partition.retry_at - now)
            elif (batch := partition.sent or self._next_batch(partition, at_ms)) and not batch.under_way:
                batch.under_way = True
                batches.setdefault(leader, []).append(batch)
                sizes[leader] = sizes.get(leader, 0) + len(batch.buffer)
        if not batches and not retries:
            return _NOTHING
        self._busy.update(batches)
        requests = [Request(leader, some) for leader, some in batches.items()]
        return Poll(requests, min(retries) if retries else None, leaders_missing)

    def _next_batch(self, partition: _Partition, at_ms: int) -> Batch | None:
        if self._identity is None:
            return None
        batch = build_batch(partition.waiting, partition.number, self._identity, partition.sequence, at_ms)
        if batch is not None:
            partition.sent = batch
            partition.sequence += batch.records
        return batch

    def complete(self, request: Request, outcomes: Mapping[int, Outcome], now: float) -> None:
        """End a request, with its outcomes by partition; a missing one counts as None."""
        self._busy.discard(request.leader)
        for batch in request.batches:
            batch.under_way = False
            match outcomes.get(batch.partition):
                case int(offset):
                    self._store(batch, offset)
                case None:
                    self._retry(batch, now)
                case Unavailable() as error:
                    self._abandon(batch, error)
                case unreachable:
                    assert_never(unreachable)
        self._reject_incomplete()

    def _store(self, batch: Batch, offset: int) -> None:
        partition = self._partitions[batch.partition]
        if partition.sent is batch:
            partition.sent = None
        for piece in batch.pieces:
            call = piece.call
            for index in piece.indices:
                call.offsets[index] = offset
                offset += 1
            call.unstored -= len(piece.indices)
            if not call.unstored:
                self._finish(call, call.offsets)
            for other in call.rest:  # empty if the call was rejected
                self._partitions[other.partition].waiting.append(other)
            call.rest = ()

    def _retry(self, batch: Batch, now: float) -> None:
        """Send the batch again, unchanged, after RETRY_BACKOFF, unless it was abandoned."""
        partition = self._partitions[batch.partition]
        if partition.sent is batch:
            partition.retry_at = now + RETRY_BACKOFF

    def _abandon(self, batch: Batch, error: Exception) -> None:
        """Answer the batch's calls with the error, and never send it again; so also the calls that wait behind it.

        Whether a broker has stored it is unknown, and so is the sequence number that the broker expects next: later
        batches need a new identity.
        """
        partition = self._partitions[batch.partition]
        if partition.sent is batch:
            partition.sent = None
            partition.retry_at = 0.0
            self._identity = None
        for piece in batch.pieces:
            self._finish(piece.call, error)
        self._reject_waiting(partition, error)

    def _reject_waiting(self, partition: _Partition, error: Exception) -> None:
        """Answer the calls that wait for the partition: none may overtake an earlier one that its caller repeats."""
        for piece in partition.waiting:
            self._finish(piece.call, error)
        partition.waiting.clear()

    def _reject_incomplete(self) -> None:
        """Answer all calls that begin in the same partition as a failed call of which only the first record is stored:
        their other records must not overtake those of the failed call, which its caller repeats."""
        while self._incomplete:
            first = self._incomplete.pop()
            for call in chain(*self._calls):
                if not call.answered and call.records[0].partition == first:
                    self._finish(call, _not_in_order())

    def expire(self, now: float, error: Unavailable) -> int:
        """Answer the calls whose deadline has passed with the error, and all calls that wait behind one in its
        partition. Return the number of calls that were due."""
        expired = 0
        blocked: set[int] = set()
        for calls in self._calls:
            while calls and (calls[0].answered or calls[0].deadline <= now):
                call = calls.popleft()
                if not call.answered:
                    expired += 1
                    if not call.is_begun:
                        blocked.add(call.records[0].partition)
                self._finish(call, error)
        for partition in self._partitions:
            if partition.sent is not None and partition.sent.deadline <= now:
                self._abandon(partition.sent, error)
            elif partition.number in blocked:
                self._reject_waiting(partition, error)
        self._reject_incomplete()
        return expired

    def withdraw(self, partitions: Iterable[int], error: Unavailable) -> None:
        """Answer the calls that begin in one of these partitions, and of which no record is stored, with the error."""
        for number in partitions:
            partition = self._partitions[number]
            sent = [] if partition.sent is None else partition.sent.pieces
            for call in [piece.call for piece in (*sent, *partition.waiting)]:
                if call.records[0].partition == number and not call.is_begun:
                    self._finish(call, error)

    def reject_all(self, error: Unavailable) -> None:
        """Answer every call with the error."""
        for calls in self._calls:
            for call in calls:
                self._finish(call, error)
            calls.clear()

    def _finish(self, call: Call, result: Sequence[int] | Exception) -> None:
        """Answer a call; do nothing if it is answered, since an outcome may come after the deadline."""
        if not call.answered:
            call.answered = True
            call.rest = ()
            if isinstance(result, Exception):
                first = call.records[0].partition
                self._errors += 1
                self._partitions[first].errors = self._errors
                if call.is_begun:
                    self._incomplete.add(first)
            self._results.append((call.done, result))
            self._answered_bytes += call.size

    @property
    def has_results(self) -> bool:
        return bool(self._results)

    def take_results(self) -> tuple[list[Result], int, int]:
        """Take the results since the last call, the bytes of their calls, and the number of all errors so far."""
        results, size = self._results, self._answered_bytes
        self._results, self._answered_bytes = [], 0
        return results, size, self._errors
