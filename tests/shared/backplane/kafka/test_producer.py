"""What the producer sends, and what it makes of the answers: without a broker, a thread, or time that passes."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.backplane import Record
from shared.backplane.kafka.batcher import RETRY_BACKOFF
from shared.backplane.kafka.batches import MAX_BATCH_BYTES, Call, Identity, Piece, build_batch
from shared.backplane.kafka.kafka_python import DefaultRecordBatch, Future, ProduceRequest, errors
from shared.backplane.kafka.producer import DELIVERY_TIMEOUT, MAX_PENDING_CALLS, Producer
from shared.contract.errors import Unavailable

PARTITIONS = 3
NOT_LEADER = 6
TOO_LARGE = 10


@dataclass
class Sent:
    """A request to produce, with its batches by partition."""

    batches: dict[int, Any]
    future: Any

    def values(self, partition: int) -> list[bytes]:
        batch = DefaultRecordBatch(self.batches[partition])
        return [record.value for record in batch]

    def origin(self, partition: int) -> tuple[int, int]:
        """Who sends the batch, and the sequence number of its first record."""
        batch = DefaultRecordBatch(self.batches[partition])
        return batch.producer_id, batch.base_sequence


@dataclass
class FakeKafka:
    """The loop, the client and its one broker. The broker answers when it is told to."""

    now: float = 1_000.0
    timers: list[tuple[float, Callable[[], object]]] = field(default_factory=list)
    sent: list[Sent] = field(default_factory=list)
    identities: int = 0
    stored: list[list[bytes]] = field(default_factory=lambda: [[] for _ in range(PARTITIONS)])
    answers: list[list[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.net = SimpleNamespace(call_later=self._call_later, call_soon=self.call_soon)
        self.cluster = SimpleNamespace(leader_for_partition=lambda _: 1, request_update=lambda: None)
        self._manager = SimpleNamespace(send=self._send)
        self.producer = Producer(cast(Any, self), self, "topic", PARTITIONS)

    def assert_in_kafka_thread(self) -> None: ...

    def assert_in_trio_thread(self) -> None: ...

    def call_soon(self, work: Callable[[], object]) -> None:
        self._call_later(0, work)

    def call_trio_soon(self, function: Callable[..., object], *arguments: object) -> None:
        function(*arguments)

    def _call_later(self, delay: float, work: Callable[[], object]) -> None:
        self.timers.append((self.now + delay, work))

    def _send(self, request: Any, node_id: int | None = None) -> Any:
        future = Future()
        if isinstance(request, ProduceRequest):
            assert node_id == 1
            assert not self.sent, "one request is under way at a time"
            (topic,) = request.topic_data
            self.sent.append(Sent({p.index: bytes(p.records) for p in topic.partition_data}, future))
        else:
            self.identities += 1
            future.success(SimpleNamespace(producer_id=self.identities, producer_epoch=0, error_code=0))
        return future

    def run(self, seconds: float = 0.0) -> None:
        """What is due by then happens."""
        end = self.now + seconds
        while due := [timer for timer in self.timers if timer[0] <= end]:
            next_one = min(due, key=lambda timer: timer[0])
            self.timers.remove(next_one)
            self.now = max(self.now, next_one[0])
            next_one[1]()
        self.now = end

    def publish(self, *records: tuple[int, bytes]) -> list[Any]:
        """Its answers."""
        answers: list[Any] = []
        self.answers.append(answers)
        self.producer.publish([Record(*record) for record in records], 1, answers.append)
        self.run()
        return answers

    def answer(self, failing: Mapping[int, int] | None = None) -> None:
        """Store what the request has, but for partitions that fail with this code."""
        sent = self.sent.pop(0)
        outcomes = []
        for partition in sent.batches:
            code = (failing or {}).get(partition, 0)
            offset = len(self.stored[partition])
            if not code:
                self.stored[partition] += sent.values(partition)
            outcomes.append(SimpleNamespace(index=partition, error_code=code, base_offset=offset, error_message=None))
        sent.future.success(SimpleNamespace(responses=[SimpleNamespace(partition_responses=outcomes)]))
        self.run()

    def lose_connection(self) -> Sent:
        sent = self.sent.pop(0)
        sent.future.failure(errors.KafkaConnectionError("lost"))
        self.run()
        return sent


@contextmanager
def fake_kafka() -> Iterator[FakeKafka]:
    with pytest.MonkeyPatch.context() as patch:
        kafka = FakeKafka()
        patch.setattr(time, "monotonic", lambda: kafka.now)
        yield kafka


@pytest.fixture
def kafka() -> Iterator[FakeKafka]:
    with fake_kafka() as fake:
        yield fake


def test_what_comes_while_a_request_is_under_way_goes_together_with_the_next(kafka: FakeKafka) -> None:
    first = kafka.publish((0, b"a"))
    others = [kafka.publish((partition, value)) for partition, value in ((0, b"b"), (1, b"c"), (0, b"d"))]
    assert kafka.sent[0].values(0) == [b"a"]
    kafka.answer()
    assert first == [[0]]
    assert (kafka.sent[0].values(0), kafka.sent[0].values(1)) == ([b"b", b"d"], [b"c"])
    kafka.answer()
    assert others == [[[1]], [[0]], [[2]]]
    assert not kafka.sent


def test_the_others_go_only_when_the_first_record_is_stored(kafka: FakeKafka) -> None:
    answers = kafka.publish((2, b"first"), (0, b"other"), (2, b"with it"), (1, b"another"))
    assert kafka.sent[0].batches.keys() == {2}
    assert kafka.sent[0].values(2) == [b"first", b"with it"]
    kafka.answer()
    assert answers == []
    assert (kafka.sent[0].values(0), kafka.sent[0].values(1)) == ([b"other"], [b"another"])
    kafka.answer()
    assert answers == [[0, 0, 1, 0]]


def test_after_a_lost_connection_the_same_batch_is_sent_again(kafka: FakeKafka) -> None:
    answers = kafka.publish((0, b"a"))
    kafka.publish((0, b"later"))
    lost = kafka.lose_connection()
    assert not kafka.sent
    kafka.run(RETRY_BACKOFF)
    assert kafka.sent[0].batches == lost.batches, "the broker knows it again by its sequence number"
    kafka.answer()
    assert answers == [[0]]
    assert kafka.sent[0].origin(0) == (1, 1)


def test_a_partition_that_has_moved_is_tried_again_and_holds_up_no_other(kafka: FakeKafka) -> None:
    moved, other = kafka.publish((0, b"warm up")), kafka.publish((0, b"a"))
    kafka.answer({0: NOT_LEADER})
    there = kafka.publish((1, b"b"))
    kafka.answer()
    assert (moved, other, there) == ([], [], [[0]])
    kafka.run(RETRY_BACKOFF)
    kafka.answer()
    kafka.answer()
    assert (moved, other) == ([[0]], [[1]])


def test_a_call_that_is_not_acknowledged_in_time_is_refused_once_and_not_sent_any_more(kafka: FakeKafka) -> None:
    answers = kafka.publish((0, b"late"), (1, b"its copy"))
    late = kafka.sent[0]
    kafka.run(DELIVERY_TIMEOUT / 2)
    younger = kafka.publish((0, b"younger"))
    kafka.run(DELIVERY_TIMEOUT / 2 + 0.2)
    assert [type(answer) for answer in answers] == [Unavailable]
    assert younger == []
    kafka.answer()  # it was stored after all
    assert len(answers) == 1
    assert kafka.sent[0].batches.keys() == {0}, "the copy of what was refused is not sent"
    assert kafka.sent[0].values(0) == [b"younger"]
    assert kafka.sent[0].origin(0) == (2, 0), "whether the late one was stored was not known when this was made"
    assert late.origin(0) == (1, 0)
    kafka.answer()
    assert younger == [[1]]


def test_nothing_is_held_up_for_ever_by_a_record_that_the_broker_refuses(kafka: FakeKafka) -> None:
    kafka.publish((1, b"stored"))
    kafka.answer()
    refused = kafka.publish((1, b"too large"), (0, b"copy"))
    kafka.answer({1: TOO_LARGE})
    assert [type(answer) for answer in refused] == [Unavailable]
    accepted = kafka.publish((1, b"small"))
    assert kafka.sent[0].batches.keys() == {1}
    assert kafka.sent[0].origin(1) == (2, 0)
    kafka.answer()
    assert accepted == [[1]]


def test_too_much_is_refused_at_once_and_done_is_not_called(kafka: FakeKafka) -> None:
    for _ in range(MAX_PENDING_CALLS):
        kafka.producer.publish([Record(0, b"")], 0, lambda _: None)
    with pytest.raises(Unavailable, match="behind"):
        kafka.publish((0, b"x"))
    assert kafka.answers[-1] == []


def test_a_call_without_records_is_done(kafka: FakeKafka) -> None:
    assert kafka.publish() == [[]]


records = st.lists(st.integers(0, PARTITIONS - 1), min_size=1, max_size=4)
codes = st.dictionaries(st.integers(0, PARTITIONS - 1), st.sampled_from([NOT_LEADER, TOO_LARGE]), max_size=2)
steps: st.SearchStrategy[Any] = st.one_of(
    records,
    codes.map(lambda failing: ("answer", failing)),
    st.just(("lose", {})),
    st.floats(0, 3).map(lambda seconds: ("wait", seconds)),
)


@given(st.lists(steps, max_size=40))
def test_each_call_has_one_answer_and_what_is_accepted_is_stored_in_order(plan: list[Any]) -> None:
    with fake_kafka() as kafka:
        calls: list[tuple[list[int], list[Any]]] = []
        for step in plan:
            if isinstance(step, list):
                value = b"%d" % len(calls)
                calls.append((step, kafka.publish(*((partition, value) for partition in step))))
            elif step[0] == "wait":
                kafka.run(step[1])
            elif kafka.sent:
                kafka.answer(step[1]) if step[0] == "answer" else kafka.lose_connection()
        while any(not answers for _, answers in calls):
            kafka.run(0.2)
            if kafka.sent:
                kafka.answer()
        for number, (partitions, answers) in enumerate(calls):
            assert len(answers) == 1
            if not isinstance(answers[0], Unavailable):
                places = zip(partitions, answers[0], strict=True)
                assert all(kafka.stored[partition][offset] == b"%d" % number for partition, offset in places)
        for partition, stored in enumerate(kafka.stored):
            for first in range(PARTITIONS):
                numbers = [int(value) for value in stored if calls[int(value)][0][0] == first]
                assert numbers == sorted(numbers), f"of what began in {first}, in {partition}"
            for value in stored:
                assert value in kafka.stored[calls[int(value)][0][0]], "never without the first record"
        assert (kafka.producer.pending_calls, kafka.producer.pending_bytes) == (0, 0)


@given(st.lists(st.lists(st.integers(0, MAX_BATCH_BYTES), min_size=1, max_size=6), max_size=6))
def test_batches_are_bounded_and_lose_nothing(calls: list[list[int]]) -> None:
    waiting: deque[Piece] = deque()
    for number, sizes in enumerate(calls):
        call = Call([Record(0, bytes([number]) * size) for size in sizes], lambda _: None, 0, 0.0)
        waiting.append(Piece(call, 0, range(len(sizes))))
    written: list[bytes] = []
    sequence = 0
    while (batch := build_batch(waiting, 0, Identity(7, 0), sequence, 0)) is not None:
        decoded = DefaultRecordBatch(batch.buffer)
        assert (decoded.base_sequence, decoded.records_count) == (sequence, batch.records)
        assert len(batch.buffer) < 2 * MAX_BATCH_BYTES + 1_000
        assert batch.records == sum(len(piece.indices) for piece in batch.pieces)
        written += [record.value for record in decoded]
        sequence += batch.records
    assert written == [bytes([number]) * size for number, sizes in enumerate(calls) for size in sizes]
