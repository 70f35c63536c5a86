"""What only Kafka has: topics made beforehand, brokers that die or stand still, members that come and go."""

import itertools
import math
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from importlib import import_module
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from shared.backplane import Assignment, Backplane, Consumer, Fetched, Record, StoredRecord
from shared.backplane.kafka import backplane as kafka
from shared.backplane.kafka import client as kafka_client
from shared.backplane.kafka import fetch_queue, reader
from shared.backplane.kafka import member as kafka_member
from shared.backplane.kafka import producer as kafka_producer
from shared.backplane.kafka.backplane import KafkaBackplane, open_kafka
from shared.backplane.kafka.client import connection_options
from shared.backplane.kafka.topics import migrate_topics
from shared.backplane.publishing import publish_and_wait
from shared.contract.errors import Unavailable
from shared.settings import KafkaSettings
from tests.shared.backplane.conftest import LONG_SESSION, PARTITIONS, PATIENCE, TRACEPARENT, kafka_settings
from tools.engines.engine import free_port
from tools.engines.kafka import Kafka

REFUSED_SECONDS = kafka_producer.DELIVERY_TIMEOUT + 15
"""For an answer, whatever the broker does: five are promised, a busy machine takes more. The library takes minutes."""

RECOVERY_SECONDS = 20.0
"""From a broker's return to the first answer. It takes one or two; the library alone would not look for 30."""

CLOSE_SECONDS = 15.0
"""For closing while the broker is away. It takes one or two."""

SESSION_SECONDS = 2.0

stock: Any = import_module("kafka")
"""kafka-python as everybody else uses it."""


@asynccontextmanager
async def opened(settings: KafkaSettings) -> AsyncIterator[KafkaBackplane]:
    await migrate_topics(settings)
    async with open_kafka(settings) as backplane:
        yield backplane


class Publisher:
    """Publishes numbers, in order, and keeps each answer."""

    def __init__(self, backplane: Backplane) -> None:
        self._backplane = backplane
        self.answers: dict[int, list[object]] = {}
        self.times: dict[int, float] = {}

    def publish(self) -> None:
        number = len(self.answers)
        answers: list[object] = []
        self.answers[number] = answers
        began = trio.current_time()

        def done(answer: object) -> None:
            answers.append(answer)
            self.times[number] = trio.current_time() - began

        value = b"%d" % number
        self._backplane.publish([Record(0, value), Record(1, value)], done)

    async def publish_until(self, event: trio.Event) -> None:
        while not event.is_set():
            self.publish()
            await trio.sleep(0.002)

    async def settled(self) -> None:
        with trio.fail_after(PATIENCE):
            while not all(self.answers.values()):
                await trio.sleep(0.01)

    @property
    def accepted(self) -> set[int]:
        return {number for number, answers in self.answers.items() if not isinstance(answers[0], Exception)}


async def read_until(consumer: Consumer, wanted: Callable[[list[StoredRecord]], bool]) -> list[StoredRecord]:
    records: list[StoredRecord] = []
    with trio.fail_after(PATIENCE):
        while not wanted(records):
            event = await consumer.fetch()
            if isinstance(event, Fetched):
                records.extend(event.records)
    return records


def assert_all_is_there(publisher: Publisher, records: list[StoredRecord]) -> None:
    """Each call had one answer; what was accepted is in both partitions, in order, whatever was refused."""
    assert {len(answers) for answers in publisher.answers.values()} == {1}
    assert {type(answers[0]) for answers in publisher.answers.values()} <= {list, Unavailable}
    for partition in (0, 1):
        numbers = [int(record.value) for record in records if record.partition == partition]
        accepted = [number for number in dict.fromkeys(numbers) if number in publisher.accepted]
        assert accepted == sorted(publisher.accepted)
        assert len(numbers) == len(set(numbers)), "nothing is there twice, since nothing was published twice"


def has_all(publisher: Publisher) -> Callable[[list[StoredRecord]], bool]:
    def check(records: list[StoredRecord]) -> bool:
        return all(
            publisher.accepted <= {int(record.value) for record in records if record.partition == partition}
            for partition in (0, 1)
        )

    return check


async def test_what_is_acknowledged_survives_a_killed_broker_and_the_rest_is_answered_once(
    own_kafka: Callable[[], Kafka],
) -> None:
    server = await trio.to_thread.run_sync(own_kafka)
    async with opened(kafka_settings(server)) as backplane, backplane.consume("readers") as consumer:
        publisher = Publisher(backplane)
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publisher.publish_until, stop)
            await read_until(consumer, lambda records: len(records) > 100)
            await trio.to_thread.run_sync(server.kill)
            await trio.to_thread.run_sync(server.start)
            back = trio.current_time()
            await publish_and_wait_until_accepted(backplane)
            assert trio.current_time() - back < RECOVERY_SECONDS, "it recovers by itself"
            stop.set()
        await publisher.settled()
        assert_all_is_there(publisher, await read_again(backplane, publisher))
        assert max(publisher.times.values()) < REFUSED_SECONDS
        with trio.fail_after(PATIENCE):
            await consumer.commit({0: 1})
            before = consumer.held_until
            while consumer.held_until <= before:
                await trio.sleep(0.01)


async def read_again(backplane: Backplane, publisher: Publisher) -> list[StoredRecord]:
    """All that is in the log, at least what was accepted: from its beginning, by a consumer that had no broker die."""
    async with backplane.consume("another group") as consumer:
        return [record for record in await read_until(consumer, has_all(publisher)) if record.partition < 2]


async def publish_and_wait_until_accepted(backplane: Backplane) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            try:
                await publish_and_wait(backplane, [Record(3, b"back")])
            except Unavailable:
                continue
            return


async def test_a_broker_that_stands_still_has_calls_refused_within_seconds_and_never_accepted_too(
    own_kafka: Callable[[], Kafka],
) -> None:
    server = await trio.to_thread.run_sync(own_kafka)
    async with opened(kafka_settings(server)) as backplane, backplane.consume("readers") as consumer:
        publisher = Publisher(backplane)
        stop = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(publisher.publish_until, stop)
            await read_until(consumer, lambda records: len(records) > 100)
            server.freeze()
            await trio.sleep(7)  # longer than the 5 s that a call has
            with pytest.raises(Unavailable):
                await consumer.commit({0: 1})
            server.thaw()
            await publish_and_wait_until_accepted(backplane)
            stop.set()
        await publisher.settled()
        refused = publisher.answers.keys() - publisher.accepted
        assert refused
        assert max(publisher.times.values()) < REFUSED_SECONDS
        records = await read_again(backplane, publisher)
        assert {len(answers) for answers in publisher.answers.values()} == {1}
        for partition in (0, 1):
            numbers = [int(record.value) for record in records if record.partition == partition]
            first = [number for number in dict.fromkeys(numbers) if number in publisher.accepted]
            assert first == sorted(publisher.accepted)


async def test_another_number_of_partitions_is_refused_with_both_numbers(kafka_server: Kafka) -> None:
    settings = kafka_settings(kafka_server)
    await migrate_topics(settings)
    other = settings.model_copy(update={"partitions": 7})
    with pytest.raises(Unavailable, match=r"has 4 partitions, `kafka.partitions` says 7.*`rookery migrate`"):
        async with open_kafka(other):
            pass
    with pytest.raises(Unavailable, match=r"has 4 partitions, `kafka.partitions` says 7"):
        await migrate_topics(other)


async def test_a_topic_that_is_not_there_is_never_made_on_the_way(own_kafka: Callable[..., Kafka]) -> None:
    options = {"auto.create.topics.enable": "true"}
    settings = kafka_settings(await trio.to_thread.run_sync(own_kafka, options))
    for _ in range(2):
        with pytest.raises(Unavailable, match=r"has no topic test-.*`rookery migrate` makes it"):
            async with open_kafka(settings):
                pass


async def test_topics_are_made_once_when_several_processes_make_them(kafka_server: Kafka) -> None:
    settings = kafka_settings(kafka_server)
    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(migrate_topics, settings)
    async with open_kafka(settings) as backplane:
        await publish_and_wait(backplane, [Record(partition, b"x") for partition in range(PARTITIONS)])


async def test_times_are_the_brokers(kafka_server: Kafka, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(kafka_settings(kafka_server)) as backplane, backplane.consume("readers") as consumer:
        now = time.time
        monkeypatch.setattr(time, "time", lambda: now() - 10_000)
        await publish_and_wait(backplane, [Record(0, b"x")])
        (record,) = await read_until(consumer, lambda records: len(records) > 0)
        assert abs(record.at_ms - now() * 1000) < 1000 * PATIENCE


async def test_a_broker_that_is_away_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_client, "CONNECT_TIMEOUT", 0.3)
    settings = KafkaSettings(servers=(f"127.0.0.1:{free_port()}",))
    for use in (open_kafka(settings).__aenter__, lambda: migrate_topics(settings)):
        with trio.fail_after(PATIENCE), pytest.raises(Unavailable, match=r"Kafka at 127\.0\.0\.1"):
            await use()


async def gains(consumer: Consumer, wanted: int) -> set[int]:
    """The partitions that the consumer has when they are so many."""
    owned: set[int] = set()
    with trio.fail_after(PATIENCE):
        while len(owned) < wanted:
            event = await consumer.fetch()
            if isinstance(event, Assignment):
                owned = (owned - event.lost) | event.gained
    return owned


def instance(settings: KafkaSettings, name: str) -> KafkaSettings:
    return settings.model_copy(update={"instance": name})


async def test_a_member_that_closes_leaves_at_once(kafka_server: Kafka, patient: None) -> None:
    settings = kafka_settings(kafka_server)
    async with opened(instance(settings, "b")) as b, b.consume("group") as second:
        await gains(second, PARTITIONS)
        async with opened(instance(settings, "a")) as a, a.consume("group") as first, trio.open_nursery() as nursery:
            nursery.start_soon(gains, second, 1000)  # it lets go of what it loses
            await gains(first, PARTITIONS // 2)
            nursery.cancel_scope.cancel()
        with trio.fail_after(LONG_SESSION - 5):  # even on a busy machine
            await gains(second, PARTITIONS // 2)


async def stop_the_loop(backplane: KafkaBackplane) -> Callable[[], None]:
    """What its group sees of a process that is frozen: no sign of life. It goes on when what this returns is called."""
    stands, go_on = threading.Event(), threading.Event()

    def stand_still() -> None:
        stands.set()
        go_on.wait(2 * PATIENCE)

    backplane._loop.call_soon(stand_still)
    await trio.to_thread.run_sync(stands.wait)
    return go_on.set


async def test_the_partitions_of_a_frozen_member_move_and_it_knows_when_it_wakes(kafka_server: Kafka) -> None:
    b = instance(kafka_settings(kafka_server), "b")
    a = instance(b, "a").model_copy(update={"session_timeout_seconds": SESSION_SECONDS})
    async with opened(a) as sleeping, opened(b) as awake, sleeping.consume("group") as frozen:
        await gains(frozen, PARTITIONS)
        await read_nothing(frozen)
        go_on = await stop_the_loop(sleeping)
        async with awake.consume("group") as other:
            assert await gains(other, PARTITIONS) == set(range(PARTITIONS))
            assert frozen.held_until < trio.current_time() < other.held_until
            go_on()
            with trio.fail_after(PATIENCE):
                event = await frozen.fetch()
            assert isinstance(event, Assignment)
            assert event.lost == set(range(PARTITIONS)), "it hears what it lost before it is given anything"
            await frozen.commit({0: 1})  # of a partition that it lost: does no harm
        assert await gains(frozen, PARTITIONS) == set(range(PARTITIONS))
        with trio.fail_after(PATIENCE):
            while frozen.held_until <= trio.current_time():
                await trio.sleep(0.01)


async def read_nothing(consumer: Consumer) -> None:
    """Tell the member that its consumer has acted on its assignment."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(consumer.fetch)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


async def test_a_process_that_was_killed_and_returns_soon_has_its_partitions_without_a_move(
    kafka_server: Kafka,
) -> None:
    settings = kafka_settings(kafka_server).model_copy(update={"session_timeout_seconds": 20.0})
    async with opened(instance(settings, "b")) as b, b.consume("group") as other:
        await gains(other, PARTITIONS)
        moves: list[Assignment] = []

        async def follow() -> None:
            while True:
                event = await other.fetch()
                if isinstance(event, Assignment):
                    moves.append(event)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            async with opened(instance(settings, "a")) as a, a.consume("group") as killed:
                owned = await gains(killed, PARTITIONS // 2)
                killed._member.failure = "killed: it does not say goodbye"
            before = list(moves)
            async with opened(instance(settings, "a")) as a, a.consume("group") as returned:
                assert await gains(returned, PARTITIONS // 2) == owned
            assert [move for move in moves[len(before) :] if move.lost] == []
            nursery.cancel_scope.cancel()


async def test_a_name_that_another_process_has_taken_is_told(kafka_server: Kafka) -> None:
    settings = kafka_settings(kafka_server, instance="same")
    async with opened(settings) as one, one.consume("group") as first:
        await gains(first, PARTITIONS)
        async with opened(settings) as two, two.consume("group") as second:
            await gains(second, PARTITIONS)
            with trio.fail_after(PATIENCE), pytest.raises(Unavailable, match=r"as same.*`kafka.instance`"):
                await gains(first, 1_000)
            assert first.held_until == -math.inf


async def test_a_group_that_will_not_have_us_is_told(kafka_server: Kafka) -> None:
    settings = kafka_settings(kafka_server).model_copy(update={"session_timeout_seconds": 0.5})
    async with opened(settings) as backplane, backplane.consume("group") as consumer:
        with trio.fail_after(PATIENCE), pytest.raises(Unavailable, match="InvalidSessionTimeout"):
            await consumer.fetch()


async def test_a_member_that_does_not_let_go_loses_its_partitions_all_the_same(
    kafka_server: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_member, "RELEASE_TIMEOUT", 0.3)
    async with opened(kafka_settings(kafka_server)) as backplane, backplane.consume("group") as stubborn:
        await gains(stubborn, PARTITIONS)
        async with backplane.consume("group") as other:
            assert len(await gains(other, PARTITIONS // 2)) == PARTITIONS // 2


async def test_other_programs_find_the_trace_in_the_header_where_all_look_for_it(kafka_server: Kafka) -> None:
    settings = kafka_settings(kafka_server)
    others = [("tracestate", b"vendor=1"), ("empty", b""), ("traceparent", TRACEPARENT.encode())]

    def produce() -> None:
        with closing(stock.KafkaProducer(bootstrap_servers=kafka_server.address)) as producer:
            producer.send(settings.topic, b"theirs", headers=others, partition=0).get(PATIENCE)

    def consume() -> list[tuple[bytes, list[tuple[str, bytes]]]]:
        place = stock.TopicPartition(settings.topic, 0)
        with closing(stock.KafkaConsumer(bootstrap_servers=kafka_server.address)) as consumer:
            consumer.assign([place])
            consumer.seek_to_beginning(place)
            records: list[Any] = []
            while len(records) < 3:
                records += consumer.poll(1_000).get(place, [])
            return [(record.value, list(record.headers)) for record in records]

    async with opened(settings) as backplane, backplane.consume("readers") as consumer:
        await publish_and_wait(backplane, [Record(0, b"untraced"), Record(0, b"traced", TRACEPARENT)])
        await trio.to_thread.run_sync(produce)
        await gains(consumer, PARTITIONS)
        records = await read_until(consumer, lambda records: len(records) == 3)
    assert [record.traceparent for record in records] == ["", TRACEPARENT, TRACEPARENT]
    assert (await trio.to_thread.run_sync(consume))[:2] == [
        (b"untraced", []),
        (b"traced", [("traceparent", TRACEPARENT.encode())]),
    ]


async def test_an_offset_that_is_not_there_any_more_goes_on_at_the_oldest(kafka_server: Kafka) -> None:
    async with opened(kafka_settings(kafka_server)) as backplane, backplane.consume("readers") as consumer:
        await publish_and_wait(backplane, [Record(0, b"oldest"), Record(0, b"next")])
        await gains(consumer, PARTITIONS)
        consumer.seek(0, 1_000)
        records = await read_until(consumer, lambda records: len(records) == 2)
        assert [record.value for record in records] == [b"oldest", b"next"]


async def test_a_fetch_that_can_not_be_sent_loses_nothing_of_the_one_before(kafka_server: Kafka) -> None:
    async with opened(kafka_settings(kafka_server)) as backplane, backplane.consume("readers") as consumer:
        await gains(consumer, PARTITIONS)
        fetcher = consumer._member.reader._fetcher
        send, calls = fetcher._send_fetches_async, itertools.count()

        async def send_every_other() -> object:
            if next(calls) % 2:
                raise stock.errors.NodeNotReadyError
            return await send()

        fetcher._send_fetches_async = send_every_other
        for number in range(50):
            await publish_and_wait(backplane, [Record(0, b"%d" % number)])
        records = await read_until(consumer, lambda records: any(record.value == b"49" for record in records))
        assert [int(record.value) for record in records] == list(range(50))


async def test_a_consumer_that_takes_nothing_is_given_a_bounded_amount(
    kafka_server: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch_queue, "MAX_BUFFERED_BYTES", 20_000)
    monkeypatch.setattr(reader, "FETCH_MAX_BYTES", 100_000)  # since an answer may come on top
    async with opened(kafka_settings(kafka_server)) as backplane, backplane.consume("readers") as consumer:
        await gains(consumer, PARTITIONS)
        await read_nothing(consumer)
        for _ in range(100):
            await publish_and_wait(backplane, [Record(0, bytes(1_000))] * 10)
        with trio.move_on_after(1):
            while True:
                assert consumer._queue.size < 500_000
                await trio.sleep(0.01)
        assert len(await read_until(consumer, lambda records: len(records) >= 1_000)) == 1_000


async def test_a_consumer_waits_for_a_broker_that_is_away(
    own_kafka: Callable[[], Kafka], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka, "LOOKUP_TIMEOUT", 0.5)
    server = await trio.to_thread.run_sync(own_kafka)
    async with opened(kafka_settings(server)) as backplane:
        await trio.to_thread.run_sync(server.kill)
        async with backplane.consume("readers") as consumer:
            with trio.move_on_after(1) as waited:
                await consumer.fetch()
            assert waited.cancelled_caught
            with pytest.raises(Unavailable):
                await backplane.end_offset(0)
            began = trio.current_time()
        assert trio.current_time() - began < CLOSE_SECONDS
        async with backplane.consume("readers") as consumer:
            await trio.to_thread.run_sync(server.start)
            assert await gains(consumer, PARTITIONS) == set(range(PARTITIONS))


async def everything(settings: KafkaSettings) -> None:
    """One of each thing that waits."""
    async with open_kafka(settings) as backplane, backplane.consume("cancelled") as consumer:
        backplane.publish([Record(0, b"x"), Record(1, b"x")], lambda _: None)
        await gains(consumer, PARTITIONS)
        consumer.seek(0, 0)
        await read_until(consumer, lambda records: len(records) > 0)
        await consumer.commit({0: 1})
        await backplane.offset_at(0, 2**50)


async def no_thread_is_left() -> None:
    """Soon: a loop is not waited for while it is amid something."""
    with trio.fail_after(PATIENCE):
        while any("kafka" in thread.name for thread in threading.enumerate()):
            await trio.sleep(0.01)


class Cancelling(trio.abc.Instrument):
    """Cancels a scope when its task is about to go on for the nth time: at one of its awaits after the other."""

    def __init__(self, scope: trio.CancelScope, task: trio.lowlevel.Task, steps: int) -> None:
        self._scope = scope
        self._task = task
        self._steps = steps

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self._task:
            self._steps -= 1
            if self._steps == 0:
                self._scope.cancel()


async def cancel_at_every_await(settings: KafkaSettings, limit: int) -> int:
    """How often `everything` was cancelled before it ended by itself, or at the limit."""
    for steps in range(1, limit):
        began = trio.current_time()
        with trio.CancelScope() as scope:
            instrument = Cancelling(scope, trio.lowlevel.current_task(), steps)
            trio.lowlevel.add_instrument(instrument)
            try:
                await everything(settings)
            except Unavailable:
                pass
            finally:
                trio.lowlevel.remove_instrument(instrument)
        await no_thread_is_left()
        if not scope.cancelled_caught:
            return steps
        assert trio.current_time() - began < PATIENCE
    return limit


async def test_cancelled_at_any_await_it_closes_and_leaves_no_thread(kafka_server: Kafka) -> None:
    settings = kafka_settings(kafka_server)
    await migrate_topics(settings)
    assert 5 < await cancel_at_every_await(settings, 200) < 200


async def test_cancelled_while_the_broker_is_away_it_closes_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = KafkaSettings(servers=(f"127.0.0.1:{free_port()}",))
    for patience in (0.0, 0.05, 0.3):
        began = trio.current_time()
        with trio.move_on_after(patience) as scope:
            await everything(settings)
        assert scope.cancelled_caught
        assert trio.current_time() - began < patience + CLOSE_SECONDS
        await no_thread_is_left()


def test_settings_say_how_to_connect() -> None:
    settings = KafkaSettings.model_validate(
        {
            "servers": "a:1, b:2",
            "security": "SASL_SSL",
            "ca_file": "/ca.pem",
            "username": "rookery",
            "password": "secret",
        }
    )
    options = connection_options(settings)
    assert options["bootstrap_servers"] == ["a:1", "b:2"]
    assert (options["ssl_cafile"], options["ssl_certfile"], options["ssl_keyfile"]) == ("/ca.pem", None, None)
    assert (options["sasl_mechanism"], options["sasl_plain_username"]) == ("SCRAM-SHA-512", "rookery")
    assert options["sasl_plain_password"] == "secret"
    plain = connection_options(KafkaSettings(username="rookery"))
    assert not any(name.startswith(("ssl", "sasl")) for name in plain)
