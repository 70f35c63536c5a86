"""Measures the cost of traces for a message over all hops, in one thread and without engines:

python -m benchmarks.traces [--messages 5000] [--rounds 9]

A message goes from its frame through the dispatcher, the publisher, Kafka's batches, the log consumer and two sessions'
queues to the recorder; engines are functions that do nothing. CPU is the process's, including the thread that encodes
spans. The three modes alternate within a round; the table has medians. An untraced message's checks cost less than the
rounds differ, so they are also measured on their own, as often as one message meets them.
"""

import argparse
import gc
import logging
import math
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from statistics import median
from types import SimpleNamespace
from typing import Any, cast

import structlog
import trio
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind

from messaging.archive.recorder import Recorder
from messaging.gateway import tracing
from messaging.gateway.frames import ProtobufEncoding
from messaging.gateway.gateway import Gateway
from messaging.gateway.session import Session, State
from messaging.gateway.tail import Tail
from rookery.v1.session_pb2 import ClientFrame, Event, Send, Text
from shared.backplane import Destination, Record, StoredRecord
from shared.backplane.kafka.batches import Call, Identity, build_batch
from shared.backplane.protocol import Done
from shared.configuration import LiveConfiguration
from shared.configuration.live import Live
from shared.contract.chats import direct_chat_id
from shared.contract.ids import SnowflakeGenerator
from shared.contract.partitions import partition_of
from shared.coordination.ownership import GatewayAddress, LocalDirectory
from shared.signals.memory import LocalSignals
from shared.telemetry import collector, traces

PARTITIONS = 12

ANN, BEN = 1, 2

BUDGET = 5.0
"""Microseconds that traces may cost an untraced message."""


class Log:
    """A Backplane that acknowledges at once, after building batches as Kafka's producer does."""

    partitions = PARTITIONS
    destination = Destination("kafka", "rookery.events")

    def __init__(self) -> None:
        self.published: list[StoredRecord] = []
        self._ends = [0] * PARTITIONS

    def publish(self, records: Sequence[Record], done: Done, *, until: float = math.inf) -> None:
        first, rest = Call(records, done, 0, 1e9).split()
        for piece in (first, *rest):
            if piece is not None:
                build_batch(deque([piece]), piece.partition, Identity(1, 1), 1, 0)
        for partition, value, traceparent in records:
            self.published.append(StoredRecord(partition, self._ends[partition], 0, value, traceparent))
            self._ends[partition] += 1
        done([0] * len(records))

    def take(self) -> list[StoredRecord]:
        records, self.published = self.published, []
        return records


class Chats:
    """A ChatStore that stores nothing; a write is one span, as in Cassandra."""

    async def record(self, events: Sequence[Event], offsets: Mapping[int, int]) -> None:
        if below := traces.current_spans():
            with traces.child_spans(below, "BATCH", SpanKind.CLIENT, {"db.system.name": "cassandra"}):
                pass


class Encoder(SpanExporter):
    """An exporter that encodes and does not send."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS


class Hops:
    """The hops of a message."""

    def __init__(self, ratio: float) -> None:
        self.log = Log()
        self.gateway = Gateway(
            address=GatewayAddress("", ""),
            backplane=cast(Any, self.log),
            accounts=cast(Any, None),
            verifier=cast(Any, None),
            history=cast(Any, None),
            directory=LocalDirectory(),
            live=Live.fixed(LiveConfiguration(trace_ratio=ratio, tail_bytes=1024 * 1024, frames_per_second=1_000)),
            ids=SnowflakeGenerator(1),
            signals=LocalSignals(),
        )
        partitions = self.gateway.partitions
        partitions.tails = {partition: Tail(0) for partition in range(PARTITIONS)}
        partitions.set_consumer(cast(Any, SimpleNamespace(held_until=float("inf"))))
        lookups = cast(Any, self.gateway.publisher)._lookups
        lookups._cached_users[BEN], lookups._open_until[direct_chat_id(ANN, BEN)] = None, math.inf
        self.ann, *self.bens = [self._session(user_id) for user_id in (ANN, BEN, BEN)]
        self.recorder = cast(Any, Recorder(cast(Any, self.log), cast(Any, Chats())))
        self.recorder._watermarks = dict.fromkeys(range(PARTITIONS), 0)  # all are assigned

    def _session(self, user_id: int) -> Session:
        session = self.gateway.open_session(ProtobufEncoding())
        session.state, session.user_id = State.LIVE, user_id
        self.gateway.registry.attach(session)
        return session

    async def send(self, number: int) -> None:
        send = Send(client_message_id=f"{number}", recipient_id=BEN, text=Text(body="x" * 100))
        self.ann._allowance = 2.0  # the benchmark sends faster than a client may
        await self.gateway.dispatcher.receive(self.ann, ClientFrame(send=send, first_sent_ms_ago=0))
        records = self.log.take()
        for record in records:
            self.gateway.log_consumer.deliver(record)
        for session in (self.ann, *self.bens):
            assert session.take()
            if session.deliveries:
                tracing.end_deliveries(session)
        await self.recorder._record(records)

    def evict(self) -> None:
        self.gateway.log_consumer.evict()


async def microseconds_each(ratio: float, messages: int) -> float:
    hops = Hops(ratio)
    for number in range(messages // 10):
        await hops.send(number)
    gc.collect()
    gc.disable()
    began = time.process_time()
    for number in range(messages):
        await hops.send(messages + number)
        if number % 500 == 0:
            hops.evict()
    spent = time.process_time() - began
    gc.enable()
    return spent / messages * 1e6


@contextmanager
def exporting() -> Iterator[None]:
    """Spans are recorded, queued and encoded."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(collector.Processor(collector.Exporter(Encoder())))
    with traces.use_tracer(provider.get_tracer("benchmark")):
        yield
    provider.shutdown()


def checks(live: Live, session: Session, records: Sequence[StoredRecord]) -> None:
    """The checks for a span that an untraced message meets: the same expressions, as often."""
    traces.should_sample(live.value.trace_ratio)
    with nullcontext():  # the dispatcher
        span: object = None
    if span is None:  # the publisher's publish
        pass
    if span is not None:  # and its answer
        pass
    for record in records:
        _ = ((),) if record.traceparent else ()  # Kafka's batches
        _ = "headers" if record.traceparent else ""  # and its two consumers
        _ = "headers" if record.traceparent else ""
        _ = "span" if record.traceparent else None  # the log consumer
    for _ in range(2):
        if span is not None:  # each session
            pass
    if span is not None:  # after the last session
        pass
    for _ in range(3):
        if session.deliveries:  # the flusher
            pass
    any(record.traceparent for record in records)  # the recorder
    with nullcontext():
        traces.current_spans()  # the store, for a read and for a write
        traces.current_spans()


async def microseconds_of_checks(times: int = 200_000) -> float:
    """Without the cost of the loop and the call."""
    hops = Hops(0.01)
    records = [StoredRecord(partition_of(user_id, PARTITIONS), 1, 1, b"x") for user_id in (ANN, BEN)]
    live, session = Live.fixed(LiveConfiguration(trace_ratio=0)), hops.ann

    def nothing(*_: object) -> None:
        pass

    spent = []
    for work in (checks, nothing):
        began = time.process_time()
        for _ in range(times):
            work(live, session, records)
        spent.append(time.process_time() - began)
    return (spent[0] - spent[1]) / times * 1e6


async def measure(messages: int, rounds: int) -> dict[str, list[float]]:
    modes = {"not exported": (False, 0.0), "exported, not traced": (True, 0.0), "traced": (True, 1.0)}
    measured: dict[str, list[float]] = {name: [] for name in modes}
    for number in range(rounds + 1):
        for name, (is_exported, ratio) in modes.items():
            with exporting() if is_exported else nullcontext():
                each = await microseconds_each(ratio, messages)
            if number:  # the first round warms up
                measured[name].append(each)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the cost of traces for a message.")
    parser.add_argument("--messages", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    medians = {name: median(values) for name, values in trio.run(measure, options.messages, options.rounds).items()}
    off = medians["not exported"]
    print("| a message, over all hops | CPU in µs | more than not exported |\n| --- | --- | --- |")
    for name, value in medians.items():
        print(f"| {name} | {value:.1f} | {value - off:+.1f} |")
    with exporting():
        met = median(trio.run(microseconds_of_checks) for _ in range(5))
    print(f"| its checks alone, not traced | {met:.2f} | budget {BUDGET:g} |")


if __name__ == "__main__":
    main()
