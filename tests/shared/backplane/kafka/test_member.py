"""Members of a group that leave, freeze, return, or conflict."""

import math
import threading
import time
from collections.abc import Awaitable, Callable

import pytest
import trio

from shared.backplane import Assignment, Checkpoint, Record
from shared.backplane.kafka import member as kafka_member
from shared.backplane.kafka.backplane import KafkaBackplane
from shared.backplane.kafka.client import open_kafka_loop
from shared.backplane.kafka.consumer import KafkaConsumer
from shared.backplane.kafka.fetch_queue import FetchQueue, Notification
from shared.backplane.kafka.member import Member
from shared.backplane.kafka.watchdog import Watchdog
from shared.contract.errors import Unavailable
from shared.settings import KafkaSettings
from tests.shared.backplane.conftest import LONG_SESSION, PARTITIONS, kafka_settings
from tests.shared.backplane.kafka.conftest import acknowledge, gain, instance, opened
from tests.waiting import PATIENCE, until
from tools.engines.kafka import Kafka

SESSION_SECONDS = 2.0
"""For a member that is to be excluded."""


async def test_a_member_refuses_calls_in_the_wrong_thread() -> None:
    async with open_kafka_loop(KafkaSettings()) as loop:
        watchdog = Watchdog(loop.settings)
        member = Member(loop, watchdog, "group", "instance", 0.0, FetchQueue(loop, lambda: None))

        async def start() -> None:
            member.start()

        with pytest.raises(AssertionError, match="only Trio's thread"):
            await loop.call("", PATIENCE, start)
        with pytest.raises(AssertionError, match="only Kafka's thread"):
            member.acknowledge(Notification(1, Assignment(frozenset(), frozenset())))
        for call in (member.committed([], 0), member.commit({}, 0.0), member.close(loop.client())):
            with pytest.raises(AssertionError, match="only Kafka's thread"):
                call.send(None)


async def test_a_member_that_closes_leaves_at_once(kafka_server: Kafka, patient: None) -> None:
    settings = kafka_settings(kafka_server)
    async with opened(instance(settings, "b")) as b, b.consume("group") as second:
        await gain(second, PARTITIONS)
        async with opened(instance(settings, "a")) as a, a.consume("group") as first, trio.open_nursery() as nursery:
            nursery.start_soon(gain, second, 1000)  # it releases what it loses
            await gain(first, PARTITIONS // 2)
            nursery.cancel_scope.cancel()
        with trio.fail_after(LONG_SESSION - 5):  # even on a busy machine
            await gain(second, PARTITIONS // 2)


async def block_kafka_thread(backplane: KafkaBackplane) -> Callable[[], None]:
    """Stop the heartbeats, as if the process were frozen. Return the function that ends this."""
    blocked, go_on = threading.Event(), threading.Event()

    def block() -> None:
        blocked.set()
        go_on.wait(2 * PATIENCE)

    backplane._loop.call_soon(block)
    await trio.to_thread.run_sync(blocked.wait)
    return go_on.set


async def test_a_member_that_closes_during_a_rebalance_does_not_join_again(
    kafka_server: Kafka, patient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = kafka_settings(kafka_server)
    async with opened(instance(settings, "b")) as b, b.consume("group") as second:
        await gain(second, PARTITIONS)
        async with opened(instance(settings, "a")) as a, a.consume("group") as first:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(gain, second, 1000)  # it releases what it loses
                await gain(first, PARTITIONS // 2)
                nursery.cancel_scope.cancel()
            go_on = await block_kafka_thread(b)
            settle(first)
            await until(lambda: first._member._coordinator._join_task)  # it waits for b, or the end of a's membership
            monkeypatch.setattr(a._client._manager, "wait_for", wait_longer(a))
        go_on()
        with trio.fail_after(LONG_SESSION - 5):  # even on a busy machine
            await gain(second, PARTITIONS // 2)


def wait_longer(backplane: KafkaBackplane) -> Callable[..., Awaitable[None]]:
    """Return a `wait_for` of its manager that takes a second longer: so a later answer may come first."""
    wait_for = backplane._client._manager.wait_for

    async def wait(*arguments: object) -> None:
        await wait_for(*arguments)
        await backplane._loop.net.sleep(1)

    return wait


async def test_the_partitions_of_a_frozen_member_move_and_it_is_notified_when_it_wakes(kafka_server: Kafka) -> None:
    b = instance(kafka_settings(kafka_server), "b")
    a = instance(b, "a").model_copy(update={"session_timeout_seconds": SESSION_SECONDS})
    async with opened(a) as sleeping, opened(b) as awake, sleeping.consume("group") as frozen:
        await gain(frozen, PARTITIONS)
        await acknowledge(frozen)
        go_on = await block_kafka_thread(sleeping)
        async with awake.consume("group") as other:
            assert await gain(other, PARTITIONS) == set(range(PARTITIONS))
            assert frozen.held_until < trio.current_time() < other.held_until
            go_on()
            await until(lambda: frozen._member.heartbeat_at > -math.inf and frozen._member.unreleased)
            assert frozen.held_until == -math.inf, "it is a member again, and has not heard yet that it was not"
            with trio.fail_after(PATIENCE):
                event = await frozen.fetch()
            assert isinstance(event, Assignment)
            assert event.lost == set(range(PARTITIONS)), "the loss comes before any record"
            await frozen.commit({0: Checkpoint(1)})  # of a partition that it lost: no effect
        assert await gain(frozen, PARTITIONS) == set(range(PARTITIONS))
        await until(lambda: frozen.held_until > trio.current_time())


async def test_a_member_whose_machine_was_suspended_sends_and_holds_nothing_until_the_group_confirms_it_anew(
    kafka_server: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Meanwhile CLOCK_MONOTONIC stands still, and CLOCK_BOOTTIME runs on."""
    clock_gettime, suspended = time.clock_gettime, 0.0
    monkeypatch.setattr(time, "clock_gettime", lambda clock: clock_gettime(clock) + suspended)
    async with opened(kafka_settings(kafka_server)) as backplane, backplane.consume("group") as consumer:
        await gain(consumer, PARTITIONS)
        await until(lambda: consumer.held_until > trio.current_time())
        go_on = await block_kafka_thread(backplane)
        answers: list[object] = []
        backplane.publish([Record(0, b"late")], answers.append, until=consumer.held_until)
        suspended = 2 * LONG_SESSION
        assert consumer.held_until < trio.current_time()
        go_on()
        await until(lambda: answers)
        assert isinstance(answers[0], Unavailable)
        await until(lambda: consumer.held_until > trio.current_time())


async def test_a_process_that_is_killed_with_its_watchdog_and_returns_soon_has_its_partitions_without_a_rebalance(
    kafka_server: Kafka,
) -> None:
    settings = kafka_settings(kafka_server).model_copy(update={"session_timeout_seconds": 20.0})
    async with opened(instance(settings, "b")) as b, b.consume("group") as other:
        await gain(other, PARTITIONS)
        losses: list[Assignment] = []

        async def follow() -> None:
            while True:
                event = await other.fetch()
                if isinstance(event, Assignment) and event.lost:
                    losses.append(event)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(follow)
            async with opened(instance(settings, "a")) as a, a.consume("group") as killed:
                owned = await gain(killed, PARTITIONS // 2)
                killed._member.failure = "killed: it does not leave"
            before = len(losses)
            async with opened(instance(settings, "a")) as a, a.consume("group") as returned:
                assert await gain(returned, PARTITIONS // 2) == owned
            assert len(losses) == before
            nursery.cancel_scope.cancel()


async def test_a_newcomer_gains_partitions_of_a_settled_member_when_it_is_settled_too(kafka_server: Kafka) -> None:
    async with opened(kafka_settings(kafka_server)) as backplane, backplane.consume("group") as first:
        await gain(first, PARTITIONS)
        settle(first)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gain, first, 1000)  # it releases what it loses
            await until(lambda: not first._member._assignor.is_newcomer)
            async with backplane.consume("group") as newcomer:
                with trio.fail_after(PATIENCE):
                    assert await newcomer.fetch() == Assignment(
                        frozenset(), frozenset(), newcomer._member._notified_epoch
                    )
                settle(newcomer)
                await gain(newcomer, PARTITIONS // 2)
            nursery.cancel_scope.cancel()


def settle(consumer: KafkaConsumer) -> None:
    """Have been in the group for a session timeout."""
    consumer._member._settles_at = 0.0


async def test_a_member_whose_name_another_process_takes_fails_with_the_reason(kafka_server: Kafka) -> None:
    settings = kafka_settings(kafka_server, instance="same")
    async with opened(settings) as one, one.consume("group") as first:
        await gain(first, PARTITIONS)
        async with opened(settings) as two, two.consume("group") as second:
            await gain(second, PARTITIONS)
            with trio.fail_after(PATIENCE), pytest.raises(Unavailable, match=r"as same.*`kafka.instance`"):
                await gain(first, 1_000)
            assert first.held_until == -math.inf


async def test_a_member_that_the_group_does_not_accept_fails_with_the_reason(kafka_server: Kafka) -> None:
    settings = kafka_settings(kafka_server).model_copy(update={"session_timeout_seconds": 0.5})
    async with opened(settings) as backplane, backplane.consume("group") as consumer:
        with trio.fail_after(PATIENCE), pytest.raises(Unavailable, match="InvalidSessionTimeout"):
            await consumer.fetch()


async def test_a_member_that_does_not_release_loses_its_partitions_all_the_same(
    kafka_server: Kafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kafka_member, "RELEASE_TIMEOUT", 0.3)
    async with opened(kafka_settings(kafka_server)) as backplane, backplane.consume("group") as stubborn:
        await gain(stubborn, PARTITIONS)
        async with backplane.consume("group") as other:
            assert len(await gain(other, PARTITIONS // 2)) == PARTITIONS // 2
