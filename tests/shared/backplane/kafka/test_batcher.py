"""The producer's state machine: calls in, requests out, outcomes in, results out; time is a number."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shared.backplane import Record
from shared.backplane.kafka.batcher import RETRY_BACKOFF, Batcher, Outcome, Poll, Request
from shared.backplane.kafka.batches import Call, Identity
from shared.backplane.kafka.kafka_python import DefaultRecordBatch
from shared.contract.errors import Unavailable

PARTITIONS = 3
TIMEOUT = 5.0
REJECTED = Unavailable("the broker rejects it")


def values(request: Request) -> dict[int, list[bytes]]:
    """The records of a request, by partition."""
    return {batch.partition: [record.value for record in DefaultRecordBatch(batch.buffer)] for batch in request.batches}


def origins(request: Request) -> list[tuple[int, int]]:
    """The producer's number and the first sequence number of each batch."""
    decoded = [DefaultRecordBatch(batch.buffer) for batch in request.batches]
    return [(batch.producer_id, batch.base_sequence) for batch in decoded]


@dataclass
class Simulation:
    """A batcher with its clock, and brokers that store batches in `complete`. Broker 1 leads by default."""

    now: float = 0.0
    leaders: list[int | None] = field(default_factory=lambda: [1] * PARTITIONS)
    identities: int = 0
    requests: list[Request] = field(default_factory=list)
    stored: list[list[bytes]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    batcher: Batcher = field(default_factory=lambda: Batcher(PARTITIONS))
    known_errors: int = 0

    def publish(self, *records: tuple[int, bytes], until: float = math.inf) -> list[Any]:
        """Publish in one call; return the list of its answers, which grows."""
        answers: list[Any] = []
        deadline = min(self.now + TIMEOUT, until)
        call = Call([Record(*record) for record in records], answers.append, 1, deadline, self.known_errors)
        self.batcher.add([call])
        self.poll()
        return answers

    def poll(self) -> Poll:
        if self.batcher.needs_identity:
            self.identities += 1
            self.batcher.identify(Identity(self.identities, 0))
        poll = self.batcher.poll(self.now, 5, self.leaders.__getitem__)
        self.requests += poll.requests
        leaders = [request.leader for request in self.requests]
        assert len(leaders) == len(set(leaders)), "one request is under way to each broker at a time"
        results, _, self.known_errors = self.batcher.take_results()
        for done, answer in results:
            done(answer)
        return poll

    def complete(self, failing: Mapping[int, Outcome] | None = None) -> None:
        """Store the batches of the oldest request, except in partitions that have another outcome."""
        request = self.requests.pop(0)
        outcomes = dict(failing or {})
        for partition, records in values(request).items():
            if partition not in outcomes:
                outcomes[partition] = len(self.stored[partition])
                self.stored[partition] += records
        self.batcher.complete(request, outcomes, self.now)
        self.poll()

    def lose(self) -> Request:
        """Lose the connection of the oldest request, which was not stored."""
        request = self.requests.pop(0)
        self.batcher.complete(request, {}, self.now)
        self.poll()
        return request

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.batcher.expire(self.now, Unavailable("late"))
        self.poll()


def test_calls_during_a_request_go_together_into_the_next() -> None:
    kafka = Simulation()
    first = kafka.publish((0, b"a"))
    others = [kafka.publish((partition, value)) for partition, value in ((0, b"b"), (1, b"c"), (0, b"d"))]
    assert values(kafka.requests[0]) == {0: [b"a"]}
    kafka.complete()
    assert first == [[0]]
    assert values(kafka.requests[0]) == {0: [b"b", b"d"], 1: [b"c"]}
    kafka.complete()
    assert others == [[[1]], [[0]], [[2]]]
    assert not kafka.requests


def test_after_a_lost_connection_the_same_batch_is_sent_again() -> None:
    kafka = Simulation()
    answers = kafka.publish((0, b"a"))
    kafka.publish((0, b"later"))
    lost = kafka.lose()
    assert not kafka.requests
    assert kafka.poll().retry_after == RETRY_BACKOFF
    kafka.wait(RETRY_BACKOFF)
    assert kafka.requests[0].batches == lost.batches, "the broker recognises it by its sequence number"
    kafka.complete()
    assert answers == [[0]]
    assert origins(kafka.requests[0]) == [(1, 1)]


def test_a_partition_that_has_moved_is_retried_and_holds_up_no_other() -> None:
    kafka = Simulation()
    moved, later = kafka.publish((0, b"moved")), kafka.publish((0, b"a"))
    kafka.complete({0: None})
    other = kafka.publish((1, b"b"))
    kafka.complete()
    assert (moved, later, other) == ([], [], [[0]])
    kafka.wait(RETRY_BACKOFF)
    kafka.complete()
    kafka.complete()
    assert (moved, later) == ([[0]], [[1]])


def test_a_partition_without_a_leader_waits_and_a_busy_broker_holds_up_no_other() -> None:
    kafka = Simulation(leaders=[1, 2, None])
    answers = [kafka.publish((partition, b"x")) for partition in (0, 1, 2, 0)]
    assert [request.leader for request in kafka.requests] == [1, 2]
    assert kafka.poll() == Poll([], RETRY_BACKOFF, leaders_missing=True)
    kafka.leaders[2] = 2
    kafka.complete()
    kafka.complete()
    assert [values(request) for request in kafka.requests] == [{0: [b"x"]}, {2: [b"x"]}]
    assert answers == [[[0]], [[0]], [], []]


def test_a_call_over_its_deadline_is_rejected_with_those_behind_it_and_not_sent_any_more() -> None:
    kafka = Simulation()
    late = kafka.publish((0, b"late"), (1, b"its copy"))
    kafka.wait(TIMEOUT / 2)
    younger = kafka.publish((0, b"younger"))
    elsewhere = kafka.publish((1, b"elsewhere"))
    kafka.wait(TIMEOUT / 2)
    assert [type(answer) for answer in late + younger] == [Unavailable] * 2, "none overtakes the late one"
    next_one = kafka.publish((0, b"next"))
    kafka.complete()  # it was stored after all
    assert len(late) == len(younger) == 1
    assert values(kafka.requests[0]) == {0: [b"next"], 1: [b"elsewhere"]}, "the copy of a rejected record is not sent"
    assert origins(kafka.requests[0]) == [(2, 0)] * 2, "the outcome of the late one was unknown: a new identity"
    kafka.complete()
    assert (next_one, elsewhere) == ([[1]], [[0]])


def test_a_call_that_was_never_sent_is_rejected_with_those_behind_it() -> None:
    kafka = Simulation(leaders=[None] * PARTITIONS)
    late = kafka.publish((0, b"late"))
    kafka.wait(TIMEOUT / 2)
    younger = kafka.publish((0, b"younger"))
    elsewhere = kafka.publish((1, b"elsewhere"))
    kafka.wait(TIMEOUT / 2)
    assert [type(answer) for answer in late + younger] == [Unavailable] * 2
    assert elsewhere == []


def test_a_call_that_was_made_before_its_caller_knew_of_an_error_does_not_overtake_the_repetition() -> None:
    kafka = Simulation(leaders=[None, 1, 1])
    kafka.publish((0, b"refused"))
    kafka.now += TIMEOUT
    kafka.batcher.expire(kafka.now, Unavailable("late"))  # the caller has not received this yet
    kafka.leaders[0] = 1
    (overtaking,), other = kafka.publish((0, b"made before")), kafka.publish((1, b"elsewhere"))
    assert isinstance(overtaking, Unavailable)
    repeated = kafka.publish((0, b"refused"))
    kafka.complete()
    kafka.complete()
    assert (kafka.stored[0], repeated, other) == ([b"refused"], [[0]], [[0]])


def test_no_copy_overtakes_the_copy_of_an_earlier_call_that_failed() -> None:
    kafka = Simulation(leaders=[1, None, 1])
    first, later = kafka.publish((0, b"first"), (1, b"its copy")), kafka.publish((0, b"later"), (1, b"its copy"))
    elsewhere = kafka.publish((2, b"elsewhere"))
    while kafka.requests:
        kafka.complete()
    kafka.now += TIMEOUT - 0.1
    newest = kafka.publish((0, b"newest"), (1, b"its copy"))
    kafka.wait(0.1)
    assert [type(answers[0]) for answers in (first, later, newest)] == [Unavailable] * 3
    kafka.leaders[1] = 1
    while kafka.requests:
        kafka.complete()
    assert (kafka.stored[1], elsewhere) == ([], [[0]])


def test_a_call_that_must_end_early_does() -> None:
    kafka = Simulation(leaders=[None] * PARTITIONS)
    usual, early = kafka.publish((0, b"usual")), kafka.publish((1, b"early"), until=TIMEOUT / 2)
    kafka.wait(TIMEOUT / 2)
    assert usual == []
    assert [type(answer) for answer in early] == [Unavailable]


def test_a_call_whose_time_is_over_is_not_sent_though_another_early_one_is_pending() -> None:
    kafka = Simulation(leaders=[None] * PARTITIONS)
    usual, early = kafka.publish((0, b"usual")), kafka.publish((0, b"early"), until=TIMEOUT / 2)
    over = kafka.publish((1, b"over"), until=-math.inf)
    kafka.wait(0)
    kafka.leaders = [1] * PARTITIONS
    kafka.wait(RETRY_BACKOFF)
    assert [type(answer) for answer in over] == [Unavailable]
    assert values(kafka.requests[0]) == {0: [b"usual", b"early"]}
    kafka.complete()
    assert (usual, early) == ([[0]], [[1]])


def test_calls_that_begin_in_a_partition_that_moves_are_answered_and_their_copies_not_sent() -> None:
    kafka = Simulation()
    sent, elsewhere = kafka.publish((0, b"sent"), (1, b"copy")), kafka.publish((1, b"elsewhere"), (0, b"copy"))
    kafka.complete()
    begun = sent
    sent, waiting = kafka.publish((0, b"sent"), (2, b"copy")), kafka.publish((0, b"waiting"), (2, b"copy"))
    kafka.batcher.withdraw([0], Unavailable("moved"))
    while kafka.requests:
        kafka.complete()
    assert [type(answer) for answer in sent + waiting] == [Unavailable] * 2
    assert [len(begun[0]), len(elsewhere[0])] == [2, 2], "their first records are stored, or elsewhere"
    assert kafka.stored[2] == []


def test_a_record_that_the_broker_rejects_holds_up_nothing() -> None:
    kafka = Simulation()
    kafka.publish((1, b"stored"))
    kafka.complete()
    rejected = kafka.publish((1, b"too large"), (0, b"copy"))
    kafka.complete({1: REJECTED})
    assert rejected == [REJECTED]
    accepted = kafka.publish((1, b"small"))
    assert (values(kafka.requests[0]), origins(kafka.requests[0])) == ({1: [b"small"]}, [(2, 0)])
    kafka.complete()
    assert accepted == [[1]]


def test_a_call_without_records_is_answered_and_all_others_can_be_rejected() -> None:
    kafka = Simulation()
    assert kafka.publish() == [[]]
    calls = [kafka.publish((0, b"sent")), kafka.publish((0, b"waiting"))]
    kafka.batcher.reject_all(REJECTED)
    kafka.poll()
    assert calls == [[REJECTED], [REJECTED]]


partitions = st.integers(0, PARTITIONS - 1)
steps: st.SearchStrategy[Any] = st.one_of(
    st.lists(partitions, min_size=1, max_size=4),
    st.dictionaries(partitions, st.sampled_from([None, REJECTED]), max_size=2).map(lambda failing: ("fail", failing)),
    st.just(("lose", None)),
    st.floats(0, 3).map(lambda seconds: ("wait", seconds)),
    st.tuples(partitions, st.sampled_from([1, 2, None])).map(lambda move: ("move", move)),
)


@given(st.lists(steps, max_size=40))
def test_each_call_has_one_answer_and_accepted_records_are_stored_in_order(plan: list[Any]) -> None:
    kafka = Simulation()
    calls: list[tuple[list[int], list[Any]]] = []
    for step in plan:
        match step:
            case list(places):
                value = b"%d" % len(calls)
                calls.append((places, kafka.publish(*((partition, value) for partition in places))))
            case "wait", seconds:
                kafka.wait(seconds)
            case "move", (partition, leader):
                kafka.leaders[partition] = leader
            case "fail", failing if kafka.requests:
                kafka.complete(failing)
            case "lose", _ if kafka.requests:
                kafka.lose()
    while any(not answers for _, answers in calls):
        kafka.wait(0.2)
        if kafka.requests:
            kafka.complete()
    for number, (places, answers) in enumerate(calls):
        assert len(answers) == 1
        if not isinstance(answers[0], Unavailable):
            for partition, offset in zip(places, answers[0], strict=True):
                assert kafka.stored[partition][offset] == b"%d" % number
    for partition, stored in enumerate(kafka.stored):
        for first in range(PARTITIONS):
            numbers = [int(value) for value in stored if calls[int(value)][0][0] == first]
            assert numbers == sorted(numbers), f"of the calls that began in {first}, in {partition}"
        for value in stored:
            assert value in kafka.stored[calls[int(value)][0][0]], "never without the first record"
