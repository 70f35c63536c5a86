"""Who may do what in a group, over sessions: members, by their permissions. And which sessions get it."""

import dataclasses
import itertools
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from messaging.envelopes import decode, fan_out
from messaging.gateway import access, publisher, rosters
from messaging.gateway.gateway import Gateway
from messaging.gateway.lookups import MARKS_SECONDS, OPEN_SECONDS, Lookups
from messaging.gateway.owned_partitions import OwnedPartitions
from rookery.v1.archive_pb2 import HistoryMessage
from rookery.v1.backplane_pb2 import Envelope
from rookery.v1.group_service_pb2 import AddMembers, ChangeMember, ChangeSettings, Join
from rookery.v1.groups_pb2 import ROLE_GUEST, Control
from rookery.v1.session_pb2 import (
    Change,
    ClientFrame,
    Deleted,
    Edited,
    Follow,
    Hidden,
    Marked,
    Mention,
    Message,
    Pinned,
    Reacted,
    Send,
    Starred,
    Text,
    Typing,
)
from shared.accounts.people import Relationship
from shared.accounts.store import User
from shared.backplane.publishing import publish_and_wait
from shared.configuration import LiveConfiguration
from shared.configuration.live import Live
from shared.contract.errors import Code, Unavailable
from shared.contract.groups import Permission, Roster, audience
from shared.contract.ids import MAX_AHEAD_MS, first_id_at, wall_clock_ms
from shared.contract.partitions import partition_of
from tests.messaging.gateway.harness import (
    ALL,
    ANN,
    BEN,
    CAT,
    PARTITIONS,
    Crew,
    Platform,
    ScriptedHistory,
    ScriptedLog,
    change_frame,
)
from tests.waiting import until

DAN, EVE, STRANGER, ASKER = 4, 5, 6, 7
"""A guest, a former member, and two users who never were one; the last has asked to join."""

CHAT = "g-7"
OLD, BENS, CONTROL = 49, 50, 51
"""Two messages of Ben's, and a control change, in history."""


@pytest.fixture
def crew(platform: Platform, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Crew:
    """Ann's group, or her channel, as the archive has it. Members may only react, Ben also post."""
    monkeypatch.setattr(access, "JOIN_SECONDS", 0.05)
    crew = Crew(ANN, BEN, CAT, EVE, permissions=Permission.REACT, is_channel=getattr(request, "param", False))
    crew.change(2, add_members=AddMembers(user_ids=[DAN], role=ROLE_GUEST))
    crew.change(3, change_member=ChangeMember(user_id=BEN, allow=Permission.POST))
    crew.remove(4, EVE)
    crew.change(5, change_settings=ChangeSettings(is_public=True, asks_to_join=True))
    crew.change(6, ASKER, join=Join())
    platform.history.groups[CHAT] = crew.stored
    platform.history.add(OLD)
    platform.history.add(BENS)
    platform.history.messages[CONTROL] = HistoryMessage(message=Message(sender_id=ANN, control=Control(version=4)))
    return crew


numbers = itertools.count()


def send(client_id: str = "", *, mentions: int = 0, everyone: bool = False, reply_to: int = 0) -> ClientFrame:
    mentioned = [Mention(user_id=mentions, name="x")] if mentions else []
    text = Text(body="hi @x", mentions=mentioned, mentions_everyone=everyone)
    return ClientFrame(
        send=Send(client_message_id=client_id or f"c{next(numbers)}", chat_id=CHAT, text=text, reply_to=reply_to),
        first_sent_ms_ago=0,
    )


def change(target_id: int = BENS, **body: object) -> ClientFrame:
    return change_frame(f"c{next(numbers)}", target_id, chat_id=CHAT, **body)


ADD_STRANGER = AddMembers(user_ids=[STRANGER])
TYPING = ClientFrame(typing=Typing(chat_id=CHAT))
EDIT = Edited(text=Text(body="better"))
ALERT = Edited(text=Text(body="@all", mentions_everyone=True))


@pytest.mark.parametrize("crew", [False, True], indirect=True, ids=["group", "channel"])
async def test_who_may_do_what(platform: Platform, gateway: Gateway, crew: Crew) -> None:
    for user_id, frame, code, field in (
        (BEN, send(), None, ""),
        (BEN, send(mentions=DAN), None, ""),
        (BEN, send(mentions=EVE), Code.NOT_FOUND, "send.text.mentions[0].user_id"),
        (BEN, send(everyone=True), Code.FORBIDDEN, "send.text.mentions_everyone"),
        (ANN, send(everyone=True), None, ""),
        (BEN, change(edited=ALERT), Code.FORBIDDEN, "change.edited.text.mentions_everyone"),
        (BEN, send(reply_to=BENS), None, ""),
        (BEN, send(reply_to=CONTROL), Code.INVALID, "send.reply_to"),
        (CAT, send(), Code.FORBIDDEN, "send.chat_id"),
        (EVE, send(), Code.NOT_FOUND, "send.chat_id"),
        (STRANGER, send(), Code.NOT_FOUND, "send.chat_id"),
        (BEN, TYPING, None, ""),
        (CAT, TYPING, Code.FORBIDDEN, "typing.chat_id"),
        (STRANGER, TYPING, Code.NOT_FOUND, "typing.chat_id"),
        (BEN, change(edited=EDIT), None, ""),
        (ANN, change(edited=EDIT), Code.FORBIDDEN, "change.target_id"),
        (DAN, change(reacted=Reacted(emoji="👍", set=True)), None, ""),
        (EVE, change(reacted=Reacted(emoji="👍", set=True)), Code.NOT_FOUND, "change.chat_id"),
        (BEN, change(pinned=Pinned(set=True)), Code.FORBIDDEN, "change.chat_id"),
        (ANN, change(pinned=Pinned(set=True)), None, ""),
        (BEN, change(OLD, deleted=Deleted()), None, ""),
        (ANN, change(OLD, deleted=Deleted()), None, ""),
        (CAT, change(deleted=Deleted()), Code.FORBIDDEN, "change.target_id"),
        (EVE, change(0, marked=Marked(read_up_to=BENS)), None, ""),
        (EVE, change(starred=Starred(set=True)), None, ""),
        (STRANGER, change(starred=Starred(set=True)), Code.NOT_FOUND, "change.chat_id"),
        (ASKER, change(starred=Starred(set=True)), Code.NOT_FOUND, "change.chat_id"),
        (ASKER, change(0, marked=Marked(read_up_to=BENS)), Code.NOT_FOUND, "change.chat_id"),
        (ASKER, send(), Code.NOT_FOUND, "send.chat_id"),
        (EVE, change(CONTROL, hidden=Hidden(set=True)), None, ""),
        (ANN, change(CONTROL, starred=Starred(set=True)), Code.INVALID, "change.target_id"),
        (ANN, change(CONTROL, deleted=Deleted()), Code.INVALID, "change.target_id"),
    ):
        async with platform.sign_in(gateway, user_id) as client:
            await client.send(frame)
            while (answer := await client.next()).WhichOneof("frame") == "event":
                pass
            assert (answer.refused.code, answer.refused.field) == (code or "", field), (user_id, frame)


async def test_nothing_is_sent_to_a_group_whose_members_changed_by_a_clock_far_ahead_until_its_time_has_passed(
    platform: Platform, gateway: Gateway, crew: Crew
) -> None:
    """History would show a message with a lower id to the removed user."""
    crew.remove(first_id_at(wall_clock_ms() + 60 * MAX_AHEAD_MS), DAN)
    platform.history.groups[CHAT] = crew.stored
    async with platform.sign_in(gateway, BEN) as ben:
        refused = await ben.refused(send())
        assert (refused.code, refused.retryable) == (Code.INTERNAL, False), "repetitions would hold back other sends"
        await ben.accepted(change(starred=Starred(set=True)))
        await ben.send_accepted("to Ann", ANN)


async def test_a_user_asks_for_few_groups_that_were_never_theirs_in_all_frames_together(
    platform: Platform, crew: Crew
) -> None:
    gateway = await platform.start_gateway(LiveConfiguration(unknown_chats_per_minute=3))
    starred = Change(chat_id="g-101", target_id=BENS, client_change_id="s", starred=Starred(set=True))
    typing, follow = ClientFrame(typing=Typing(chat_id="g-102")), ClientFrame(follow=Follow(chat_ids=["g-103"]))
    message = ClientFrame(send=Send(client_message_id="m", chat_id="g-100", text=Text(body="hi")))
    async with platform.sign_in(gateway, BEN) as ben, platform.sign_in(gateway, EVE) as eve:
        await ben.accepted(TYPING)
        for frame in (follow, message, ClientFrame(change=starred)):
            assert (await ben.refused(frame)).code == Code.NOT_FOUND
        asked = platform.history.finds
        for frame in (typing, follow, message):
            refused = await ben.refused(frame)
            assert (refused.code, refused.retry_after_ms > 0) == (Code.RATE_LIMITED, True)
        assert platform.history.finds == asked, "the archive is not asked"
        await ben.accepted(TYPING)
        for _ in range(4):
            assert (await eve.refused(TYPING)).code == Code.NOT_FOUND, "it was her group"


async def test_members_get_messages_and_the_actor_s_devices_alone_get_marks_and_stars(
    platform: Platform, gateway: Gateway, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with (
        platform.sign_in(gateway, BEN) as phone,
        platform.sign_in(gateway, BEN) as laptop,
        platform.sign_in(gateway, DAN) as dan,
        platform.sign_in(gateway, EVE) as eve,
    ):
        first = await phone.accepted(send("a"))
        await phone.accepted(change(0, marked=Marked(read_up_to=BENS)))
        await phone.accepted(change(starred=Starred(set=True)))
        await phone.accepted(TYPING)
        monkeypatch.setattr(publisher, "MAX_TYPING_MEMBERS", 3)
        await phone.accepted(TYPING)
        last = await phone.accepted(send())
        for client, kinds in ((laptop, ["message", "change", "change"]), (dan, ["message", "typing"])):
            events = [(await client.expect("event")).event for _ in range(len(kinds) + 1)]
            assert [each.WhichOneof("event") for each in events[:-1]] == kinds
            assert (events[0].event_id, events[-1].event_id) == (first.event_id, last.event_id)
        await eve.send(ClientFrame(ping={}))
        await eve.expect("pong")


@pytest.mark.parametrize("crew", [True], indirect=True)
async def test_an_event_of_a_channel_is_in_every_partition_and_lists_its_author_and_whom_it_mentions(
    platform: Platform, log: ScriptedLog, crew: Crew
) -> None:
    """The marks and stars of a member are for their own devices, and who types is told to nobody."""
    gateway = await platform.start_gateway()
    alert = Edited(text=Text(body="hi @x", mentions=[Mention(user_id=CAT, name="x")]))
    async with platform.sign_in(gateway, BEN) as ben:
        await ben.accepted(TYPING)
        for frame, recipients in (
            (send(mentions=DAN), [BEN, DAN]),
            (send(mentions=BEN), [BEN]),
            (change(edited=alert), [BEN, CAT]),
            (change(reacted=Reacted(emoji="👍", set=True)), [BEN]),
            (change(OLD, deleted=Deleted()), [BEN]),
            (change(0, marked=Marked(read_up_to=BENS)), None),
            (change(starred=Starred(set=True)), None),
        ):
            await ben.send(frame)
            await log.until_published()
            ((records, _),) = log.unacknowledged
            log.acknowledge()
            truth, *copies = [Envelope.FromString(record.value) for record in records]
            listed = {user_id: record.partition for record in records for user_id in decode(record.value).recipient_ids}
            assert listed == {user_id: partition_of(user_id, PARTITIONS) for user_id in recipients or [BEN]}
            assert (records[0].partition, truth.truth) == (partition_of(BEN, PARTITIONS), True)
            assert {record.partition for record in records[1:]} == (
                ALL - {records[0].partition} if recipients else set()
            )
            assert not any(each.truth for each in copies)
            assert all(each.to_members == (recipients is not None) for each in (truth, *copies))
    assert crew.roster.member_count == 4
    assert [{*wanted} for wanted in platform.history.wanted] == [{BEN}, {DAN}, {CAT}], "each is looked up once"


@pytest.mark.parametrize("crew", [True], indirect=True)
async def test_a_retry_in_a_channel_reaches_the_mentioned_member_again_and_any_member_finds_the_new_message(
    platform: Platform, gateway: Gateway, crew: Crew
) -> None:
    """History has not recorded it."""
    async with platform.sign_in(gateway, BEN) as ben, platform.sign_in(gateway, CAT) as cat:
        frame = send("a", mentions=CAT)
        first = await ben.accepted(frame)
        assert (await cat.until("event")).event.event_id == first.event_id
        assert (await ben.accepted(frame)).event_id == first.event_id
        assert (await cat.until("event")).event.event_id == first.event_id
    async with platform.sign_in(gateway, DAN) as dan:
        await dan.accepted(change(first.event_id, reacted=Reacted(emoji="👍", set=True)))
    async with platform.sign_in(gateway, EVE) as eve:
        refused = await eve.refused(change(first.event_id, starred=Starred(set=True)))
        assert (refused.code, refused.field) == (Code.NOT_FOUND, "change.target_id")


async def test_a_group_waits_until_history_has_what_the_tails_may_not_have(
    platform: Platform, log: ScriptedLog, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def offset_at(partition: int, at_ms: int) -> int:
        return 5

    monkeypatch.setattr(rosters, "BEHIND_SECONDS", 0.0)
    monkeypatch.setattr(log, "offset_at", offset_at)
    gateway = await platform.start_gateway()
    async with platform.sign_in(gateway, ANN) as ann:
        log.recorded = 4
        refused = await ann.refused(send("a"))
        assert (refused.code, refused.retryable) == (Code.UNAVAILABLE, True)
        log.recorded = 5
        await ann.send(send("a"))
        await log.until_published()


async def test_the_log_is_asked_once_how_far_history_is_for_all_groups_that_are_looked_up_at_once(
    log: ScriptedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after each rebalance, when a gateway has dropped all rosters."""
    committed, asked = log.committed_offset, list[int]()

    async def committed_offset(group: str, partition: int) -> int:
        asked.append(partition)
        return await committed(group, partition)

    monkeypatch.setattr(log, "committed_offset", committed_offset)
    partitions = OwnedPartitions(PARTITIONS)
    partitions.assign(0, 0, 0, wall_clock_ms() - 60_000, 0.0)
    lookups = Lookups(cast(Any, None), cast(Any, None), cast(Any, log), partitions)
    async with trio.open_nursery() as nursery:
        for partition in (1, 2) * 10:
            nursery.start_soon(lookups.is_history_complete, partition)
    assert sorted(asked) == [1, 2]
    asked.clear()

    async def offset_at(partition: int, at_ms: int) -> int:
        await trio.lowlevel.checkpoint()
        return 5  # history is behind

    monkeypatch.setattr(log, "offset_at", offset_at)
    lookups = Lookups(cast(Any, None), cast(Any, None), cast(Any, log), partitions)
    async with trio.open_nursery() as nursery:
        for partition in (1, 2) * 10:
            nursery.start_soon(lookups.is_history_complete, partition)
    assert sorted(asked) == [1, 2], "the answer that it is behind is shared, too"


async def test_a_user_who_was_found_to_hide_read_marks_shows_none_whatever_else_changed_meanwhile(
    autojump_clock: MockClock,
) -> None:
    class Accounts:
        hider = 0

        async def users(self, user_ids: Sequence[int]) -> Sequence[User]:
            await trio.lowlevel.checkpoint()
            if self.hider in user_ids:
                lookups.forget_user(99)
            found = (User.new(each, f"user{each}", None, 1) for each in user_ids)
            return [dataclasses.replace(each, shows_read_marks=each.user_id != self.hider) for each in found]

        async def relationships(self, user_id: int, other_ids: Sequence[int]) -> Mapping[int, Relationship]:
            await trio.lowlevel.checkpoint()
            return {other: Relationship(user_id, other) for other in other_ids}

    accounts = Accounts()
    lookups = Lookups(cast(Any, accounts), cast(Any, None), cast(Any, None), OwnedPartitions(PARTITIONS))
    await lookups.find_read_marks((BEN, CAT))
    await trio.sleep(MARKS_SECONDS / 2)
    await lookups.find_read_marks((ANN, BEN))
    assert lookups.show_read_marks((ANN, BEN))
    accounts.hider = BEN
    await trio.sleep(MARKS_SECONDS / 2 + 1)
    await lookups.find_read_marks((ANN, BEN))
    assert not lookups.show_read_marks((ANN, BEN))


@pytest.mark.parametrize(
    ("changed", "times", "hides", "is_shown"),
    [(99, 9, False, True), (BEN, 1, False, True), (BEN, 1, True, False), (BEN, 9, False, False)],
)
async def test_a_mark_is_shown_although_an_account_changes_while_the_settings_are_read(
    autojump_clock: MockClock, changed: int, times: int, hides: bool, is_shown: bool
) -> None:
    """That of another user, or their own, which is read again. Not if it hides marks then, or does not rest."""

    class Accounts:
        hider = 0

        def __init__(self) -> None:
            self.times = {"users": times, "relationships": times}

        async def users(self, user_ids: Sequence[int]) -> Sequence[User]:
            found = [User.new(each, f"user{each}", None, 1) for each in user_ids]
            found = [dataclasses.replace(each, shows_read_marks=each.user_id != self.hider) for each in found]
            await trio.lowlevel.checkpoint()
            if self.is_changed("users"):
                self.hider = changed if hides else 0
                lookups.forget_user(changed)
            return found

        async def relationships(self, user_id: int, other_ids: Sequence[int]) -> Mapping[int, Relationship]:
            await trio.lowlevel.checkpoint()
            if self.is_changed("relationships"):
                lookups.forget_relationship(changed, ANN)
            return {other: Relationship(user_id, other) for other in other_ids}

        def is_changed(self, name: str) -> bool:
            self.times[name] -= 1
            return self.times[name] >= 0

    lookups = Lookups(cast(Any, Accounts()), cast(Any, None), cast(Any, None), OwnedPartitions(PARTITIONS))
    await lookups.find_read_marks((ANN, BEN))
    assert lookups.show_read_marks((ANN, BEN)) == is_shown
    assert lookups.are_unblocked((ANN, BEN)) == (times == 1 or changed == 99)


async def test_a_mark_is_shown_while_another_mark_of_the_chat_looks_up_whether_there_is_a_block(
    autojump_clock: MockClock,
) -> None:
    class Accounts:
        async def users(self, user_ids: Sequence[int]) -> Sequence[User]:
            await trio.lowlevel.checkpoint()
            return [User.new(each, f"user{each}", None, 1) for each in user_ids]

        async def relationships(self, user_id: int, other_ids: Sequence[int]) -> Mapping[int, Relationship]:
            await trio.sleep(1)
            return {other: Relationship(user_id, other) for other in other_ids}

    lookups = Lookups(cast(Any, Accounts()), cast(Any, None), cast(Any, None), OwnedPartitions(PARTITIONS))
    await lookups.find_read_marks((ANN, BEN))
    await trio.sleep(MARKS_SECONDS)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lookups.find_read_marks, (ANN, BEN))
        await trio.sleep(0.5)
        assert lookups.show_read_marks((ANN, BEN))


async def test_a_chat_that_was_open_before_a_partition_was_gained_is_looked_up(autojump_clock: MockClock) -> None:
    """While the accounts do not answer: a block that was announced before the tail begins has not been read."""

    class Accounts:
        is_away = False

        async def users(self, user_ids: Sequence[int]) -> Sequence[User]:
            await trio.lowlevel.checkpoint()
            if self.is_away:
                raise Unavailable("away")
            return [User.new(each, f"user{each}", None, 1) for each in user_ids]

        async def relationships(self, user_id: int, other_ids: Sequence[int]) -> Mapping[int, Relationship]:
            await trio.lowlevel.checkpoint()
            if self.is_away:
                raise Unavailable("away")
            return {other: Relationship(user_id, other) for other in other_ids}

    async def look_up() -> Collection[str]:
        """Look all up after it has expired; return the names of the look-ups that have an answer."""
        await trio.sleep(OPEN_SECONDS + 1)
        answered = []
        for name, look_up in (
            ("marks", partial(lookups.find_read_marks, (ANN, BEN))),
            ("mark", partial(lookups.find_block, (ANN, DAN))),
            ("message", partial(lookups.check_recipient, ANN, BEN, "d-1-2", "")),
            ("change", partial(lookups.check_block, ANN, BEN, "")),
        ):
            with suppress(Unavailable):
                assert await look_up() is None
                answered.append(name)
        return answered

    accounts, partitions = Accounts(), OwnedPartitions(PARTITIONS)
    lookups = Lookups(cast(Any, accounts), cast(Any, None), cast(Any, None), partitions)
    home = partitions.partition_of(ANN)
    partitions.assign(home, 0, 0, 0, trio.current_time())
    everything = await look_up()
    assert len(everything) == 4
    accounts.is_away = True
    partitions.assign(partitions.partition_of(CAT), 0, 0, 0, trio.current_time())
    assert await look_up() == everything
    partitions.remove([home])
    partitions.assign(home, 0, 0, 0, trio.current_time())
    assert await look_up() == []
    accounts.is_away = False
    assert await look_up() == everything
    accounts.is_away = True
    assert await look_up() == everything


async def publish(platform: Platform, crew: Crew, before: Roster) -> None:
    """Publish the newest control change, as its sequencer does."""
    event, version = crew.events[-1], crew.roster.version
    recipient_ids = audience(before, event.message.control, event.message.sender_id)
    records = fan_out(
        event,
        sender_id=ANN,
        recipient_ids=recipient_ids,
        partitions=PARTITIONS,
        truth_partition=0,
        chat_version=version,
    )
    await publish_and_wait(platform.backplane, records)


async def test_a_user_who_was_added_just_now_can_send_before_the_gateway_has_read_that(
    platform: Platform, gateway: Gateway, crew: Crew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access, "JOIN_SECONDS", 60.0)
    async with platform.sign_in(gateway, STRANGER) as stranger:
        await stranger.send(change(reacted=Reacted(emoji="👍", set=True)))
        await until(lambda: gateway.rosters.cached(CHAT))
        before = crew.roster
        crew.add(5, STRANGER)
        await publish(platform, crew, before)
        await stranger.until("accepted")


async def test_many_frames_of_a_removed_user_wait_once_until_a_control_change_is_read(
    autojump_clock: MockClock,
) -> None:
    """Each that waits holds up the other frames of its session."""
    crew, history = Crew(ANN, BEN, CAT), ScriptedHistory()
    crew.remove(2, BEN)
    history.groups[CHAT] = crew.stored
    known = rosters.Rosters(history, PARTITIONS, lambda _: None, history.is_complete)
    lookups, ids = cast(Any, None), cast(Any, None)
    checks = access.Access(lookups, known, OwnedPartitions(PARTITIONS), ids, Live.fixed(LiveConfiguration()))

    async def seconds(user_id: int = BEN) -> float:
        """How long 30 frames take until they are refused."""
        began = trio.current_time()
        for _ in range(30):
            refusal = await checks.find_roster([user_id], CHAT, "send.chat_id")
            assert refusal is not None
            assert refusal.code == Code.NOT_FOUND
        return trio.current_time() - began

    assert await seconds() == pytest.approx(access.JOIN_SECONDS)
    assert await seconds() == 0
    crew.remove(3, CAT)
    known.read(CHAT, crew.control(3))
    assert await seconds() == pytest.approx(access.JOIN_SECONDS), "the next one may be their addition"
    assert await seconds(CAT) == pytest.approx(access.JOIN_SECONDS)
    await trio.sleep(access.REFUSED_SECONDS)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def may_send() -> None:
            assert await checks.find_roster([BEN], CHAT, "send.chat_id") is None

        await trio.sleep(access.JOIN_SECONDS / 2)
        crew.add(4, BEN)
        known.read(CHAT, crew.control(4))


async def test_a_retry_of_a_removed_member_is_answered_with_the_first_message_which_reaches_the_members_of_then(
    platform: Platform, gateway: Gateway, crew: Crew
) -> None:
    async with platform.sign_in(gateway, BEN) as ben:
        first = await ben.accepted(send("a"))
        for change_crew in (partial(crew.remove, user_id=BEN), partial(crew.change, add_members=ADD_STRANGER)):
            before = crew.roster
            change_crew(first.event_id + crew.roster.version)
            await publish(platform, crew, before)
            await until(lambda: gateway.rosters.version(CHAT) == crew.roster.version)
        async with platform.sign_in(gateway, DAN) as dan, platform.sign_in(gateway, STRANGER) as stranger:
            assert (await ben.refused(send())).code == Code.NOT_FOUND
            assert (await ben.accepted(send("a"))).event_id == first.event_id
            received: list[int] = []
            while received.count(first.event_id) < 2:
                received.append((await dan.until("event")).event.event_id)
            await stranger.send(ClientFrame(ping={}))
            await stranger.until("pong")
            assert first.event_id not in [frame.event.event_id for frame in stranger.frames]
