"""How partitions come and go: nothing is answered by two, and a client is sent where its partition goes."""

import math
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
import trio.lowlevel
import trio.testing

from messaging.gateway import log_consumer
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.session_pb2 import Authenticate, ClientFrame
from shared.backplane import Assignment, Consumer, DeadLetter, Destination, Fetched, Record
from shared.backplane.protocol import Done
from shared.contract.errors import Code, Unavailable
from shared.contract.partitions import partition_of
from shared.coordination.ownership import GatewayAddress, LocalDirectory
from tests.messaging.gateway.harness import PARTITIONS, PATIENCE, Platform

ANN, BEN = 1, 2
HOME = partition_of(ANN, PARTITIONS)
ALL = frozenset(range(PARTITIONS))


class ScriptedLog:
    """A Backplane that tells its one consumer what the test says, and keeps publishers waiting until `answer`."""

    partitions = PARTITIONS
    destination = Destination("memory", "log")

    def __init__(self) -> None:
        self.held_until = math.inf
        self.fetches = 0
        """How often the consumer has asked, so has done with what it was given before."""
        self.left = False
        self.end = 0
        """Of each partition, as far as `end_offset` knows; who asks `offset_at` is told of one more."""
        self.sought: dict[int, int] = {}
        self.unanswered: list[tuple[Sequence[Record], Done]] = []
        self._tell, self._told = trio.open_memory_channel[Fetched | Assignment](math.inf)

    def tell(self, event: Fetched | Assignment) -> None:
        self._tell.send_nowait(event)

    def answer(self) -> None:
        """Everything that was published is on disk."""
        for records, done in self.unanswered:
            done(range(len(records)))
        self.unanswered.clear()

    def publish(self, records: Sequence[Record], done: Done) -> None:
        self.unanswered.append((records, done))

    async def until_published(self, count: int = 1) -> None:
        """Wait until so many publishers wait. All tasks may be blocked before: whether a recipient exists is looked up
        in a thread."""
        with trio.fail_after(PATIENCE):
            while len(self.unanswered) < count:
                await trio.sleep(0.001)

    @asynccontextmanager
    async def consume(self, group: str, *, gather: float = 0.0) -> AsyncIterator[Consumer]:
        try:
            yield self
        finally:
            self.left = True

    async def fetch(self) -> Fetched | Assignment:
        self.fetches += 1
        return await self._told.receive()

    def lag(self) -> Mapping[int, int]:
        return {}

    def seek(self, partition: int, offset: int) -> None:
        self.sought[partition] = offset

    async def commit(self, offsets: Mapping[int, int]) -> None:
        await trio.lowlevel.checkpoint()

    async def end_offset(self, partition: int) -> int:
        await trio.lowlevel.checkpoint()
        return self.end

    async def offset_at(self, partition: int, at_ms: int) -> int:
        await trio.lowlevel.checkpoint()
        return self.end + 1 if self.end else 0

    async def dead_letter(self, letter: DeadLetter) -> None:
        raise AssertionError

    async def dead_letters(self, limit: int) -> Sequence[DeadLetter]:
        raise AssertionError


@pytest.fixture
async def log(platform: Platform) -> ScriptedLog:
    """The platform's log, whose consumer is given all partitions."""
    log = platform.backplane = ScriptedLog()
    log.tell(Assignment(ALL, frozenset(), 1))
    return log


async def test_a_partition_that_leaves_answers_what_it_took_before_it_is_given_on(
    platform: Platform, log: ScriptedLog
) -> None:
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("taken", BEN)
        await log.until_published()
        fetches = log.fetches
        log.tell(Assignment(frozenset(), frozenset([HOME]), 2))
        await trio.testing.wait_all_tasks_blocked(0.01)
        await ann.send_text("late", BEN)  # is not answered: she sends it again to the next owner
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(log.unanswered) == 1
        assert log.fetches == fetches, "the partition was given on with a message under way"
        log.answer()
        assert (await ann.expect("accepted")).accepted.client_message_id == "taken"
        await ann.expect("reconnect")
        await ann.expect("goodbye")
        assert gateway.log_consumer.owned == ALL - {HOME}
        assert platform.directory.owner(HOME) is None


async def test_a_log_that_does_not_answer_does_not_keep_a_partition_for_ever(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_consumer, "SETTLE_SECONDS", 0.05)
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("taken", BEN)
        await log.until_published()
        fetches = log.fetches
        log.tell(Assignment(frozenset(), frozenset([HOME]), 2))
        await ann.expect("reconnect")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert log.fetches > fetches


async def test_while_another_may_have_the_partition_nothing_is_taken(platform: Platform, log: ScriptedLog) -> None:
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        log.held_until = -math.inf  # as after being frozen
        await ann.send_text("a", BEN)
        refused = (await ann.expect("refused")).refused
        assert (refused.code, refused.retryable) == (Code.UNAVAILABLE, True)
        assert log.unanswered == []
        async with platform.connect(gateway) as second:
            await second.send(ClientFrame(authenticate=Authenticate(access_token=await platform.token(ANN))))
            await second.expect("goodbye")  # told to come again, not that it should go where it is
        log.held_until = math.inf
        await ann.send_text("a", BEN)
        await log.until_published()
        log.answer()
        await ann.expect("accepted")


async def test_a_gateway_that_stops_lets_its_partitions_go_before_its_clients(
    platform: Platform, log: ScriptedLog
) -> None:
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann, trio.open_nursery() as nursery:
        await ann.send_text("taken", BEN)
        await log.until_published()
        nursery.start_soon(gateway.drain)
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert not log.left
        log.answer()
        await ann.expect("accepted")
        await ann.expect("reconnect")
        assert log.left
        assert platform.directory.owner(HOME) is None
        assert await ann.ended()


async def test_a_retry_of_what_the_log_may_have_kept_has_the_same_id(platform: Platform, log: ScriptedLog) -> None:
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("a", BEN)
        await log.until_published()
        ((records, done),) = log.unanswered
        done(Unavailable("no answer"))
        log.unanswered.clear()
        await ann.expect("refused")
        first = Envelope.FromString(records[0].value).event.event_id
        await ann.send_text("b", BEN)
        await ann.send_text("a", BEN)
        await log.until_published(2)
        log.answer()
        accepted = [(await ann.expect("accepted")).accepted for _ in range(2)]
        assert [answer.client_message_id for answer in accepted] == ["b", "a"]
        assert accepted[1].message_id == first < accepted[0].message_id


async def test_a_client_asks_the_bff_where_an_owner_is_whose_host_only_it_knows(
    platform: Platform, log: ScriptedLog
) -> None:
    gateway = await platform.start_gateway()
    log.tell(Assignment(frozenset(), frozenset([HOME]), 2))
    await trio.testing.wait_all_tasks_blocked(0.01)
    for owner, answer in [
        (GatewayAddress("ws://:8181/session", ":8182"), "goodbye"),
        (GatewayAddress("ws://two.example.org/session", "two.example.org:443"), "moved"),
    ]:
        platform.directory.publish(owner, [HOME], 3)
        async with platform.connect(gateway) as client:
            await client.send(ClientFrame(authenticate=Authenticate(access_token=await platform.token(ANN))))
            await client.expect(answer)


async def test_a_gateway_of_which_the_group_does_not_hear_is_not_ready(platform: Platform, log: ScriptedLog) -> None:
    gateway = await platform.start_gateway()
    await gateway.log_consumer.check()
    log.held_until = -math.inf
    with pytest.raises(Exception, match="does not hear of this one"):
        await gateway.log_consumer.check()


class RecordingDirectory(LocalDirectory):
    """Remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[frozenset[int], int]] = []

    def publish(self, address: GatewayAddress, owned: Collection[int], epoch: int) -> None:
        self.told.append((frozenset(owned), epoch))
        super().publish(address, owned, epoch)


async def test_what_is_owned_is_told_with_the_epoch_of_the_assignment(platform: Platform, log: ScriptedLog) -> None:
    directory = platform.directory = RecordingDirectory()
    await platform.start_gateway()
    log.tell(Assignment(frozenset(), frozenset([HOME]), 5))
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert directory.told == [(ALL, 1), (ALL - {HOME}, 5)]


async def test_what_comes_while_a_tail_begins_is_in_it_also_where_all_before_is_too_old(
    platform: Platform, log: ScriptedLog
) -> None:
    log.end = 7
    begun = trio.CancelScope()
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            with begun:
                await platform.start_gateway()

        nursery.start_soon(run)
        with trio.fail_after(PATIENCE):
            while len(log.sought) < PARTITIONS:
                await trio.sleep(0.001)
        begun.cancel()
    assert log.sought == dict.fromkeys(ALL, 7)
