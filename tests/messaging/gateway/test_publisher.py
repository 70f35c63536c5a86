"""Publishing on the embedded log: which sessions get an event, which requests are refused, and retries.

The promises for retries are one contract for messages, also with files, and changes: `BOTH`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from bff.people_changes import announce_change
from messaging.envelopes import fan_out_copies
from messaging.gateway.gateway import Gateway
from messaging.gateway.lookups import LOG_SECONDS
from messaging.gateway.publisher import RETRY_MARGIN_MS
from messaging.kinds import reacted
from rookery.v1.archive_pb2 import HistoryMessage
from rookery.v1.backplane_pb2 import Envelope, Fence
from rookery.v1.files_pb2 import FileInfo, FileRef
from rookery.v1.session_pb2 import (
    Change,
    ClientFrame,
    Deleted,
    Edited,
    Event,
    Hidden,
    Marked,
    MarkedUnread,
    Mention,
    Message,
    Muted,
    PeopleChanged,
    Position,
    Reacted,
    Send,
    Text,
    Typing,
)
from shared.accounts.people import Relationship, Step, WhoMayStart, block, invite, take_step, unblock
from shared.backplane import Record, StoredRecord
from shared.backplane.publishing import publish_and_wait
from shared.configuration import LiveConfiguration
from shared.contract.chats import direct_chat_id
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import MAX_AHEAD_MS, MAX_ID, SnowflakeGenerator, first_id_at, time_of, wall_clock_ms
from shared.contract.partitions import PARTITION_MAP_EPOCH
from tests.messaging.gateway.harness import (
    ANN,
    BEN,
    CAT,
    PARTITIONS,
    PATIENCE,
    Client,
    Crew,
    Platform,
    ScriptedLog,
    change_frame,
    client_id_of,
    file_frame,
    open_platform,
    text_frame,
)
from tests.waiting import until

Make = Callable[..., ClientFrame]
"""Makes the frame of a client id, with some content, in Ann's chat with a user."""

OLD = 99
"""A message that only the archive has."""

THUMB = Reacted(emoji="👍", set=True)


def text(client_id: str = "a", body: str = "one", *, to: int = BEN) -> ClientFrame:
    return text_frame(client_id, to, body)


def reaction(client_id: str = "a", emoji: str = "👍", *, to: int = BEN) -> ClientFrame:
    return change_frame(
        client_id, OLD, chat_id=direct_chat_id(ANN, to), reacted=Reacted(emoji={"two": "🎉"}.get(emoji, "👍"), set=True)
    )


def picture(client_id: str = "a", name: str = "one", *, to: int = BEN) -> ClientFrame:
    return file_frame(client_id, FileRef(file_id={"one": 5}.get(name, 6)), FileRef(file_id=7), to=to)


BOTH = pytest.mark.parametrize("make", [text, reaction, picture])


@pytest.fixture
def platform(platform: Platform) -> Platform:
    add_old(platform)
    return platform


def add_old(platform: Platform) -> None:
    platform.history.add(OLD)
    for file_id in (5, 6, 7):
        platform.history.add_file(file_id)


async def test_a_message_reaches_every_session_of_both_but_its_origin(platform: Platform, gateway: Gateway) -> None:
    async with (
        platform.sign_in(gateway, ANN) as phone,
        platform.sign_in(gateway, ANN) as laptop,
        platform.sign_in(gateway, BEN) as ben,
        platform.sign_in(gateway, CAT) as cat,
    ):
        await phone.send_text("a", BEN)
        accepted = (await phone.expect("accepted")).accepted
        assert (accepted.client_id, accepted.chat_id) == ("a", "d-1-2")
        for client in (laptop, ben):
            message = (await client.expect("event")).event.message
            assert (message.message_id, message.sender_id) == (accepted.event_id, ANN)
            assert (message.client_message_id, message.text.body) == ("a", "hi")
        for client in (cat, phone):
            await client.send(ClientFrame(ping={}))
            await client.expect("pong")


async def test_messages_of_one_sender_keep_their_order(platform: Platform, gateway: Gateway) -> None:
    async with (
        platform.sign_in(gateway, ANN) as ann,
        platform.sign_in(gateway, BEN) as ben,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(send_many, ann, 300)
        accepted = [(await ann.expect("accepted")).accepted for _ in range(300)]
        events = [(await ben.expect("event")).event for _ in range(300)]
    assert [answer.client_id for answer in accepted] == [str(number) for number in range(300)]
    assert [answer.frame for answer in accepted] == list(range(2, 302))
    assert [event.message.client_message_id for event in events] == [str(number) for number in range(300)]
    for numbers in ([event.event_id for event in events], [event.position.offset for event in events]):
        assert numbers == sorted(set(numbers))


async def send_many(client: Client, count: int) -> None:
    for number in range(count):
        await client.send_text(str(number), BEN)


@BOTH
async def test_a_retry_makes_no_second_event(platform: Platform, gateway: Gateway, make: Make) -> None:
    """On the same session at once, later, and on another session."""
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ann.send(make())
        await ann.send(make())
        answers = [(await ann.expect("accepted")).accepted for _ in range(2)] + [await ann.accepted(make())]
        assert [answer.frame for answer in answers] == [2, 3, 4]
        async with platform.sign_in(gateway, ANN) as again:
            answers.append(await again.accepted(make()))
        await ann.send_text("b", BEN)
        ids = set()
        while client_id_of(event := (await ben.expect("event")).event) != "b":
            ids.add(event.event_id)
    assert {answer.event_id for answer in answers} == ids, "copies may come again, never another event"
    assert len(ids) == 1


@BOTH
async def test_a_retry_after_a_gateway_s_death_is_recognised_from_the_log_and_published_again(
    tmp_path: Path, lenient: None, make: Make
) -> None:
    """The gateway may have died before it published the copies. One with another content is refused."""
    async with open_platform(tmp_path) as platform, platform.sign_in(await platform.start_gateway(), ANN) as ann:
        add_old(platform)
        first = await ann.accepted(make())
    async with open_platform(tmp_path) as platform:
        gateway = await platform.start_gateway()
        async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
            replayed = [(await client.expect("event")).event for client in (ann, ben)]
            platform.history.refusal = Refusal(Code.NOT_FOUND, "It is not needed.")
            assert (await ann.refused(make("a", "two"))).code == "invalid"
            assert (await ann.accepted(make())).event_id == first.event_id
            replayed.append((await ben.expect("event")).event)
            assert [event.event_id for event in replayed] == [first.event_id] * 3
            assert replayed[2].message == replayed[0].message
            assert len(replayed[2].message.files) == (2 if make is picture else 0)
            assert (await ann.accepted(text("b"))).event_id > first.event_id


CREW_TEXT = Text(body="@Ben", mentions=[Mention(user_id=BEN, name="Ben")])


@pytest.mark.parametrize("is_channel", [False, True], ids=["group", "channel"])
@pytest.mark.parametrize(
    "frame",
    [
        ClientFrame(send=Send(client_message_id="a", chat_id="g-7", text=CREW_TEXT)),
        change_frame("a", OLD, chat_id="g-7", edited=Edited(text=CREW_TEXT)),
    ],
    ids=["message", "change"],
)
async def test_a_retry_in_a_group_is_refused_until_its_copies_can_be_published(
    platform: Platform, log: ScriptedLog, frame: ClientFrame, is_channel: bool
) -> None:
    """The gateway that accepted it has died before that, and the archive does not answer to the next one."""
    platform.history.groups["g-7"] = Crew(ANN, BEN, is_channel=is_channel).stored
    platform.history.add(OLD, ANN)
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        copies = await keep_truth_alone(gateway, log, ann, frame)
        gateway.rosters.drop_unfollowed(())
        platform.history.refusal = Refusal(Code.UNAVAILABLE, "away")
        assert (await ann.refused(frame)).retryable
        assert not log.unacknowledged
        platform.history.refusal = None
        await ann.send(frame)
        await log.until_published()
        assert log.unacknowledged[0][0] == copies
        log.acknowledge()
        await ann.until("accepted")


async def test_a_retry_of_a_mark_is_refused_until_its_copy_can_be_published(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        mark = change_frame("a", marked=Marked(read_up_to=OLD))
        copies = await keep_truth_alone(gateway, log, ann, mark)
        await read_later(gateway, log, Event(people_changed=PeopleChanged(user_id=BEN)))
        with monkeypatch.context() as patch:
            forget_accounts(platform, patch)
            assert (await ann.refused(mark)).retryable
        await ann.send(mark)
        await log.until_published()
        assert log.unacknowledged[0][0] == copies
        log.acknowledge()
        await ann.until("accepted")


async def keep_truth_alone(gateway: Gateway, log: ScriptedLog, client: Client, frame: ClientFrame) -> Sequence[Record]:
    """Send a frame of Ann's, of whose event the log keeps the record of truth alone; return its other records."""
    await client.send(frame)
    await log.until_published()
    ((records, _),) = log.unacknowledged
    log.store(records[0].partition, Envelope.FromString(records[0].value))
    tail = gateway.partitions.tail_of(ANN)
    assert tail is not None
    await until(lambda: tail.sent_with((ANN, "a")) is not None)
    log.acknowledge(Unavailable("no answer"))
    assert (await client.until("refused")).refused.retryable
    assert len(records) > 1
    return records[1:]


async def test_an_event_that_the_log_can_t_take_is_not_in_flight(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A retry would wait for ever, and so would a gateway that stops."""

    def too_large(*_: object, **__: object) -> None:
        raise ValueError("a record is too large")

    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        (session,) = gateway.registry.of(ANN)
        with monkeypatch.context() as patch:
            patch.setattr(log, "publish", too_large)
            with pytest.raises(ValueError, match="too large"):
                await gateway.dispatcher.receive(session, text())
        with trio.fail_after(PATIENCE):
            await gateway.publisher.wait_idle()
        await ann.send(text())
        await log.until_published()


@BOTH
async def test_a_retry_of_an_unconfirmed_event_has_the_same_id(
    platform: Platform, log: ScriptedLog, make: Make
) -> None:
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send(make())
        await log.until_published()
        ((records, _),) = log.unacknowledged
        log.acknowledge(Unavailable("no answer"))
        refused = (await ann.expect("refused")).refused
        assert (refused.frame, refused.client_id, refused.retryable) == (2, "a", True)
        first = Envelope.FromString(records[0].value).event.event_id
        await ann.send(make())
        await log.until_published()
        log.acknowledge()
        assert (await ann.expect("accepted")).accepted.event_id == first


@BOTH
async def test_an_unconfirmed_event_has_a_new_id_once_another_gateway_has_owned_the_partition(
    platform: Platform, log: ScriptedLog, make: Make
) -> None:
    """That gateway may have accepted messages that the user sent before it, under higher ids than its first one."""
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send(make())
        await log.until_published()
        ((records, _),) = log.unacknowledged
        log.acknowledge(Unavailable("no answer"))
        await ann.expect("refused")
        partition = gateway.partitions.partition_of(ANN)
        epoch = gateway.partitions.tails[partition].fences.epoch
        offset = log.store(partition, Envelope(fence=Fence(gateway=1, read_up_to=epoch)))
        await until(lambda: gateway.partitions.tails[partition].fences.epoch > offset + 1)  # fenced again
        await ann.send(make())
        await log.until_published()
        log.acknowledge()
        first = Envelope.FromString(records[0].value).event.event_id
        assert (await ann.expect("accepted")).accepted.event_id > first


async def fail(client: Client, log: ScriptedLog, frame: ClientFrame) -> int:
    """Send a frame whose event the log does not acknowledge; return the id of that."""
    await client.send(frame)
    await log.until_published()
    ((records, _),) = log.unacknowledged
    log.acknowledge(Unavailable("no answer"))
    await client.expect("refused")
    return Envelope.FromString(records[0].value).event.event_id


async def read_later(gateway: Gateway, log: ScriptedLog, event: Event) -> None:
    """Have the gateway read a record of Ann's partition that is two minutes newer."""
    tail = gateway.partitions.tail_of(ANN)
    assert tail is not None
    later_ms = wall_clock_ms() + 2 * RETRY_MARGIN_MS
    value = Envelope(event=event, sender_id=ANN, recipient_ids=[CAT]).SerializeToString()
    log.deliver([StoredRecord(gateway.partitions.partition_of(ANN), tail.next_offset, later_ms, value)])
    await until(lambda: tail.read_up_to_ms == later_ms)


def forget_minute(gateway: Gateway) -> None:
    """Have Ann's tail begin a minute from now."""
    tail = gateway.partitions.tail_of(ANN)
    assert tail is not None
    tail.complete_from_ms = wall_clock_ms() + RETRY_MARGIN_MS


ANOTHER = Event(event_id=1, message=Message())


@pytest.mark.parametrize("is_covered", [True, False], ids=["tail", "history"])
@BOTH
async def test_an_unconfirmed_message_that_tail_and_history_lack_gets_a_new_id_and_may_be_refused(
    platform: Platform, log: ScriptedLog, make: Make, is_covered: bool
) -> None:
    """Newer messages may have been read since, or a user has blocked the other. A change keeps its id: under a new one,
    it would win over changes that were made in between."""
    gateway = await platform.start_gateway()
    frame = repeated(make(), 0 if is_covered else 2**32 - 1)
    async with platform.sign_in(gateway, ANN) as ann:
        first = await fail(ann, log, frame)
        await read_later(gateway, log, ANOTHER)
        if not is_covered:
            forget_minute(gateway)
        await ann.send(frame)
        await log.until_published()
        ((records, _),) = log.unacknowledged
        log.acknowledge()
        second = (await ann.expect("accepted")).accepted.event_id
        assert second == first if make is reaction else second > first
        assert Envelope.FromString(records[0].value).event.event_id == second


@BOTH
async def test_an_event_that_the_log_has_lost_is_refused_after_a_block(
    platform: Platform, log: ScriptedLog, make: Make
) -> None:
    """Also if nothing else has happened in the partition."""
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        await fail(ann, log, make())
        taken = await take_step(platform.accounts, BEN, ANN, block, 5)
        assert not isinstance(taken, Refusal)
        await read_later(gateway, log, Event(people_changed=PeopleChanged(user_id=BEN)))
        assert (await ann.refused(make())).code == "forbidden"


@pytest.mark.parametrize("reason", ["not read", "published again", "not looked up", "history is away"])
async def test_an_unconfirmed_message_keeps_its_id_while_the_log_may_have_it(
    platform: Platform, log: ScriptedLog, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log was not read since the last attempt, or the tail has forgotten its time and history does not answer."""
    gateway = await platform.start_gateway()
    position = Position(offset=-1, epoch=PARTITION_MAP_EPOCH) if reason == "not looked up" else None
    frame = repeated(text(), 0 if reason == "published again" else None)
    async with platform.sign_in(gateway, ANN, position) as ann:
        first = await fail(ann, log, frame)
        if reason == "published again":
            later_ms = wall_clock_ms() + 2 * RETRY_MARGIN_MS
            monkeypatch.setattr("messaging.gateway.publisher.wall_clock_ms", lambda: later_ms)
            assert await fail(ann, log, frame) == first
        if reason != "not read":
            await read_later(gateway, log, ANOTHER)
        if reason not in ("not read", "published again"):
            forget_minute(gateway)
        if reason == "history is away":
            platform.history.refusal = Refusal(Code.UNAVAILABLE, "away")
        await ann.send(frame)
        await log.until_published()
        log.acknowledge()
        assert (await ann.expect("accepted")).accepted.event_id == first


@BOTH
async def test_a_frame_waits_until_a_refused_one_before_it_is_sent_again(
    platform: Platform, log: ScriptedLog, make: Make
) -> None:
    """The client may have sent it before it read the refusal. Marks wait for nothing."""
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send(make("a"))
        await log.until_published()
        log.acknowledge(Unavailable("no answer"))
        await ann.expect("refused")
        for client_id in ("b", "c"):
            refused = await ann.refused(make(client_id))
            assert (refused.client_id, refused.code, refused.retryable) == (client_id, "unavailable", True)
        assert not log.unacknowledged
        await ann.send(change_frame("", marked=Marked(read_up_to=1)))
        for client_id in ("a", "b", "c", "d"):
            await ann.send(make(client_id))
        await log.until_published(5)
        log.acknowledge()
        accepted = [(await ann.expect("accepted")).accepted for _ in range(5)]
        assert [answer.client_id for answer in accepted] == ["", "a", "b", "c", "d"]
        ids = [answer.event_id for answer in accepted[1:]]
        assert ids == sorted(ids)


async def test_a_frame_behind_a_refused_one_is_refused_before_it_is_looked_up(
    platform: Platform, log: ScriptedLog
) -> None:
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send(text("a"))
        await log.until_published()
        log.acknowledge(Unavailable("no answer"))
        await ann.expect("refused")
        assert (await ann.refused(change_frame("b", 55, deleted=Deleted()))).code == "unavailable"  # not "not_found"


@BOTH
@pytest.mark.parametrize("other", [text, reaction])
async def test_a_client_id_is_used_for_one_content_in_one_chat(
    platform: Platform, gateway: Gateway, make: Make, other: Make
) -> None:
    """Messages and changes have one name space: the same id for a message and for a change is refused too."""
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ann.send(make("a"))
        await ann.send(other("a", "two"))  # while the first is in flight
        assert {(await ann.next()).WhichOneof("frame") for _ in range(2)} == {"accepted", "refused"}
        for frame, what in ((other("a", "two"), "another content"), (other("a", to=CAT), "another chat")):
            refused = await ann.refused(frame)
            field = "send.client_message_id" if other is text else "change.client_change_id"
            assert (refused.code, refused.field) == ("invalid", field)
            assert what in refused.message
        await ann.send_text("b", BEN)
        assert [client_id_of((await ben.expect("event")).event) for _ in range(2)] == ["a", "b"]


def repeated(frame: ClientFrame, ms_ago: int | None = 2**32 - 1) -> ClientFrame:
    if ms_ago is not None:
        frame.first_sent_ms_ago = ms_ago
    return frame


@pytest.mark.parametrize(
    ("ms_ago", "is_resumed", "finds"),
    [(0, False, 0), (50_000, False, 0), (90_000, True, 1), (None, True, 0), (None, False, 1)],
)
async def test_history_is_read_only_for_a_send_that_may_repeat_one_from_before_the_tail(
    platform: Platform, gateway: Gateway, ms_ago: int | None, is_resumed: bool, finds: int
) -> None:
    tail = gateway.partitions.tail_of(ANN)
    assert tail is not None
    tail.complete_from_ms = wall_clock_ms() - 120_000
    if ms_ago is None:  # such a client's messages are accepted without it
        platform.history.refusal = Refusal(Code.UNAVAILABLE, "away")
    async with platform.sign_in(
        gateway, ANN, Position(offset=-1, epoch=PARTITION_MAP_EPOCH) if is_resumed else None
    ) as ann:
        for _ in range(2):
            await ann.send(repeated(text(), ms_ago))
            await ann.expect("accepted")
        await ann.accepted(repeated(change_frame("", marked=Marked(read_up_to=1)), ms_ago))
    assert platform.history.finds == finds, "the second one is in the tail"


FORMER_TEXT = Event(event_id=77, message=Message(chat_id="d-1-2", text=Text(body="one")))
FORMER_REACTION = Event(
    event_id=77, change=Change(chat_id="d-1-2", target_id=OLD, reacted=Reacted(emoji="👍", set=True))
)
FORMER_FILES = [FileInfo(file_id=5, name="former.png"), FileInfo(file_id=7)]
FORMER_PICTURE = Event(event_id=77, message=Message(chat_id="d-1-2", text=Text(), files=FORMER_FILES))
DELETED = Event(event_id=77, message=Message(chat_id="d-1-2"))


@pytest.mark.parametrize(
    ("make", "former", "other_code", "copies"),
    [
        *((text, FORMER_TEXT, "invalid", 1), (reaction, FORMER_REACTION, "invalid", 1), (text, DELETED, "", 0)),
        *((picture, FORMER_PICTURE, "invalid", 1), (picture, DELETED, "", 0)),
    ],
)
async def test_a_retry_from_before_the_tail_is_answered_with_the_first_event(
    platform: Platform, log: ScriptedLog, make: Make, former: Event, other_code: str, copies: int
) -> None:
    """Its copies are published again, since its gateway may have died before it did. Of a deleted message no content is
    left to compare, or to publish. The tail remembers nothing of it, since it gets no record that ends that."""
    gateway = await platform.start_gateway()
    platform.history.sent["a"] = former
    platform.history.add(OLD, deleted=Deleted())  # since the first: the retry is answered all the same
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send(repeated(make()))
        await log.until_published(copies)
        envelopes = [Envelope.FromString(record.value) for records, _ in log.unacknowledged for record in records]
        assert [(each.event.event_id, each.truth) for each in envelopes] == [(77, False)] * copies
        assert [list(each.event.message.files) for each in envelopes] == [list(former.message.files)] * copies
        log.acknowledge()
        assert (await ann.expect("accepted")).accepted.event_id == 77
        tail = gateway.partitions.tail_of(ANN)
        assert tail is not None
        assert (tail.sent_with((ANN, "a")), tail.target(ANN, "d-1-2", 77)) == (None, None)
        await ann.send(repeated(make("a", "two")))
        assert (await ann.next()).refused.code == other_code


async def test_a_retry_from_before_the_tail_waits_for_history(platform: Platform, log: ScriptedLog) -> None:
    """The archive is away, or has not recorded the messages that the tail has forgotten."""
    gateway = await platform.start_gateway()
    tail = gateway.partitions.tail_of(ANN)
    assert tail is not None
    tail.complete_from = log.recorded + 1
    async with platform.sign_in(gateway, ANN) as ann:
        for refusal in (Refusal(Code.UNAVAILABLE, "away", retry_after_ms=500), None):
            platform.history.refusal = refusal
            await ann.send(repeated(text()))
            refused = (await ann.expect("refused")).refused
            assert (refused.code, refused.retry_after_ms) == ("unavailable", 500 if refusal else 1_000)
        log.recorded = tail.complete_from
        await ann.send(repeated(text()))
        await log.until_published()


async def test_a_retry_from_before_the_tail_is_refused_if_the_log_does_not_answer(
    platform: Platform, log: ScriptedLog, monkeypatch: pytest.MonkeyPatch, mock_clock: MockClock
) -> None:
    gateway = await platform.start_gateway()
    tail = gateway.partitions.tail_of(ANN)
    assert tail is not None
    tail.complete_from = log.recorded + 1

    async def hang(*_: object) -> int:
        mock_clock.jump(LOG_SECONDS)
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(log, "committed_offset", hang)
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send(repeated(text()))
        assert (await ann.expect("refused")).refused.code == "unavailable"


@pytest.mark.parametrize(
    ("age_ms", "complete_up_to", "code"),
    [(200_000, 0, "unavailable"), (200_000, MAX_ID, "not_found"), (60_000, 0, "not_found"), (-60_000, 0, "not_found")],
)
async def test_a_change_of_a_message_that_history_may_not_have_yet_is_refused_for_now(
    platform: Platform, gateway: Gateway, age_ms: int, complete_up_to: int, code: str
) -> None:
    """The tail has forgotten it. A newer message would be in the tail."""
    tail = gateway.partitions.tail_of(ANN)
    assert tail is not None
    tail.complete_from_ms = wall_clock_ms() - 120_000
    platform.history.complete_up_to = complete_up_to
    async with platform.sign_in(gateway, ANN) as ann:
        frame = change_frame("a", first_id_at(wall_clock_ms() - age_ms), reacted=Reacted(emoji="👍", set=True))
        assert (await ann.refused(frame)).code == code


async def test_retries_that_wait_for_history_at_once_make_one_message(platform: Platform, log: ScriptedLog) -> None:
    gateway = await platform.start_gateway()
    platform.history.open = trio.Event()
    async with platform.sign_in(gateway, ANN) as phone, platform.sign_in(gateway, ANN) as laptop:
        for client in (phone, laptop):
            await client.send(repeated(text()))
        await until(lambda: platform.history.finds == 2)
        platform.history.open.set()
        await log.until_published()
        await trio.testing.wait_all_tasks_blocked(0.01)
        log.acknowledge()
        answers = [(await client.expect("accepted")).accepted for client in (phone, laptop)]
    assert answers[0] == answers[1]
    assert not log.unacknowledged


async def test_a_message_to_an_unknown_user_is_refused(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        await ann.send_text("a", 999)
        refused = (await ann.expect("refused")).refused
        assert (refused.code, refused.field, refused.client_id) == ("not_found", "send.recipient_id", "a")
        await ann.send_accepted("b", BEN)


async def take(platform: Platform, user_id: int, step: Step, other_id: int) -> None:
    """Take a step of a user's relationship to another one, as the BFF does."""
    taken = await take_step(platform.accounts, user_id, other_id, step, 5)
    assert not isinstance(taken, Refusal)
    await announce_change(platform.backplane, *taken)


async def people_changed(client: Client) -> int:
    """The user of the client's next PeopleChanged."""
    while not (event := (await client.until("event")).event).HasField("people_changed"):
        pass
    return event.people_changed.user_id


async def is_refused(client: Client, frame: ClientFrame, code: str, field: str, words: str) -> bool:
    refused = await client.refused(frame)
    return (refused.code, refused.field) == (code, field) and words in refused.message


@pytest.mark.parametrize("blocker", [ANN, BEN])
async def test_a_block_ends_a_direct_chat_in_both_directions_until_it_ends_and_is_not_revealed(
    platform: Platform, gateway: Gateway, blocker: int
) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ann.accepted(text("a"))
        newest = await ben.accepted(text("b", to=ANN))
        own, blocked = (ann, ANN + BEN - blocker) if blocker == ANN else (ben, ANN)
        await take(platform, blocker, block, blocked)
        assert (await people_changed(own)) == blocked
        for client, user_id in ((ann, ANN), (ben, BEN)):
            words = "You have blocked" if user_id == blocker else "accepts no messages from people they don't know"
            message, change = text("c", to=ANN + BEN - user_id), change_frame("d", OLD, reacted=THUMB)
            assert await is_refused(client, message, "forbidden", "send.recipient_id", words)
            assert await is_refused(client, change, "forbidden", "change.chat_id", words)
            await client.accepted(change_frame("e", OLD, hidden=Hidden(set=True)))
            await client.accepted(ClientFrame(typing=Typing(chat_id="d-1-2")))
            for mark in (Marked(read_up_to=newest.event_id), Marked(delivered_up_to=newest.event_id)):
                await client.accepted(change_frame("", marked=mark))
            await client.accepted(text("f", to=CAT))
        await take(platform, blocker, unblock, blocked)
        assert (await people_changed(own)) == blocked
        await ann.accepted(text("g"))
        await ben.accepted(text("h", to=ANN))
    other = ben if own is ann else ann
    events = [frame.event.WhichOneof("event") for frame in other.frames if frame.HasField("event")]
    assert events in (["message"], ["message", "message"])  # of "a" or "b", and perhaps of the last one


async def test_a_message_that_was_accepted_before_a_block_stays_so(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        first = await ann.accepted(text())
        await take(platform, BEN, block, ANN)
        assert (await ann.accepted(text())).event_id == first.event_id


async def away(*_: object) -> NoReturn:
    raise Unavailable("away")


def forget_accounts(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the accounts not answer any more."""
    for name in ("users", "relationships"):
        monkeypatch.setattr(platform.accounts, name, away)


async def test_an_open_direct_chat_goes_on_while_the_accounts_do_not_answer(
    platform: Platform, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also once the last answers have expired, until a block is announced. Another chat is refused."""
    for seconds in ("OPEN_SECONDS", "MARKS_SECONDS"):
        monkeypatch.setattr(f"messaging.gateway.lookups.{seconds}", 0.0001)
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        mark = change_frame("", marked=Marked(read_up_to=(await ann.accepted(text("a"))).event_id))
        await ben.accepted(mark)
        assert not (await next_mark(ann)).is_private
        forget_accounts(platform, monkeypatch)
        for frame in (text("b"), reaction("c"), ClientFrame(typing=Typing(chat_id="d-1-2"))):
            await ann.accepted(frame)
        await ben.accepted(mark)
        assert not (await next_mark(ann)).is_private
        assert (await ben.refused(text("d", to=CAT))).retryable
        await announce_change(platform.backplane, Relationship(BEN, ANN), Relationship(BEN, ANN, blocks_ms=5))
        await people_changed(ben)
        for frame in (text("e"), reaction("f")):
            assert (await ann.refused(frame)).retryable
        assert (await ben.refused(mark)).retryable


@pytest.mark.parametrize("found_by", ["message", "reaction", "mark"])
async def test_a_block_that_was_found_holds_while_the_accounts_do_not_answer(
    platform: Platform, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, found_by: str
) -> None:
    """Also one that was never announced."""
    for seconds in ("OPEN_SECONDS", "MARKS_SECONDS"):
        monkeypatch.setattr(f"messaging.gateway.lookups.{seconds}", 0.0001)
    async with platform.sign_in(gateway, ANN) as ann:
        read_mark = change_frame("", marked=Marked(read_up_to=(await ann.accepted(text("a"))).event_id))
        await ann.accepted(read_mark)
        assert not isinstance(await take_step(platform.accounts, BEN, ANN, block, 5), Refusal)
        if found_by == "mark":
            await ann.accepted(read_mark)  # privately
        else:
            assert (await ann.refused(text("b") if found_by == "message" else reaction("b"))).code == "forbidden"
        forget_accounts(platform, monkeypatch)
        for frame in (text("b"), reaction("b"), read_mark):
            assert (await ann.refused(frame)).code == "unavailable"


async def test_the_deletion_of_an_account_that_was_found_holds_while_the_accounts_do_not_answer(
    platform: Platform, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also in the chats of other users."""
    monkeypatch.setattr("messaging.gateway.lookups.OPEN_SECONDS", 0.0001)
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, CAT) as cat:
        for client in (ann, cat):
            await client.accepted(text())
        await platform.accounts.delete_user(BEN)
        assert (await ann.refused(text("b"))).code == "recipient_deleted"
        forget_accounts(platform, monkeypatch)
        for client in (ann, cat):
            assert (await client.refused(text("b"))).code == "unavailable"


@BOTH
async def test_a_retry_of_an_accepted_event_is_answered_while_the_accounts_do_not_answer(
    platform: Platform, gateway: Gateway, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        first = await ann.accepted(make())
        await announce_change(platform.backplane, Relationship(BEN, ANN), Relationship(BEN, ANN, blocks_ms=5))
        await people_changed(ben)
        forget_accounts(platform, monkeypatch)
        assert (await ann.accepted(make())).event_id == first.event_id


async def test_a_user_who_accepts_first_messages_from_connections_only_refuses_others(
    platform: Platform, gateway: Gateway
) -> None:
    for user_id in (BEN, CAT):
        await platform.accounts.update_profile(
            user_id, display_name="", about="", version=1, who_may_start=WhoMayStart.CONNECTIONS
        )
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        await ben.accepted(change_frame("m", chat_id="d-1-2", muted=Muted(until_ms=MAX_ID)))  # makes no chat
        await ann.accepted(ClientFrame(typing=Typing(chat_id="d-1-2")))  # and is not shown
        words = "accepts no messages from people they don't know"
        assert await is_refused(ann, text(), "forbidden", "send.recipient_id", words)
        await ben.accepted(text(to=ANN))
        assert [frame for frame in ben.frames if frame.event.HasField("typing")] == []
        await ann.accepted(text("b"))
        assert await is_refused(ann, text("c", to=CAT), "forbidden", "send.recipient_id", words)
        for user_id, other_id in ((ANN, CAT), (CAT, ANN)):
            await take(platform, user_id, invite, other_id)
        await ann.accepted(text("c", to=CAT))


@pytest.mark.parametrize("has_message", [True, False])
async def test_a_direct_chat_that_only_history_has_goes_on(
    platform: Platform, gateway: Gateway, has_message: bool
) -> None:
    await platform.accounts.update_profile(
        BEN, display_name="", about="", version=1, who_may_start=WhoMayStart.CONNECTIONS
    )
    if has_message:
        platform.history.messages[7] = HistoryMessage(message=Message(chat_id="d-1-2", sender_id=BEN))
    async with platform.sign_in(gateway, ANN) as ann:
        platform.history.refusal = Refusal(Code.UNAVAILABLE, "The archive is away.")
        assert (await ann.refused(text())).code == "unavailable"
        platform.history.refusal = None
        if has_message:
            await ann.accepted(text())
        else:
            assert (await ann.refused(text())).code == "forbidden"


async def test_a_change_reaches_every_session_of_both_but_its_origin_and_needs_a_message(
    platform: Platform, gateway: Gateway
) -> None:
    async with (
        platform.sign_in(gateway, ANN) as ann,
        platform.sign_in(gateway, BEN) as phone,
        platform.sign_in(gateway, BEN) as laptop,
    ):
        message_id = (await ann.send_accepted("a", BEN)).event_id
        for client in (phone, laptop):
            await client.expect("event")
        for client_id, is_set in (("b", True), ("c", False)):
            body = Reacted(emoji="🔥", set=is_set)
            await phone.send(change_frame(client_id, message_id, actor_id=ANN, reacted=body))
            accepted = (await phone.expect("accepted")).accepted
            assert (accepted.client_id, accepted.chat_id) == (client_id, "d-1-2")
            for client in (ann, laptop):
                event = (await client.expect("event")).event
                assert (event.event_id, event.change.target_id) == (accepted.event_id, message_id)
                assert (event.change.actor_id, event.change.reacted) == (BEN, body)
        for target_id in (12345, accepted.event_id):
            refused = await phone.refused(change_frame("d", target_id, reacted=body))
            assert (refused.code, refused.field) == ("not_found", "change.target_id")
        assert (await phone.accepted(change_frame("e", OLD, reacted=body))).client_id == "e"
        platform.history.refusal = Refusal(Code.UNAVAILABLE, "away")
        assert (await phone.refused(change_frame("f", 777, reacted=body))).retryable


EDIT = Edited(text=Text(body="better"))


async def test_a_retry_of_a_message_that_was_deleted_since_publishes_nothing(
    platform: Platform, gateway: Gateway
) -> None:
    async with (
        platform.sign_in(gateway, ANN) as ann,
        platform.sign_in(gateway, ANN) as phone,
        platform.sign_in(gateway, BEN) as ben,
    ):
        message_id = (await ann.accepted(text("a", "secret"))).event_id
        edit_id = (await ann.accepted(change_frame("e", message_id, edited=EDIT))).event_id
        await ann.accepted(change_frame("b", message_id, deleted=Deleted()))
        for client in (phone, ben) * 3:
            await client.expect("event")
        own, others = gateway.partitions.tail_of(ANN), gateway.partitions.tail_of(BEN)
        assert own is not None
        assert others is not None
        assert own is not others
        others.deletions.clear()  # as a tail that is shorter, since it has more bytes
        assert (await ann.accepted(text("a", "secret"))).event_id == message_id
        assert (await ann.accepted(change_frame("e", message_id, edited=EDIT))).event_id == edit_id
        await ann.accepted(text("c"))
        assert client_id_of((await ben.expect("event")).event) == "c"


async def test_a_sender_edits_and_deletes_a_message_at_once(platform: Platform, gateway: Gateway) -> None:
    """Of a deleted message nothing is replayed but a stub and the deletion."""
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        message_id = (await ann.accepted(text("a", "secret"))).event_id
        edit = (await ann.accepted(change_frame("b", message_id, edited=EDIT))).event_id  # not read back yet, maybe
        await ann.accepted(change_frame("c", message_id, deleted=Deleted()))
        events = [(await ben.expect("event")).event for _ in range(3)]
        assert [event.change.WhichOneof("body") for event in events] == [None, "edited", "deleted"]
        assert events[1].event_id == edit
        assert (await ann.accepted(change_frame("d", message_id, deleted=Deleted()))).client_id == "d"
        for frame in (
            change_frame("e", message_id, edited=EDIT),
            change_frame("f", message_id, reacted=Reacted(emoji="🔥", set=True)),
            change_frame("h", edit, edited=EDIT),
        ):
            refused = await ann.refused(frame)
            assert (refused.code, refused.field) == ("not_found", "change.target_id")
        retries = [
            await ann.accepted(frame) for frame in (text("a", "secret"), change_frame("b", message_id, edited=EDIT))
        ]
        assert [answer.event_id for answer in retries] == [message_id, edit]
        await ann.send_text("g", BEN)
        later = [(await ben.expect("event")).event for _ in range(2)]
        assert [client_id_of(event) for event in later] == ["d", "g"], "retries restore nothing"
    async with platform.sign_in(gateway, BEN) as ben:
        replay = [(await ben.expect("event")).event for _ in range(4)]
        assert [client_id_of(event) for event in replay] == ["a", "c", "d", "g"]
        assert replay[0].message.sender_id == ANN
        assert not replay[0].message.HasField("text")


async def test_an_answer_sorts_after_a_message_of_a_gateway_whose_clock_is_ahead(
    platform: Platform, gateway: Gateway
) -> None:
    ahead = await SnowflakeGenerator(9, lambda: wall_clock_ms() + MAX_AHEAD_MS // 2).next()
    event = Event(event_id=ahead, message=Message(message_id=ahead, chat_id="d-1-2", sender_id=ANN, text=Text()))
    copy = fan_out_copies(event, sender_id=ANN, recipient_ids=[BEN], partitions=PARTITIONS)
    async with platform.sign_in(gateway, BEN) as ben:
        await publish_and_wait(platform.backplane, copy)
        await ben.expect("event")
        reaction = await ben.accepted(change_frame("a", ahead, reacted=Reacted(emoji="👍", set=True)))
        answer = await ben.send_accepted("b", ANN)
    assert ahead < reaction.event_id < answer.event_id


async def test_a_private_change_reaches_the_actor_s_devices_alone(platform: Platform, gateway: Gateway) -> None:
    async with (
        platform.sign_in(gateway, ANN) as phone,
        platform.sign_in(gateway, ANN) as laptop,
        platform.sign_in(gateway, BEN) as ben,
    ):
        for frame in (
            change_frame("a", OLD, hidden=Hidden(set=True)),
            change_frame("b", marked_unread=MarkedUnread(set=True)),
        ):
            accepted = await phone.accepted(frame)
            event = (await laptop.expect("event")).event
            assert (event.event_id, client_id_of(event)) == (accepted.event_id, frame.change.client_change_id)
        await phone.send_text("c", BEN)
        assert client_id_of((await ben.expect("event")).event) == "c"


async def test_a_message_gets_a_bounded_number_of_reactions(platform: Platform, gateway: Gateway) -> None:
    """It counts in history, and in a tail that has the message: see its tests."""
    platform.history.messages[OLD].changes.extend([Event()] * reacted.MAX_CHANGES)
    async with platform.sign_in(gateway, ANN) as ann:
        refused = await ann.refused(reaction())
    assert (refused.code, refused.field, "1000 changes" in refused.message) == ("too_large", "change.target_id", True)


async def test_only_the_sender_edits_and_deletes_and_only_in_time(platform: Platform) -> None:
    gateway = await platform.start_gateway(LiveConfiguration(edit_seconds=60))
    platform.history.add(OLD, sender_id=ANN)
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        young = (await ann.send_accepted("a", BEN)).event_id
        await ben.expect("event")
        for target_id in (OLD, young):
            for frame in (
                change_frame("b", target_id, edited=EDIT),
                change_frame("b", target_id, deleted=Deleted()),
            ):
                refused = await ben.refused(frame)
                assert (refused.code, refused.field) == ("forbidden", "change.target_id")
        refused = await ann.refused(change_frame("c", OLD, edited=EDIT))
        assert (refused.code, "60 seconds" in refused.message) == ("forbidden", True)
        await ann.accepted(change_frame("d", young, edited=EDIT))
        await ann.accepted(change_frame("e", OLD, deleted=Deleted()))
        platform.history.add(98, deleted=Deleted())
        for target_id in (OLD, 98):  # deleted by the tail, and by the archive
            refused = await ben.refused(change_frame("f", target_id, reacted=Reacted(emoji="🔥")))
            assert (refused.code, refused.field) == ("not_found", "change.target_id")


async def test_a_reply_needs_its_message(platform: Platform, gateway: Gateway) -> None:
    async with platform.sign_in(gateway, ANN) as ann:
        reply = ClientFrame(send=Send(client_message_id="a", recipient_id=BEN, text=Text(body="yes"), reply_to=55))
        await ann.send(reply)
        assert (await ann.expect("refused")).refused.code == "not_found"
        platform.history.add(55)
        await ann.send(reply)
        await ann.expect("accepted")


async def test_marks_reach_every_other_device_and_not_from_the_future(platform: Platform, gateway: Gateway) -> None:
    async with (
        platform.sign_in(gateway, ANN) as ann,
        platform.sign_in(gateway, BEN) as ben,
        platform.sign_in(gateway, BEN) as laptop,
    ):
        message_id = (await ann.send_accepted("a", BEN)).event_id
        for client in (ben, laptop):
            await client.expect("event")
        mark = change_frame("", marked=Marked(read_up_to=message_id))
        first, second = [await ben.accepted(mark) for _ in range(2)]
        assert (first.frame, first.client_id, second.frame) == (2, "", 3)
        assert second.event_id > first.event_id, "a repeated mark is no retry"
        for client in (ann, laptop):
            change = (await client.expect("event")).event.change
            assert (change.actor_id, change.marked) == (BEN, Marked(read_up_to=message_id, delivered_up_to=message_id))
        refused = await ben.refused(change_frame("", marked=Marked(read_up_to=2**63 - 1)))
        assert refused.field == "change.marked.delivered_up_to"


@pytest.mark.parametrize("hider", [ANN, BEN])
async def test_read_marks_between_users_of_whom_one_hides_them_reach_own_devices_alone(
    platform: Platform, gateway: Gateway, hider: int
) -> None:
    await platform.accounts.update_profile(hider, display_name="", about="", version=1, shows_read_marks=False)
    async with (
        platform.sign_in(gateway, ANN) as ann,
        platform.sign_in(gateway, BEN) as ben,
        platform.sign_in(gateway, BEN) as laptop,
    ):
        message_id = (await ann.send_accepted("a", BEN)).event_id
        await laptop.expect("event")
        read = change_frame("b", marked=Marked(read_up_to=message_id))
        first, retry = await ben.accepted(read), await ben.accepted(read)
        assert first.event_id == retry.event_id
        await ben.accepted(change_frame("", marked=Marked(delivered_up_to=message_id)))
        hidden, shown = [(await laptop.expect("event")).event.change for _ in range(2)]
        assert (hidden.marked.read_up_to, hidden.is_private, shown.is_private) == (message_id, True, False)
        assert (await ann.expect("event")).event.change == shown, "delivery is public"


@pytest.mark.parametrize("blocker", [ANN, BEN])
async def test_marks_between_users_of_whom_one_blocks_the_other_reach_own_devices_alone(
    platform: Platform, gateway: Gateway, blocker: int
) -> None:
    async with (
        platform.sign_in(gateway, ANN) as ann,
        platform.sign_in(gateway, BEN) as ben,
        platform.sign_in(gateway, BEN) as laptop,
    ):
        message_id = (await ann.send_accepted("a", BEN)).event_id
        delivered = change_frame("", marked=Marked(delivered_up_to=message_id))
        own, blocked = (ann if blocker == ANN else ben), ANN + BEN - blocker
        await take(platform, blocker, block, blocked)
        assert await people_changed(own) == blocked
        await ben.accepted(delivered)
        await ben.accepted(change_frame("", marked=Marked(read_up_to=message_id)))
        await take(platform, blocker, unblock, blocked)
        assert await people_changed(own) == blocked
        await ben.accepted(delivered)
        marks = [await next_mark(laptop) for _ in range(3)]
        assert [each.is_private for each in marks] == [True, True, False]
        assert await next_mark(ann) == marks[-1]


async def next_mark(client: Client) -> Change:
    while not (change := (await client.until("event")).event.change).HasField("marked"):
        pass
    return change


async def test_messages_are_marked_as_read_after_the_clock_was_set_back(
    platform: Platform, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        message_id = (await ann.send_accepted("a", BEN)).event_id
        await ben.expect("event")
        monkeypatch.setattr("messaging.gateway.access.wall_clock_ms", lambda: time_of(message_id) - 3_600_000)
        await ben.accepted(change_frame("", marked=Marked(read_up_to=message_id)))
        refused = await ben.refused(change_frame("", marked=Marked(read_up_to=message_id + (60_000 << 22))))
        assert refused.field == "change.marked.delivered_up_to"


async def test_typing_reaches_the_other_member_only_and_writes_nothing_to_the_log(
    platform: Platform, gateway: Gateway
) -> None:
    ends = [await platform.backplane.end_offset(partition) for partition in range(PARTITIONS)]
    async with platform.sign_in(gateway, ANN) as ann, platform.sign_in(gateway, BEN) as ben:
        for number in range(200):
            accepted = await ann.accepted(ClientFrame(typing=Typing(chat_id="d-1-2")))
            assert (accepted.frame, accepted.event_id) == (2 + number, 0)
            event = (await ben.expect("event")).event
            assert (event.typing.user_id, event.event_id, event.HasField("position")) == (ANN, 0, False)
        await ann.send(ClientFrame(ping={}))
        await ann.expect("pong")
    assert [await platform.backplane.end_offset(partition) for partition in range(PARTITIONS)] == ends
