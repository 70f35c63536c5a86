"""A process that is killed or frozen while it is a member of a consumer group, with and without its watchdog."""

import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from structlog.testing import capture_logs

from shared.backplane import Consumer
from shared.backplane.kafka.watchdog import Watchdog
from shared.settings import KafkaSettings
from tests.shared.backplane.conftest import LONG_SESSION, PARTITIONS, kafka_settings
from tests.shared.backplane.kafka.conftest import gain, instance, opened
from tests.waiting import PATIENCE, until
from tools.engines.kafka import Kafka

MEMBER = """
import sys, trio
from shared.backplane.kafka.backplane import open_kafka
from shared.settings import KafkaSettings

async def main():
    settings = KafkaSettings.model_validate_json(sys.argv[1])
    async with open_kafka(settings) as backplane, backplane.consume("group") as consumer:
        while True:
            if hasattr(event := await consumer.fetch(), "gained") and event.gained:
                print("owns", flush=True)

trio.run(main)
"""
"""A program that joins a group, and prints a word once it owns partitions."""


@asynccontextmanager
async def member_beside(settings: KafkaSettings) -> AsyncIterator[tuple[trio.Process, Consumer]]:
    """Run a process that owns all partitions, and yield it with another member of its group."""
    command = [sys.executable, "-c", MEMBER, instance(settings, "a").model_dump_json()]
    async with opened(instance(settings, "b")) as backplane:
        process = await trio.lowlevel.open_process(command, stdout=subprocess.PIPE)
        try:
            with trio.fail_after(PATIENCE):
                assert process.stdout is not None
                assert await process.stdout.receive_some()
            async with backplane.consume("group") as consumer:
                await until(lambda: consumer.held_until > trio.current_time())
                yield process, consumer
        finally:
            process.kill()
            await process.wait()


async def test_the_partitions_of_a_killed_process_move_long_before_its_session_times_out(kafka_server: Kafka) -> None:
    settings = kafka_settings(kafka_server)
    async with member_beside(settings) as (process, other):
        process.kill()
        with trio.fail_after(LONG_SESSION - 5):  # even on a busy machine
            await gain(other, PARTITIONS)


async def test_a_frozen_process_keeps_its_partitions_until_its_session_times_out(kafka_server: Kafka) -> None:
    settings = kafka_settings(kafka_server)
    async with member_beside(settings) as (process, other):
        process.send_signal(signal.SIGSTOP)
        with trio.move_on_after(2.0) as waited:
            await gain(other, 1)
        assert waited.cancelled_caught


async def test_the_watchdog_ends_with_its_process(kafka_server: Kafka) -> None:
    async with opened(kafka_settings(kafka_server)) as backplane:
        async with backplane.consume("group") as consumer:
            await gain(consumer, PARTITIONS)
        process = backplane._watchdog._process
        assert process is not None
        assert process.poll() is None, "it serves the next consumer, too"
    assert process.returncode == -signal.SIGKILL


def test_a_process_without_a_watchdog_is_a_member_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/program")
    watchdog = Watchdog(KafkaSettings())
    with capture_logs() as logs:
        watchdog.start()
    watchdog.joined("group", "a", "1")
    watchdog.close()
    assert [each["event"] for each in logs] == ["watchdog_not_started"]
