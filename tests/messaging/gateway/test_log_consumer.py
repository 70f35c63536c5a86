"""Consuming the log: one gateway at a time serves a partition, and its records reach the tail and the sessions."""

import math
from collections.abc import Collection
from typing import NoReturn

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from messaging.gateway import log_consumer, sign_in
from messaging.gateway.gateway import Gateway
from messaging.gateway.log_consumer import GAIN_SECONDS, SETTLE_SECONDS
from rookery.v1.backplane_pb2 import Envelope, Fence, SignOut
from rookery.v1.session_pb2 import (
    Authenticate,
    Change,
    ClientFrame,
    Deleted,
    Edited,
    Event,
    Hidden,
    Message,
    Position,
    Send,
    Text,
)
from shared.accounts.sign_outs import ALL_SIGN_INS, announce_ends
from shared.backplane import Record, StoredRecord
from shared.backplane.kafka.member import REBALANCE_TIMEOUT_MS, RELEASE_TIMEOUT
from shared.backplane.publishing import publish_and_wait
from shared.configuration import LiveConfiguration
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import MAX_AHEAD_MS, SEQUENCES, SnowflakeGenerator, first_id_at, time_of, wall_clock_ms
from shared.contract.partitions import PARTITION_MAP_EPOCH, partition_of
from shared.coordination.ownership import WAITED_RETRY_MS, GatewayAddress, LocalDirectory
from tests.messaging.gateway.harness import ALL, ANN, BEN, CAT, PARTITIONS, PATIENCE, Crew, Platform, ScriptedLog
from tests.messaging.test_envelopes import FORMER_REACTION
from tests.waiting import until

HOME = partition_of(ANN, PARTITIONS)

IN_HOME, ALSO_IN_HOME = 1, 11
"""Numbers of groups whose home partition is HOME; that of the group 7 is not."""


async def test_a_leaving_partition_answers_the_messages_in_flight_and_no_others(
    platform: Platform, log: ScriptedLog
) -> None:
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("in flight", BEN)
        await log.until_published()
        fetches = log.fetches
        log.assign(frozenset(), frozenset([HOME]), 2)
        await trio.testing.wait_all_tasks_blocked(0.01)
        await ann.send_text("late", BEN)  # is not answered: her client retries it with the next owner
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(log.unacknowledged) == 1
        assert log.fetches == fetches, "the partition was released with a message in flight"
        log.acknowledge()
        assert (await ann.expect("accepted")).accepted.client_id == "in flight"
        await ann.expect("reconnect")
        await ann.expect("goodbye")
        assert gateway.partitions.owned == ALL - {HOME}
        assert platform.directory.owner(HOME) is None


async def test_a_message_of_a_leaving_partition_that_is_not_found_or_not_stored_stays_unanswered(
    platform: Platform, log: ScriptedLog
) -> None:
    """Her client sends it again to the next owner, which may well accept it."""
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ann.send_text("in flight", BEN)
        await log.until_published()
        platform.history.open = trio.Event()
        await ann.send(ClientFrame(send=Send(client_message_id="looked up", chat_id="g-7", text=Text(body="hi"))))
        await ben.send(ClientFrame(send=Send(client_message_id="a", chat_id="g-7", text=Text(body="hi"))))
        await trio.testing.wait_all_tasks_blocked(0.01)
        log.assign(frozenset(), frozenset([HOME]), 2)
        await until(lambda: gateway.partitions.leaving)
        platform.history.refusal = Refusal(Code.UNAVAILABLE, "away")
        platform.history.open.set()
        assert (await ben.expect("refused")).refused.client_id == "a"
        log.acknowledge(Unavailable("withdrawn"))
        await ann.expect("reconnect")
        await ann.expect("goodbye")


async def test_a_stopping_gateway_does_not_answer_a_message_that_an_engine_can_not_serve(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await platform.start_gateway()
    has_begun, is_away = trio.Event(), trio.Event()

    async def users(*_: object) -> NoReturn:
        has_begun.set()
        await is_away.wait()
        raise Unavailable("away")

    async with platform.sign_in(gateway, ANN) as ann, trio.open_nursery() as nursery:
        await ann.send_text("in flight", BEN)
        await log.until_published()
        monkeypatch.setattr(platform.accounts, "users", users)
        await ann.send_text("looked up", CAT)
        await has_begun.wait()
        nursery.start_soon(gateway.drain)
        await until(lambda: gateway.is_draining)
        is_away.set()
        await trio.testing.wait_all_tasks_blocked(0.01)
        log.acknowledge(Unavailable("withdrawn"))
        await ann.expect("reconnect")
        await ann.expect("goodbye")


async def test_a_log_that_does_not_acknowledge_does_not_keep_a_partition_forever(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_consumer, "SETTLE_SECONDS", 0.05)
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("in flight", BEN)
        await log.until_published()
        fetches = log.fetches
        log.assign(frozenset(), frozenset([HOME]), 2)
        await ann.expect("reconnect")
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert log.withdrawn == {HOME}, "it is no longer accepted: the next owner may publish before it"
        assert log.fetches > fetches


def test_kafka_waits_for_a_loss_that_comes_while_partitions_are_gained() -> None:
    assert GAIN_SECONDS + SETTLE_SECONDS + 1 <= RELEASE_TIMEOUT < REBALANCE_TIMEOUT_MS / 1000


async def test_while_another_gateway_may_own_the_partition_nothing_is_accepted(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("a", BEN)
        await log.until_published()
        log.held_until = -math.inf  # as after a freeze
        log.acknowledge()  # its record may come after the next owner's fence
        assert (await ann.expect("refused")).refused.code == Code.UNAVAILABLE
        with pytest.raises(Unavailable, match="may have expelled"):
            await gateway.log_consumer.check()
        await ann.send_text("a", BEN)
        refused = (await ann.expect("refused")).refused
        assert (refused.code, refused.retryable) == (Code.UNAVAILABLE, True)
        assert log.unacknowledged == []
        monkeypatch.setattr(sign_in, "OWNER_SECONDS", 0.05)
        async with platform.connect(gateway) as second:
            await second.send(ClientFrame(authenticate=Authenticate(access_token=await platform.token(ANN))))
            # not Moved: the directory still has this gateway
            assert (await second.expect("reconnect")).reconnect.after_ms == WAITED_RETRY_MS
            await second.expect("goodbye")
        log.held_until = math.inf
        await gateway.log_consumer.check()
        await ann.send_text("a", BEN)
        await log.until_published()
        log.acknowledge()
        await ann.expect("accepted")


async def test_a_client_is_welcome_once_a_late_heartbeat_is_confirmed(platform: Platform, log: ScriptedLog) -> None:
    gateway = await platform.start_gateway()
    log.held_until = -math.inf
    async with platform.connect(gateway) as ann:
        await ann.send(ClientFrame(authenticate=Authenticate(access_token=await platform.token(ANN))))
        await trio.testing.wait_all_tasks_blocked(0.01)
        log.held_until = math.inf
        with trio.fail_after(PATIENCE):
            await ann.expect("welcome")


async def test_a_client_whose_partition_has_no_owner_waits_for_one_without_polling(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await platform.start_gateway()
    await trio.testing.wait_all_tasks_blocked()  # its signals wait for a change of the directory too
    gateway.partitions.remove([HOME])
    asked = 0

    async def changed() -> None:
        nonlocal asked
        asked += 1
        await trio.sleep_forever()

    monkeypatch.setattr(platform.directory, "owner", lambda partition: None)
    monkeypatch.setattr(platform.directory, "changed", changed)
    monkeypatch.setattr(sign_in, "HELD_SECONDS", 0.01)
    async with platform.connect(gateway) as ann:
        await ann.send(ClientFrame(authenticate=Authenticate(access_token=await platform.token(ANN))))
        await until(lambda: asked)
        await trio.testing.wait_all_tasks_blocked(0.1)
        assert asked == 1


async def test_an_assignment_that_moves_no_partition_drops_no_roster(platform: Platform, log: ScriptedLog) -> None:
    gateway = await platform.start_gateway()
    crew = Crew(ANN, BEN)
    gateway.rosters.applied(crew.chat_id, crew.roster, 1)
    log.assign(frozenset(), frozenset(), 2)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert gateway.rosters.cached(crew.chat_id) is crew.roster


class RecordingDirectory(LocalDirectory):
    """Records the published assignments."""

    def __init__(self) -> None:
        super().__init__()
        self.published: list[tuple[frozenset[int], int]] = []

    def publish(self, address: GatewayAddress, owned: Collection[int], epoch: int) -> None:
        self.published.append((frozenset(owned), epoch))
        super().publish(address, owned, epoch)


async def test_owned_partitions_are_published_with_the_epoch_of_the_assignment_and_unfollowed_rosters_dropped(
    platform: Platform, log: ScriptedLog
) -> None:
    directory = platform.directory = RecordingDirectory()
    gateway = await platform.start_gateway()
    followed, lost = Crew(ANN, BEN, number=IN_HOME), Crew(ANN, number=ALSO_IN_HOME)
    for crew in (followed, lost):
        gateway.rosters.applied(crew.chat_id, crew.roster, 1)
    log.assign(frozenset(), frozenset([HOME]), 5)
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert directory.published[-2:] == [(ALL, 1), (ALL - {HOME}, 5)]
    assert gateway.rosters.cached(followed.chat_id) is followed.roster
    assert gateway.rosters.cached(lost.chat_id) is None, "the partitions of its members and its home may be others'"


async def test_a_tail_has_the_records_that_came_while_it_began_if_all_earlier_ones_are_too_old(
    platform: Platform, log: ScriptedLog
) -> None:
    log.end = 7
    async with trio.open_nursery() as nursery:
        nursery.start_soon(platform.start_gateway)
        with trio.fail_after(PATIENCE):
            while len(log.sought) < PARTITIONS:
                await trio.sleep(0.001)
        nursery.cancel_scope.cancel()
    assert log.sought == dict.fromkeys(ALL, 7)


@pytest.mark.parametrize(("first", "age_ms"), [(9_000, 300_000), (10, 0)])
async def test_a_tail_is_complete_from_the_configured_time_unless_its_size_cuts_it_short(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch, first: int, age_ms: int
) -> None:
    async def offset_at(partition: int, at_ms: int) -> int:
        return first

    log.end = 10_000
    monkeypatch.setattr(log, "offset_at", offset_at)
    log.deliver(StoredRecord(partition, log.end - 1, 0, b"") for partition in ALL)
    began_ms = wall_clock_ms()
    gateway = await platform.start_gateway(LiveConfiguration(tail_bytes=1024 * 1024))
    for tail in gateway.partitions.tails.values():
        assert began_ms - age_ms <= tail.complete_from_ms <= wall_clock_ms() - age_ms


async def test_a_client_from_before_a_tail_that_its_size_cuts_short_gets_a_gap(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def offset_at(partition: int, at_ms: int) -> int:
        return 10

    log.end = 10_000
    monkeypatch.setattr(log, "offset_at", offset_at)
    log.deliver(StoredRecord(partition, log.end - 1, wall_clock_ms(), b"") for partition in ALL)
    gateway = await platform.start_gateway(LiveConfiguration(tail_bytes=1024 * 1024))
    first = gateway.partitions.tails[HOME].complete_from
    assert 10 < first < log.end
    async with platform.sign_in(gateway, ANN, Position(offset=first - 1, epoch=PARTITION_MAP_EPOCH)) as ann:
        await ann.send_text("nothing came before", BEN)
        await log.until_published()
        log.acknowledge()
        await ann.expect("accepted")
    async with platform.sign_in(gateway, ANN, Position(offset=first - 2, epoch=PARTITION_MAP_EPOCH)) as ann:
        assert (await ann.expect("gap")).gap.since.offset == first - 2


async def start_without_home(platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """Start a gateway that loses HOME, and that waits little for the look-ups of the partitions that it gains."""
    gateway = await platform.start_gateway()
    log.assign(frozenset(), frozenset([HOME]), 2)
    monkeypatch.setattr(log_consumer, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(log_consumer, "GAIN_SECONDS", 0.01)
    return gateway


async def test_a_log_that_can_not_look_up_a_gained_partition_costs_no_owned_one(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await start_without_home(platform, log, monkeypatch)
    look_up, answer = log.end_offset, trio.Event()

    async def end_offset(partition: int) -> int:
        await answer.wait()
        raise Unavailable("no leader")

    monkeypatch.setattr(log, "end_offset", end_offset)
    log.assign(frozenset([HOME]), frozenset(), 3)
    async with platform.sign_in(gateway, BEN) as ben:
        message = Message(message_id=5, chat_id="d-2-3", sender_id=CAT, text=Text(body="Hello"))
        log.store(
            partition_of(BEN, PARTITIONS), Envelope(event=Event(event_id=5, message=message), recipient_ids=[BEN])
        )
        await ben.expect("event")  # before the log answers
        answer.set()
        with pytest.raises(Unavailable, match="1 are read"):
            await gateway.log_consumer.check()
        log.assign(frozenset(), frozenset([HOME]), 4)
        await until(lambda: not gateway.partitions.unread)
        log.assign(frozenset([HOME]), frozenset(), 5)
        await until(lambda: gateway.partitions.unread == {HOME})
        monkeypatch.setattr(log, "end_offset", look_up)
        await until(lambda: gateway.partitions.owned == ALL)
    assert not log.has_left


async def test_a_group_message_is_accepted_after_a_loss_and_a_gain_although_the_archive_lags(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway has kept Ben's partition, which has all control changes of the group."""
    gateway = await start_without_home(platform, log, monkeypatch)
    crew = Crew(ANN, BEN)
    platform.history.groups[crew.chat_id] = crew.stored
    crew.add(2, CAT)
    for version in (1, 2):
        gateway.rosters.read(crew.chat_id, crew.control(version))
    log.assign(frozenset([HOME]), frozenset(), 3)
    await until(lambda: gateway.partitions.owned == ALL and HOME in log.sought and log.fetches > 2)
    async with platform.sign_in(gateway, BEN) as ben:
        send = Send(client_message_id="a", chat_id=crew.chat_id, text=Text(body="hi"))
        await ben.send(ClientFrame(send=send))
        await log.until_published()
        log.acknowledge()
        await ben.expect("accepted")


async def test_rosters_from_before_a_tail_that_begins_late_are_dropped_unless_other_partitions_follow_them(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway has not read the control changes of the partition meanwhile."""
    gateway = await start_without_home(platform, log, monkeypatch)
    failures = [Unavailable("no leader")]
    unfollowed, of_home, followed = Crew(ANN, number=IN_HOME), Crew(ANN, BEN, number=ALSO_IN_HOME), Crew(ANN, BEN)

    async def end_offset(partition: int) -> int:
        if failures:
            for crew in (unfollowed, of_home, followed):
                gateway.rosters.applied(crew.chat_id, crew.roster, 1)
            raise failures.pop()
        return 0

    monkeypatch.setattr(log, "end_offset", end_offset)
    log.assign(frozenset([HOME]), frozenset(), 3)
    await until(lambda: not failures and gateway.partitions.owned == ALL)
    cached = [gateway.rosters.cached(crew.chat_id) for crew in (unfollowed, of_home, followed)]
    assert cached == [None, None, followed.roster]


async def test_a_tail_that_begins_while_records_are_delivered_has_all_of_them_from_its_beginning_on(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then its partition was read from the oldest record. It is read again from where the tail begins."""
    monkeypatch.setattr(log_consumer, "SLICE", 1)
    gateway = await start_without_home(platform, log, monkeypatch)
    looked_up, evicted = list[int](), trio.Event()

    async def end_offset(partition: int) -> int:
        looked_up.append(partition)
        await evicted.wait()
        return 20

    async def offset_at(partition: int, at_ms: int) -> int:
        return 0

    monkeypatch.setattr(log, "end_offset", end_offset)
    monkeypatch.setattr(log, "offset_at", offset_at)
    monkeypatch.setattr(gateway.log_consumer, "evict", evicted.set)
    log.assign(frozenset([HOME]), frozenset(), 3)
    event = Event(event_id=5, message=Message(message_id=5, chat_id="d-1-2", sender_id=BEN))
    value = Envelope(event=event, recipient_ids=[ANN]).SerializeToString()
    records = [StoredRecord(HOME, offset, wall_clock_ms(), value) for offset in range(20)]
    await until(lambda: looked_up)
    log.deliver(records)
    await until(lambda: HOME in gateway.partitions.tails)
    log.deliver(records)
    tail = gateway.partitions.tails[HOME]
    await until(lambda: tail.next_offset == 20)
    assert [entry.offset for entry in tail.newer(ANN, 0)] == list(range(20))
    assert looked_up == [HOME], "a look-up that takes long goes on, and does not begin anew"


async def test_the_look_ups_of_gained_partitions_are_made_at_once(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, all_asked = list[tuple[str, int]](), trio.Event()

    async def look_up(kind: str, partition: int) -> int:
        asked.append((kind, partition))
        if len(asked) == 2 * PARTITIONS:
            all_asked.set()
        await all_asked.wait()
        return 0

    monkeypatch.setattr(log, "end_offset", lambda partition: look_up("end", partition))
    monkeypatch.setattr(log, "offset_at", lambda partition, at_ms: look_up("since", partition))
    with trio.fail_after(PATIENCE):
        gateway = await platform.start_gateway()
    assert gateway.partitions.owned == ALL
    assert len(asked) == 2 * PARTITIONS


def foreign_fence(read_up_to: int) -> Envelope:
    return Envelope(fence=Fence(gateway=1, read_up_to=read_up_to))


async def test_a_partition_is_owned_once_its_fence_is_in_force_whatever_comes_between(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_consumer, "RETRY_SECONDS", 0.05)
    log.fence_failures = [Unavailable("no answer")] * (PARTITIONS + 2)
    log.overtaking[HOME] = [foreign_fence(0)]  # its gateway, too, had read the empty partition
    gateway = await platform.start_gateway()
    with pytest.raises(Unavailable, match="4 are read"):
        await gateway.log_consumer.check()
    async with platform.connect(gateway) as ann:
        await ann.send(ClientFrame(authenticate=Authenticate(access_token=await platform.token(ANN))))
        await ann.expect("welcome")
        assert HOME in gateway.partitions.owned
    await until(lambda: gateway.partitions.owned == ALL)
    assert gateway.partitions.tails[HOME].fences.epoch == 3, "its own fence was stored again, after the other one"
    log.store(HOME, foreign_fence(3))  # as of another gateway with the same name
    await until(lambda: gateway.partitions.tails[HOME].fences.epoch == 5)
    assert gateway.partitions.owned == ALL


async def test_the_ids_of_a_new_owner_are_above_those_of_the_tail_except_ids_far_ahead_of_its_clock(
    platform: Platform, log: ScriptedLog
) -> None:
    """Such an id is of a clock that was wrong: above it, no id could be made until its time comes."""
    generator, now_ms = SnowflakeGenerator(1), wall_clock_ms()
    ids = [first_id_at(now_ms + ahead_ms) for ahead_ms in (MAX_AHEAD_MS // 2, 60 * MAX_AHEAD_MS, 61 * MAX_AHEAD_MS)]
    log.overtaking[HOME] = [
        Envelope(event=Event(event_id=each, message=Message(message_id=each, chat_id="d-1-2")), recipient_ids=[ANN])
        for each in ids
    ]
    with capture_logs() as lines:
        gateway = await platform.start_gateway(ids=generator)
        await until(lambda: gateway.partitions.owned == ALL)
    assert gateway.partitions.tails[HOME].highest_event_id == ids[-1]
    made = [generator.next_nowait() or 0 for _ in range(SEQUENCES + 1)]
    assert ids[0] < made[0] < made[-1]
    assert time_of(made[-1]) <= wall_clock_ms() + MAX_AHEAD_MS
    assert [(each["log_level"], each["event_id"]) for each in lines if each["event"] == "id_far_ahead"] == [
        ("warning", ids[1])
    ], "at most once a minute"


async def test_a_late_record_of_a_former_owner_is_in_no_tail_and_reaches_no_session(
    platform: Platform, log: ScriptedLog
) -> None:
    """The sender received no answer to the record, and repeats the send."""
    event = Event(event_id=5, message=Message(message_id=5, chat_id="d-1-2", sender_id=ANN, client_message_id="a"))
    record = Envelope(event=event, recipient_ids=[ANN, BEN], truth=True, sender_id=ANN, epoch=1)
    log.overtaking[HOME] = [foreign_fence(0), record]
    gateway = await platform.start_gateway()
    tail = gateway.partitions.tails[HOME]
    await until(lambda: tail.next_offset == 4)
    assert [entry.offset for entry in tail.newer(ANN, 0)] == [1], "it came before the fence"
    async with platform.sign_in(gateway, ANN) as ann:
        event.message.client_message_id = "b"
        log.store(HOME, Envelope(event=event, recipient_ids=[ANN], truth=True, sender_id=ANN, epoch=1))
        await until(lambda: tail.next_offset == 5)
        await ann.send_text("b", BEN)
        await log.until_published()
        ((records, _),) = log.unacknowledged
        again = Envelope.FromString(records[0].value)
        assert (again.epoch, again.event.event_id != 5) == (4, True)
        log.acknowledge()
        assert (await ann.until("accepted")).accepted.event_id == again.event.event_id
        assert [frame.event.message.client_message_id for frame in ann.frames if frame.HasField("event")] == ["a"]


async def test_after_the_deletion_of_its_message_a_copy_is_delivered_as_a_stub_and_an_edit_is_not(
    platform: Platform, log: ScriptedLog
) -> None:
    """Once, if it comes again. A repeated deletion is delivered, and that a user hides the message."""
    gateway = await platform.start_gateway()
    late = [
        Event(event_id=5, message=Message(message_id=5, chat_id="d-1-2", sender_id=BEN, text=Text(body="secret"))),
        Event(event_id=6, change=Change(chat_id="d-1-2", target_id=5, hidden=Hidden(set=True))),
        Event(event_id=8, change=Change(chat_id="d-1-2", target_id=5, edited=Edited())),
        Event(event_id=9, change=Change(chat_id="d-1-2", target_id=5, deleted=Deleted())),
        Event(event_id=10, message=Message(message_id=10, chat_id="d-1-2", sender_id=BEN)),
    ]
    async with platform.sign_in(gateway, ANN) as ann:
        for event in (Event(event_id=7, change=late[3].change), late[0], *late):
            log.store(HOME, Envelope(event=event, recipient_ids=[ANN]))
        live = [(await ann.expect("event")).event for _ in range(5)]
    async with platform.sign_in(gateway, ANN) as ann:
        replayed = [(await ann.expect("event")).event for _ in range(5)]
    for events in (live, replayed):
        assert [event.event_id for event in events] == [7, 5, 6, 9, 10]
        assert not events[1].message.HasField("text")


async def test_a_copy_of_a_control_change_that_comes_again_is_neither_delivered_nor_kept_again(
    platform: Platform, log: ScriptedLog
) -> None:
    """Each owner of a home partition publishes copies of the newest control changes again."""
    gateway = await platform.start_gateway()
    crew = Crew(ANN, BEN)
    crew.add(40, CAT)
    async with platform.sign_in(gateway, ANN) as ann:
        for recipient_ids in ([ANN], [], [ANN], [BEN], [ANN, BEN]):
            copy = Envelope(event=crew.events[1], recipient_ids=recipient_ids, sender_id=ANN, chat_version=2)
            log.store(HOME, copy)
        log.store(HOME, Envelope(event=crew.events[0], recipient_ids=[ANN, BEN], sender_id=ANN, chat_version=1))
        assert [(await ann.expect("event")).event.event_id for _ in range(2)] == [40, 1]
    recipients = [entry.recipient_ids for entry in gateway.partitions.tails[HOME].newer(BEN, 0)]
    assert recipients == [(BEN,), (ANN, BEN)]


async def test_a_message_is_published_to_a_member_whom_its_sender_did_not_know_until_the_log_has_it(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_consumer, "RETRY_SECONDS", 0.01)
    await platform.start_gateway()
    crew = Crew(ANN, BEN)
    message = Message(message_id=50, chat_id=crew.chat_id, sender_id=ANN, client_message_id="a")
    crew.add(40, CAT)
    for event, is_truth, version in (
        (crew.events[0], False, 1),
        (Event(event_id=50, message=message), True, 1),
        (crew.events[1], False, 2),
    ):
        envelope = Envelope(event=event, recipient_ids=[ANN], truth=is_truth, sender_id=ANN, chat_version=version)
        log.store(HOME, envelope)
    for failure in (Unavailable("no answer"), None):
        await log.until_published()
        ((records, _),) = log.unacknowledged
        assert [record.partition for record in records] == [partition_of(CAT, PARTITIONS)]
        copy = Envelope.FromString(records[0].value)
        assert (copy.event.message, list(copy.recipient_ids)) == (message, [CAT])
        assert (copy.truth, copy.sender_id, copy.chat_version) == (False, ANN, 2)
        log.acknowledge(failure)
    await trio.testing.wait_all_tasks_blocked(0.02)
    assert log.unacknowledged == []


async def test_a_record_of_a_former_release_is_delivered_and_replayed_as_a_change(
    platform: Platform, log: ScriptedLog
) -> None:
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        log.store(HOME, Envelope.FromString(FORMER_REACTION))
        live = (await ann.expect("event")).event
    async with platform.sign_in(gateway, ANN) as ann:
        assert (await ann.expect("event")).event == live
    assert (live.event_id, live.change.target_id, live.change.reacted.emoji) == (7, 5, "👍")


async def test_sessions_end_when_their_sign_in_does(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        for family_id, client, user_id in (("family-1", ann, ANN), ("", ben, BEN)):
            envelope = Envelope(sign_out=SignOut(family_id=family_id), recipient_ids=[user_id])
            record = Record(partition_of(user_id, PARTITIONS), envelope.SerializeToString())
            await publish_and_wait(platform.backplane, [record])
            assert (await client.until("goodbye")).goodbye.code == "unauthenticated"


async def test_messages_to_a_deleted_account_are_refused_at_once_and_its_sessions_end(
    platform: Platform, gateway: Gateway
) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ann.send_text("a", BEN)
        accepted = (await ann.expect("accepted")).accepted
        await platform.accounts.delete_user(BEN)
        await announce_ends(platform.backplane, BEN, ALL_SIGN_INS, is_deleted=True)
        assert (await ben.until("goodbye")).goodbye.code == "unauthenticated"
        for text in ("b", "c"):
            await ann.send_text(text, BEN)
            refused = (await ann.until("refused")).refused
            assert (refused.code, refused.field) == (Code.RECIPIENT_DELETED, "send.recipient_id")
        await ann.send_text("a", BEN)  # a retry
        assert (await ann.until("accepted")).accepted.event_id == accepted.event_id


async def test_a_poison_record_stops_nothing(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        poison = [Record(partition, b"\xff\xff\xff") for partition in range(PARTITIONS)]
        await publish_and_wait(platform.backplane, poison)
        await ann.send_text("a", BEN)
        assert (await ben.expect("event")).event.message.client_message_id == "a"
