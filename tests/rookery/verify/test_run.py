"""A whole run against a platform in memory that breaks one promise at a time."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from trio.testing import MockClock

from rookery.client import (
    Accepted,
    CatchUp,
    Change,
    Connected,
    Disconnected,
    Event,
    Gap,
    Message,
    Refused,
    Unreachable,
)  # fmt: skip
from rookery.v1.files_pb2 import FileInfo, FileRef
from rookery.v1.session_pb2 import Send
from rookery.verify import Kind, Run, VerifyError, participant
from rookery.verify.changes import SCRIPTS, script_at
from rookery.verify.records import Sent, place_of
from rookery.verify.run import longest_pause
from shared.contract.ids import time_of, wall_clock_ms
from tests.rookery.verify.platform import PLAN, UNLUCKY, FakeClient, Platform, verify

pytestmark = pytest.mark.usefixtures("wall_clock")

_CHANGED = [script_at(user_id, n) for user_id in range(1_000, 1_004) for n in range(10)]

CHANGES = sum(len(script.by_sender) + len(script.by_recipient) for script in _CHANGED)
"""Of half of the messages."""


def lose(platform: Platform, recipient_id: int, message: Message) -> Accepted:
    platform.deliver(recipient_id, message)
    return platform.accept(message)


def store_without_delivery(platform: Platform, recipient_id: int, message: Message) -> Accepted:
    platform.store(message)
    return platform.accept(message)


def deliver_twice(platform: Platform, recipient_id: int, message: Message) -> Accepted:
    platform.deliver(recipient_id, message)
    return platform.keep(recipient_id, message)


def deliver_after_the_next(platform: Platform, recipient_id: int, message: Message) -> Accepted:
    platform.late = message
    platform.store(message)
    return platform.accept(message)


def answer_another_id(platform: Platform, recipient_id: int, message: Message) -> Accepted:
    accepted = platform.keep(recipient_id, message)
    accepted.event_id += 1 << 12  # as another generator would make it
    return accepted


def invent(platform: Platform, recipient_id: int, message: Message) -> Accepted:
    invented = Message.FromString(message.SerializeToString())
    invented.client_message_id += "0"
    invented.message_id = platform.ids.next_nowait() or 0
    platform.keep(recipient_id, invented)
    return platform.keep(recipient_id, message)


class Forgets(Platform):
    """Does not know a message any more when it is sent again late: accepts it under another id, which is not kept."""

    def take(self, sender: "FakeClient", recipient_id: int, send: Send, key: str) -> Accepted | Refused | None:
        self.answers.clear()
        return super().take(sender, recipient_id, send, key)

    def keep(self, recipient_id: int, message: Message) -> Accepted:
        if any(message.client_message_id == m.client_message_id for m in self.history):
            return self.accept(message)
        return super().keep(recipient_id, message)


class CountsFew(Platform):
    """Counts unread messages among the newest ones only."""

    def __init__(self) -> None:
        super().__init__()
        self.unread_among = 5


class RefusesOne(Platform):
    """Refuses one message, and accepts the ones that are in flight behind it."""

    is_refused = False

    def keep(self, recipient_id: int, message: Message) -> Accepted | Refused:  # type: ignore[override]
        number = int(message.client_message_id.rpartition("-")[2])
        if self.taken >= UNLUCKY and number % PLAN.in_flight == 0 and not self.is_refused:
            self.is_refused = True
            return Refused("unavailable", "Not now.", retryable=True)
        return super().keep(recipient_id, message)


class LosesAnEdit(Platform):
    def store_change(self, event: Event) -> None:
        if not event.change.edited.text.body.startswith("twice"):
            super().store_change(event)


class LosesADelivery(Platform):
    """Does not deliver deletions."""

    def deliver_change(self, actor: "FakeClient", event: Event) -> None:
        if not event.change.HasField("deleted"):
            super().deliver_change(actor, event)


class DeliversTwice(Platform):
    def deliver_change(self, actor: "FakeClient", event: Event) -> None:
        for _ in range(2):
            super().deliver_change(actor, event)


class Resurrects(Platform):
    """Keeps the changes of deleted messages."""

    def store_change(self, event: Event) -> None:
        before = dict(self.states[place_of(event.change)])
        super().store_change(event)
        self.states[place_of(event.change)].update(before)


class KeepsTexts(Platform):
    """Does not remove the texts and the files of deleted messages."""

    def remove(self, message_id: int) -> None:
        pass


class RefusesEdits(Platform):
    def change(self, actor: "FakeClient", change: Change) -> Event:
        if change.HasField("edited"):
            raise Refused("forbidden", "No.")
        return super().change(actor, change)


class RefusesFiles(Platform):
    """Does not let anybody read a file."""

    def read(self, ref: FileRef, content: bytes, *, may_read: bool) -> bytes:
        return super().read(ref, content, may_read=False)


class DamagesFiles(Platform):
    def read(self, ref: FileRef, content: bytes, *, may_read: bool) -> bytes:
        return super().read(ref, content[:-1], may_read=may_read)


class OpensFiles(Platform):
    """Lets everybody read every file."""

    def read(self, ref: FileRef, content: bytes, *, may_read: bool) -> bytes:
        return content


class RefusesUploads(FakeClient):
    async def upload(self, content: bytes, *, name: str, client_file_id: str) -> FileInfo:
        raise Refused("too_large", "No.")


class TakesNoFiles(Platform):
    def make_client(self, user_id: int) -> FakeClient:
        return RefusesUploads(self, user_id)


OF_ITS_FILE = {Kind.LOST: {Kind.NOT_READABLE}, Kind.OTHER_ID: {Kind.NOT_READABLE}, Kind.NOT_REMOVED: {Kind.READABLE}}
"""What follows for a message with a file."""


class RefusesForEver(Platform):
    """Refuses the first message whenever it is sent."""

    refused_key = ""

    def take(self, sender: FakeClient, recipient_id: int, send: Send, key: str) -> Accepted | Refused | None:
        self.refused_key = self.refused_key or key
        if key == self.refused_key:
            return Refused("unavailable", "Not now.", retryable=True)
        return super().take(sender, recipient_id, send, key)


@pytest.mark.parametrize(
    ("platform", "kind"),
    [
        (partial(Platform, lose), Kind.LOST),
        (partial(Platform, store_without_delivery), Kind.NOT_DELIVERED),
        (partial(Platform, deliver_twice), Kind.DELIVERED_TWICE),
        (partial(Platform, deliver_after_the_next), Kind.OUT_OF_ORDER),
        (partial(Platform, answer_another_id), Kind.OTHER_ID),
        (partial(Platform, invent), Kind.NEVER_SENT),
        (RefusesForEver, Kind.NOT_ACCEPTED),
        (RefusesOne, Kind.OUT_OF_ORDER),
        (Forgets, Kind.OTHER_ANSWER),
        (CountsFew, Kind.MISCOUNTED),
        (LosesAnEdit, Kind.WRONG_STATE),
        (LosesADelivery, Kind.WRONG_STATE),
        (DeliversTwice, Kind.DELIVERED_TWICE),
        (Resurrects, Kind.WRONG_STATE),
        (KeepsTexts, Kind.NOT_REMOVED),
        (RefusesEdits, Kind.NOT_ACCEPTED),
        (TakesNoFiles, Kind.NOT_UPLOADED),
        (RefusesFiles, Kind.NOT_READABLE),
        (DamagesFiles, Kind.OTHER_BYTES),
        (OpensFiles, Kind.READABLE),
    ],
)
async def test_a_broken_promise_is_found_and_no_other(
    platform: Callable[[], Platform], kind: Kind, autojump_clock: MockClock
) -> None:
    """Whatever a run records reaches the checker, which test_checker.py tests with a violation of every kind."""
    result = await verify(platform(), replace(PLAN, seconds=30, late_retries=3, late_after=60))
    found = {violation.kind for violation in result.violations}
    assert found - OF_ITS_FILE.get(kind, set()) == {kind}
    assert result.exit_code == 1


def test_the_messages_of_these_tests_are_changed_by_every_script() -> None:
    assert all(script in _CHANGED for script in SCRIPTS)


async def test_a_platform_that_keeps_its_promises_has_no_violation(autojump_clock: MockClock) -> None:
    result = await verify(Platform())
    assert (result.violations, result.exit_code, result.listed, result.changed) == ((), 0, 8, CHANGES)
    assert (result.sent, result.accepted, result.delivered, result.archived) == (80, 80, 80, 80)
    assert (result.refused, result.unanswered, result.retried, result.gaps, result.reconnects) == ({}, 0, 0, 0, 0)
    assert min(result.files, result.files_read, result.files_tried) > 0


class AnswersSeldom(Platform):
    """Refuses some messages and does not answer others, whether it has kept them or not. Later messages of the sender
    are refused until a message that it has not kept is sent again."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[int, str] = {}
        self.random = Random(1)

    def take(self, sender: FakeClient, recipient_id: int, send: Send, key: str) -> Accepted | Refused | None:
        self.taken += 1
        user_id, refused = sender.me.user_id, Refused("unavailable", "Not now.", retryable=True, retry_after_ms=100)
        if self.held.setdefault(user_id, key) != key:
            return refused
        fate = self.random.randrange(8)
        if fate < 2 and (user_id, key) not in self.answers:
            return None
        del self.held[user_id]
        outcome = super().take(sender, recipient_id, send, key)
        return refused if fate == 2 else None if fate == 3 else outcome

    def change(self, actor: FakeClient, change: Change) -> Event:
        fate = self.random.randrange(4)
        event = super().change(actor, change) if fate else Event()
        if fate < 2:
            raise Unreachable("no answer") if fate else Refused("unavailable", "Not now.", retryable=True)
        return event


async def test_a_message_is_sent_again_until_it_is_accepted(autojump_clock: MockClock) -> None:
    result = await verify(AnswersSeldom())
    assert result.violations == ()
    assert result.accepted == result.sent == 80
    assert result.changed == CHANGES
    assert 5 < result.changes_retried < CHANGES
    assert result.refused["unavailable: Not now."] > 5
    assert result.unanswered > 5
    assert 10 < result.retried < 80


class NeverAnswers(Platform):
    """Keeps and delivers each message, and answers none."""

    def take(self, sender: FakeClient, recipient_id: int, send: Send, key: str) -> Accepted | Refused | None:
        super().take(sender, recipient_id, send, key)
        return None


class AnswersNoChange(FakeClient):
    def submit_change(self, change: Change, *, first_sent_ms: int) -> Any:
        async def answer(deadline: float) -> None:
            await trio.sleep(deadline)
            raise Unreachable("no answer")

        return SimpleNamespace(answer=answer, withdraw=lambda: None)


class NeverAnswersChanges(Platform):
    def make_client(self, user_id: int) -> FakeClient:
        return AnswersNoChange(self, user_id)


@pytest.mark.parametrize("platform", [NeverAnswers, NeverAnswersChanges])
async def test_a_run_without_answers_is_not_complete(
    platform: Callable[[], Platform], autojump_clock: MockClock
) -> None:
    """Also if the end does not last until a message without an answer is sent again."""
    with pytest.raises(VerifyError, match=r"had no answer within --settle \(5 s\)"):
        await verify(platform(), replace(PLAN, seconds=1))


class Overflows(Platform):
    """Sends the recipient a Gap in place of some messages."""

    def deliver(self, recipient_id: int, message: Message) -> None:
        for client in self.clients:
            if client.me.user_id == recipient_id and self.taken % 10 == 0:
                client.queue.put(Gap(at_ms=wall_clock_ms()), 0)
                return
        super().deliver(recipient_id, message)


async def test_messages_missed_in_a_gap_are_read_from_history(autojump_clock: MockClock) -> None:
    result = await verify(Overflows())
    assert result.violations == ()
    assert (result.gaps, result.delivered + result.caught_up) == (8, 80)
    assert result.caught_up >= 8  # a message that arrives after it was read counts as read


class FallsSilent(Platform):
    """Sends one user a Gap, and nothing after it."""

    silent_id = 0

    def deliver(self, recipient_id: int, message: Message) -> None:
        if self.taken >= UNLUCKY and not self.silent_id:
            self.silent_id = recipient_id
            (client,) = (client for client in self.clients if client.me.user_id == recipient_id)
            client.queue.put(Gap(at_ms=wall_clock_ms()), 0)
        if recipient_id != self.silent_id:
            super().deliver(recipient_id, message)


async def test_after_a_gap_the_session_must_have_what_is_sent_later(autojump_clock: MockClock) -> None:
    """Not what the client has read meanwhile, up to the time of the Gap and beyond."""
    result = await verify(FallsSilent(), replace(PLAN, messages=160, rate=4.0, seconds=60.0))
    assert {violation.kind for violation in result.violations} == {Kind.NOT_DELIVERED}
    assert "did not arrive in the session of" in result.violations[0].text
    assert (result.gaps, result.accepted) == (1, 160)


class DropsBehindOwn(Platform):
    """Drops one user's first messages to another until the latter's own message is accepted, then sends the Gap."""

    chat_id = ""
    victim_id = 0
    dropped = 0

    def deliver(self, recipient_id: int, message: Message) -> None:
        if not self.chat_id:
            self.chat_id, self.victim_id = message.chat_id, recipient_id
        if (message.chat_id, recipient_id) == (self.chat_id, self.victim_id):
            self.dropped += 1
        else:
            super().deliver(recipient_id, message)

    def keep(self, recipient_id: int, message: Message) -> Accepted:
        accepted = super().keep(recipient_id, message)
        if (message.chat_id, message.sender_id) == (self.chat_id, self.victim_id):
            (victim,) = (client for client in self.clients if client.me.user_id == self.victim_id)
            victim.newest = message.message_id
            victim.queue.put(Gap(at_ms=wall_clock_ms()), 0)
            self.victim_id = 0
        return accepted


class NewestHeld(CatchUp):
    """Takes the newest id that the client holds, not the `complete_up_to` of an answer."""

    def _after(self, chat_id: str) -> int:
        client: FakeClient = cast(Any, self._api)._api
        return max(super()._after(chat_id), client.newest)


async def test_a_client_that_reads_after_the_newest_id_that_it_holds_is_found(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the rule of the Python client, nothing is lost on the same platform."""
    platform = DropsBehindOwn()
    result = await verify(platform)
    assert (result.violations, result.gaps) == ((), 1)
    assert result.caught_up >= platform.dropped > 0
    monkeypatch.setattr(participant, "CatchUp", NewestHeld)
    platform = DropsBehindOwn()
    result = await verify(platform)
    assert [violation.kind for violation in result.violations] == [Kind.NOT_DELIVERED] * platform.dropped


class StoresLate(Platform):
    """Stores a message 21 s after its id, and delivers it to nobody. Its recipient gets a Gap before, and has read up
    to a later id by then, and a Gap after that."""

    late_message: Message | None = None
    recipient_id = 0

    def take(self, sender: FakeClient, recipient_id: int, send: Send, key: str) -> Accepted | Refused | None:
        late = self.late_message
        if late is None or late.sender_id != sender.me.user_id or late.message_id in self.logged_ms:
            return super().take(sender, recipient_id, send, key)
        if wall_clock_ms() < time_of(late.message_id) + 21_000 or key != late.client_message_id:
            return Refused("unavailable", "Not now.", retryable=True, retry_after_ms=1_000)
        self.store(late)
        self.report_gap()
        return self.accept(late)

    def keep(self, recipient_id: int, message: Message) -> Accepted | Refused:  # type: ignore[override]
        if self.taken < UNLUCKY or self.late_message is not None:
            return super().keep(recipient_id, message)
        self.late_message, self.recipient_id = message, recipient_id
        self.report_gap()
        return Refused("unavailable", "Not now.", retryable=True, retry_after_ms=1_000)

    def report_gap(self) -> None:
        (client,) = (client for client in self.clients if client.me.user_id == self.recipient_id)
        client.queue.put(Gap(at_ms=wall_clock_ms() + 10_000), 0)  # so it reads past the id of the late message


class SkipsLate(StoresLate):
    def feed(self, chat_id: str, after: int) -> list[Event]:
        return [event for event in super().feed(chat_id, after) if event.event_id > after]


class Skips(Overflows):
    """Leaves the first message out of its feed."""

    def feed(self, chat_id: str, after: int) -> list[Event]:
        first = self.history[0].message_id
        return [event for event in super().feed(chat_id, after) if event.event_id != first]


class GoesBack(Overflows):
    def complete_up_to(self) -> int:
        return super().complete_up_to() - (20_000 << 22 if len(self.history) > PLAN.messages else 0)


@pytest.mark.parametrize(
    ("platform", "kinds"),
    [
        (StoresLate, set[Kind]()),
        (SkipsLate, {Kind.NOT_DELIVERED}),
        (Skips, {Kind.INCOMPLETE}),
        (GoesBack, {Kind.WENT_BACK}),
    ],
)
async def test_a_feed_that_breaks_its_promise_is_found(
    platform: type[Platform], kinds: set[Kind], autojump_clock: MockClock
) -> None:
    result = await verify(platform(), replace(PLAN, messages=160, rate=4.0, seconds=60.0))
    assert {violation.kind for violation in result.violations} == kinds, result.violations[:2]
    assert result.feeds >= result.gaps > 1


async def test_outages_are_measured_and_waited_for(autojump_clock: MockClock) -> None:
    platform = Platform()

    async def break_a_session(run: Run) -> None:
        broken = platform.clients[0]
        begin = trio.current_time()
        broken.is_connected = False
        broken.queue.put(Disconnected("gone"), 0)
        await run.until(accepted=80)
        with trio.move_on_after(0.5) as waiting:
            await run.until_live()
        assert waiting.cancelled_caught
        assert [round(outage, 1) for outage in run.outages_since(begin)] == [0.5]
        assert [round(outage, 1) for outage in run.outages_after(begin + 0.2)] == [0.3]
        assert run.outages_since(begin + 0.2) == []
        broken.is_connected = True
        broken.queue.put(Connected("s", 0), 0)
        await run.until_live()

    result = await verify(platform, during=break_a_session)
    assert (result.reconnects, result.outages.count) == (1, 1)
    assert result.outages.max == pytest.approx(500, abs=20)


async def test_at_a_rate_messages_are_spread_over_the_time_and_end_with_it(autojump_clock: MockClock) -> None:
    result = await verify(Platform(), replace(PLAN, messages=1_000, rate=10.0, seconds=20.0))
    assert result.seconds == pytest.approx(20, abs=0.5)
    assert 190 <= result.sent <= 201
    assert result.violations == ()


async def test_messages_of_an_earlier_run_do_not_count(autojump_clock: MockClock) -> None:
    platform = Platform()
    await verify(platform)
    platform.clients.clear()
    assert (await verify(platform)).violations == ()


def sent(at: float, accepted_at: float) -> Sent:
    return Sent((1, "m"), "d-1-2", 2, "m", 0, at=at, accepted_at=accepted_at)


async def test_a_message_that_is_refused_for_good_does_not_count_as_accepted() -> None:
    run = Run(PLAN)
    run.accepted(replace(sent(1, 2), recipient_id=0, message_id=5))
    run.accepted(replace(sent(1, math.inf), refused="forbidden"))
    assert run.accepted_count == 1


@pytest.mark.parametrize(
    ("messages", "pause"),
    [
        ([], 0.0),
        ([sent(1, 2), sent(10, 11)], 1.0),  # no message waited in between
        ([sent(1, 2), sent(1.5, 9), sent(3, 4)], 5.0),
        ([sent(1, math.inf)], 19.0),  # until the end
    ],
)
def test_a_pause_counts_only_while_a_message_waits(messages: Sequence[Sent], pause: float) -> None:
    assert longest_pause(messages, 0.0, 20.0) == pytest.approx(pause)
