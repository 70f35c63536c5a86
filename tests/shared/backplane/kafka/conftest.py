"""A backplane on a real broker, and helpers for tests in which the broker or a member fails."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from shared.backplane import Assignment, Backplane, Consumer, Record, StoredRecord
from shared.backplane.kafka.backplane import KafkaBackplane, open_kafka
from shared.backplane.kafka.topics import migrate_topics
from shared.backplane.publishing import publish_and_wait
from shared.contract.errors import Unavailable
from shared.settings import KafkaSettings
from tests.needed import needed
from tests.waiting import PATIENCE, until
from tools.engines.engine import running
from tools.engines.kafka import Kafka

CLOSE_SECONDS = 15.0
"""For closing while the broker is away. It takes one or two; a busy machine takes more."""

PAUSE = 0.01
"""Seconds between two calls of a publisher. Thousands of pending calls would slow down a broker that starts."""


@pytest.fixture(scope="package")
def fragile_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    """A broker for tests that kill or freeze it, and leave it running. It creates topics on their first use."""
    needed(Kafka.install)
    options = {"auto.create.topics.enable": "true"}
    with running(Kafka(tmp_path_factory.mktemp("fragile") / "kafka", options)) as ready:
        yield ready


@asynccontextmanager
async def opened(settings: KafkaSettings) -> AsyncIterator[KafkaBackplane]:
    await migrate_topics(settings)
    async with open_kafka(settings) as backplane:
        yield backplane


class Publisher:
    """Publishes numbers to partitions 0 and 1, in order, and keeps each call's answers and seconds."""

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
            await trio.sleep(PAUSE)

    async def until_answered(self) -> None:
        await until(lambda: all(self.answers.values()))

    @property
    def refused(self) -> set[int]:
        return {number for number, answers in self.answers.items() if answers and isinstance(answers[0], Exception)}

    @property
    def accepted(self) -> set[int]:
        return self.answers.keys() - self.refused

    def assert_stored(self, records: list[StoredRecord]) -> None:
        """Each call had one answer; the accepted numbers are in both partitions, in order."""
        assert {len(answers) for answers in self.answers.values()} == {1}
        assert {type(answers[0]) for answers in self.answers.values()} <= {list, Unavailable}
        for partition in (0, 1):
            numbers = dict.fromkeys(int(record.value) for record in records if record.partition == partition)
            assert [number for number in numbers if number in self.accepted] == sorted(self.accepted)


async def publish_until_accepted(backplane: Backplane) -> None:
    with trio.fail_after(PATIENCE):
        while True:
            try:
                await publish_and_wait(backplane, [Record(3, b"back")])
            except Unavailable:
                continue
            return


async def gain(consumer: Consumer, count: int) -> set[int]:
    """Fetch until the consumer owns this many partitions, and return them."""
    owned: set[int] = set()
    with trio.fail_after(PATIENCE):
        while len(owned) < count:
            event = await consumer.fetch()
            if isinstance(event, Assignment):
                owned = (owned - event.lost) | event.gained
    return owned


async def acknowledge(consumer: Consumer) -> None:
    """Acknowledge the assignment to the member: fetch, without waiting for a record."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(consumer.fetch)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()


def instance(settings: KafkaSettings, name: str) -> KafkaSettings:
    return settings.model_copy(update={"instance": name})
