"""A whole run against a platform in memory that breaks one promise at a time."""

import math
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
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
    HistoryMessage,
    ListChangesResponse,
    ListChatsResponse,
    ListMessagesResponse,
    Message,
    Refused,
    State,
    Unreachable,
    apply_change,
)  # fmt: skip
from rookery.client.events import EventQueue
from rookery.v1.archive_pb2 import Chat, Mark
from rookery.v1.session_pb2 import Send, Text
from rookery.verify import Kind, Plan, Result, Run, participant
from rookery.verify.changes import SCRIPTS, is_visible
from rookery.verify.records import Place, Sent, place_of
from rookery.verify.run import longest_pause
from shared.background import open_background
from shared.contract import ids
from shared.contract.chats import direct_chat_id, direct_members
from shared.contract.ids import SnowflakeGenerator, first_id_at, time_of, wall_clock_ms

PLAN = Plan(clients=4, messages=80, settle_seconds=5, in_flight=4, changes=50)

_CHANGED = [SCRIPTS[(user_id + n) % len(SCRIPTS)] for user_id in range(1_000, 1_004) for n in range(10)]

CHANGES = sum(len(script.by_sender) + len(script.by_recipient) for script in _CHANGED)
"""Of half of the messages."""

TakeUnlucky = Callable[["Platform", int, Message], Accepted]


MAX_AGE_MS = 10_000
"""An event is late if its id is older when it is stored."""

UNLUCKY = 37
"""Number of the message for which a platform breaks its promise."""


@pytest.fixture(autouse=True)
def wall_clock(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the wall clock follow the mock clock."""
    began = wall_clock_ms()
    now = SimpleNamespace(time_ns=lambda: (began + int(autojump_clock.current_time() * 1000)) * 1_000_000)
    monkeypatch.setattr(ids, "time", now)


class Platform:
    """Keeps every promise, except one if `take_unlucky` is given: for the message number `UNLUCKY`."""

    def __init__(self, take_unlucky: TakeUnlucky | None = None) -> None:
        self.clients: list[FakeClient] = []
        self.history: list[Message] = []
        self.states: defaultdict[Place, State] = defaultdict(dict)
        self.events: dict[tuple[int, str], Event] = {}
        """The accepted changes by actor and client id, for retries."""
        self.ids = SnowflakeGenerator(1)
        self.taken = 0
        self.late: Message | None = None
        self.answers: dict[tuple[int, str], Accepted] = {}
        """By sender and client_message_id, for retries."""
        self.marks: dict[tuple[int, str], int] = {}
        self.logged_ms: dict[int, int] = {}
        """When each message was stored."""
        self.unread_among = 2_000
        self._take_unlucky = take_unlucky

    def take(self, sender: "FakeClient", recipient_id: int, send: Send, key: str) -> Accepted | Refused | None:
        """Take a sent message; return its answer, or None for no answer."""
        self.taken += 1
        if (sender.me.user_id, key) in self.answers:
            return self.answers[sender.me.user_id, key]
        message = Message(
            message_id=self.ids.next_nowait() or 0,
            chat_id=direct_chat_id(sender.me.user_id, recipient_id),
            sender_id=sender.me.user_id,
            client_message_id=key,
            text=send.text,
            forwarded=send.forwarded,
        )
        if self.taken == UNLUCKY and self._take_unlucky is not None:
            return self._take_unlucky(self, recipient_id, message)
        return self.keep(recipient_id, message)

    def keep(self, recipient_id: int, message: Message) -> Accepted:
        self.store(message)
        self.deliver(recipient_id, message)
        return self.accept(message)

    def store(self, message: Message) -> None:
        self.history.append(message)
        self.logged_ms[message.message_id] = wall_clock_ms()

    def deliver(self, recipient_id: int, message: Message) -> None:
        """Deliver a message, and then the late one if it is of the same sender and chat."""
        late = self.late
        for client in self.clients:
            if client.me.user_id == recipient_id:
                client.queue.put(message, 0)
        if late is not None and (late.chat_id, late.sender_id) == (message.chat_id, message.sender_id):
            self.late = None
            self.deliver(recipient_id, late)

    def accept(self, message: Message) -> Accepted:
        key, chat_id = message.client_message_id, message.chat_id
        answer = Accepted(client_id=key, event_id=message.message_id, chat_id=chat_id)
        return self.answers.setdefault((message.sender_id, key), answer)

    def change(self, actor: "FakeClient", change: Change) -> Event:
        key = actor.me.user_id, change.client_change_id
        if key not in self.events:
            self.events[key] = event = Event(event_id=self.ids.next_nowait() or 0, change=change)
            self.store_change(event)
            self.deliver_change(actor, event)
        return self.events[key]

    def store_change(self, event: Event) -> None:
        apply_change(self.states[place_of(event.change)], event)
        if event.change.HasField("deleted"):
            self.remove(event.change.target_id)

    def remove(self, message_id: int) -> None:
        for place, message in enumerate(self.history):
            if message.message_id == message_id:  # in place of the message, which was delivered
                self.history[place] = Message.FromString(message.SerializeToString())
                self.history[place].ClearField("text")

    def deliver_change(self, actor: "FakeClient", event: Event) -> None:
        for client in self.clients:
            is_member = client.me.user_id in (direct_members(event.change.chat_id) or ())
            if client is not actor and is_member and is_visible(event.change, client.me.user_id):
                client.queue.put(event, 0)

    def feed(self, chat_id: str, after: int) -> list[Event]:
        """The events after an id, and the late ones."""
        messages = [Event(event_id=each.message_id, message=each) for each in self.history if each.chat_id == chat_id]
        changes = [event for event in self.events.values() if event.change.chat_id == chat_id]
        kept = [event for event in changes if not self.is_removed(event)]
        late_ms = time_of(after) + MAX_AGE_MS
        return [
            event
            for event in messages + kept
            if event.event_id > after or self.logged_ms.get(event.event_id, 0) > late_ms
        ]

    def is_removed(self, event: Event) -> bool:
        """Whether the change has been removed by a deletion."""
        state = self.states[place_of(event.change)].values()
        return event not in state and any(each.change.HasField("deleted") for each in state)

    def complete_up_to(self) -> int:
        return first_id_at(wall_clock_ms() - MAX_AGE_MS - 5_000)

    # ---- Accounts

    async def register(self, names: Sequence[str]) -> None:
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def open_client(
        self, name: str, number: int, transport: str, presence: object
    ) -> AsyncIterator["FakeClient"]:
        client = FakeClient(self, 1_000 + len(self.clients))
        self.clients.append(client)
        client.queue.put(Connected("s", 0), 0)
        await trio.lowlevel.checkpoint()
        yield client


class FakeClient:
    """The part of Client and Api that a verification uses."""

    def __init__(self, platform: Platform, user_id: int) -> None:
        self.me = SimpleNamespace(user_id=user_id)
        self.queue = EventQueue()
        self.is_connected = True
        self.newest = 0
        """The newest own accepted message."""
        self._platform = platform

    @property
    def api(self) -> "FakeClient":
        return self

    def events(self) -> EventQueue:
        return self.queue

    def submit(self, to: int, text: str, *, client_message_id: str, first_sent_ms: int, **send: Any) -> Any:
        content = Send(text=Text(body=text, mentions=send["mentions"]), forwarded=send["forwarded"])
        outcome = self._platform.take(self, to, content, client_message_id)

        async def answer(deadline: float) -> Accepted:
            await trio.sleep(0.001)  # meanwhile the client sends on
            if isinstance(outcome, Refused):
                raise outcome
            if outcome is None:
                await trio.sleep(deadline)
                raise Unreachable("no answer")
            return outcome

        return SimpleNamespace(answer=answer)

    def submit_change(self, change: Change, *, first_sent_ms: int) -> Any:
        try:
            outcome: Accepted | Refused | Unreachable = Accepted(event_id=self._platform.change(self, change).event_id)
        except (Refused, Unreachable) as error:
            outcome = error

        async def answer(deadline: float) -> Accepted:
            await trio.sleep(0.001)
            if isinstance(outcome, Exception):
                raise outcome
            return outcome

        return SimpleNamespace(answer=answer)

    def mark(self, chat_id: str, *, read_up_to: int) -> None:
        self._platform.marks[self.me.user_id, chat_id] = read_up_to

    async def history(self, chat_id: str, *, limit: int, after_ms: int = 0, after_id: int = 0) -> ListMessagesResponse:
        await trio.lowlevel.checkpoint()
        if self.me.user_id not in (direct_members(chat_id) or ()):
            raise Refused("not_found", "There is no such chat.")
        newer = [m for m in self._platform.history if m.message_id > max(after_id, first_id_at(after_ms) - 1)]
        page = sorted((m for m in newer if m.chat_id == chat_id), key=lambda m: m.message_id)
        items = [HistoryMessage(message=each, changes=self._state(each.message_id)) for each in page[:7]]
        return ListMessagesResponse(messages=items, has_newer=len(page) > len(items))

    def _state(self, place: Place) -> list[Event]:
        return [event for event in self._platform.states[place].values() if is_visible(event.change, self.me.user_id)]

    async def changes(self, chat_id: str, *, after: int) -> ListChangesResponse:
        await trio.lowlevel.checkpoint()
        events = [e for e in self._platform.feed(chat_id, after) if is_visible(e.change, self.me.user_id)]
        return ListChangesResponse(events=events, complete_up_to=self._platform.complete_up_to())

    async def chats(self, *, changed_since_ms: int = 0, limit: int, cursor: str = "") -> ListChatsResponse:
        await trio.lowlevel.checkpoint()
        mine = sorted(
            {m.chat_id for m in self._platform.history if self.me.user_id in (direct_members(m.chat_id) or ())}
        )
        start = int(cursor or 0)
        more = str(start + 1) if start + 1 < len(mine) else ""
        chats = [self._chat(each) for each in mine[start : start + 1]]
        return ListChatsResponse(chats=chats, next_cursor=more, complete_up_to=self._platform.complete_up_to())

    def _chat(self, chat_id: str) -> Chat:
        user_id = self.me.user_id
        mark = self._platform.marks.get((user_id, chat_id), 0)
        above = [m for m in self._platform.history if m.chat_id == chat_id and m.message_id > mark and m.text.body]
        newest = above[-self._platform.unread_among :]
        unread = min(sum(m.sender_id != user_id for m in newest), 100)
        marks = [Mark(user_id=user_id, read_up_to=mark)]
        return Chat(chat_id=chat_id, marks=marks, unread=unread, changes=self._state(chat_id))


async def verify(platform: Any, plan: Plan = PLAN, during: Callable[[Run], Any] | None = None) -> Result:
    async with open_background() as nursery:
        run = Run(plan)
        await run.begin(platform, nursery)
        if during is not None:
            await during(run)
        return await run.finish()


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
    """Does not remove the texts of deleted messages."""

    def remove(self, message_id: int) -> None:
        pass


class RefusesEdits(Platform):
    def change(self, actor: "FakeClient", change: Change) -> Event:
        if change.HasField("edited"):
            raise Refused("forbidden", "No.")
        return super().change(actor, change)


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
    ],
)
async def test_a_broken_promise_is_found_and_no_other(
    platform: Callable[[], Platform], kind: Kind, autojump_clock: MockClock
) -> None:
    """Whatever a run records reaches the checker, which test_checker.py tests with a violation of every kind."""
    result = await verify(platform(), replace(PLAN, seconds=30, late_retries=3, late_after=60))
    assert {violation.kind for violation in result.violations} == {kind}
    assert result.exit_code == 1


async def test_a_platform_that_keeps_its_promises_has_no_violation(autojump_clock: MockClock) -> None:
    result = await verify(Platform())
    assert (result.violations, result.exit_code, result.listed, result.changed) == ((), 0, 8, CHANGES)
    assert (result.sent, result.accepted, result.delivered, result.archived) == (80, 80, 80, 80)
    assert (result.refused, result.unanswered, result.retried, result.gaps, result.reconnects) == ({}, 0, 0, 0, 0)


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
    assert result.refused["unavailable"] > 5
    assert result.unanswered > 5
    assert 10 < result.retried < 80


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
