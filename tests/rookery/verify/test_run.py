"""A whole verification against a platform in memory that breaks one promise at a time: just that is seen."""

import itertools
import json
import math
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

import rookery.verify.run
from rookery.client import (
    Accepted,
    Connected,
    Disconnected,
    Gap,
    HistoryMessage,
    ListChatsResponse,
    ListMessagesResponse,
    Message,
    Refused,
    Unreachable,
)  # fmt: skip
from rookery.client.events import EventQueue
from rookery.commands.cli import main
from rookery.load.measure import summarize
from rookery.v1.archive_pb2 import Chat
from rookery.v1.session_pb2 import Text
from rookery.verify import Kind, Plan, Result, Run, VerifyError, Violation
from rookery.verify.plan import check_plan, partners, share
from rookery.verify.records import Sent
from rookery.verify.result import show
from rookery.verify.run import longest_pause
from shared.background import open_background
from shared.contract.chats import direct_chat_id, direct_members
from shared.contract.ids import SnowflakeGenerator, first_id_at

PLAN = Plan(clients=4, messages=80, settle_seconds=5, in_flight=2)


class Platform:
    """Keeps every promise. Subclasses break one each, with the `UNLUCKY`th message."""

    UNLUCKY = 37

    def __init__(self) -> None:
        self.clients: list[FakeClient] = []
        self.history: list[Message] = []
        self.ids = SnowflakeGenerator(1)
        self.taken = 0

    def take(self, sender: "FakeClient", recipient_id: int, text: str, key: str) -> Accepted | Refused | None:
        """A message is sent: the answer; None if there is none."""
        self.taken += 1
        message = Message(
            message_id=self.ids.next_nowait() or 0,
            chat_id=direct_chat_id(sender.me.user_id, recipient_id),
            sender_id=sender.me.user_id,
            client_message_id=key,
            text=Text(body=text),
        )
        if self.taken == self.UNLUCKY:
            return self.take_unlucky(sender, recipient_id, message)
        return self.keep(recipient_id, message)

    def take_unlucky(self, sender: "FakeClient", recipient_id: int, message: Message) -> Accepted | Refused | None:
        return self.keep(recipient_id, message)

    def keep(self, recipient_id: int, message: Message) -> Accepted:
        self.store(message)
        self.deliver(recipient_id, message)
        return self.accept(message)

    def store(self, message: Message) -> None:
        self.history.append(message)

    def deliver(self, recipient_id: int, message: Message) -> None:
        for client in self.clients:
            if client.me.user_id == recipient_id:
                client.queue.put(message, 0)

    def accept(self, message: Message) -> Accepted:
        key, chat_id = message.client_message_id, message.chat_id
        return Accepted(client_message_id=key, message_id=message.message_id, chat_id=chat_id)

    # ---- Accounts

    async def register(self, names: Sequence[str]) -> None:
        await trio.lowlevel.checkpoint()

    @asynccontextmanager
    async def open_client(self, name: str, number: int, transport: str) -> AsyncIterator["FakeClient"]:
        client = FakeClient(self, 1_000 + len(self.clients))
        self.clients.append(client)
        client.queue.put(Connected("s", 0), 0)
        await trio.lowlevel.checkpoint()
        yield client


class FakeClient:
    """As much of a Client as a verification uses, and its Api."""

    def __init__(self, platform: Platform, user_id: int) -> None:
        self.me = SimpleNamespace(user_id=user_id)
        self.queue = EventQueue()
        self.is_connected = True
        self._platform = platform

    @property
    def api(self) -> "FakeClient":
        return self

    def events(self) -> EventQueue:
        return self.queue

    def submit(self, to: int, text: str, *, client_message_id: str) -> Any:
        outcome = self._platform.take(self, to, text, client_message_id)

        async def answer(deadline: float) -> Accepted:
            await trio.lowlevel.checkpoint()
            if isinstance(outcome, Refused):
                raise outcome
            if outcome is None:
                await trio.sleep(deadline)
                raise Unreachable("no answer")
            return outcome

        return SimpleNamespace(answer=answer)

    async def history(self, chat_id: str, *, limit: int, after_ms: int = 0, after_id: int = 0) -> ListMessagesResponse:
        await trio.lowlevel.checkpoint()
        if self.me.user_id not in (direct_members(chat_id) or ()):
            raise Refused("not_found", "There is no such chat.")
        newer = [m for m in self._platform.history if m.message_id > max(after_id, first_id_at(after_ms))]
        page = sorted((m for m in newer if m.chat_id == chat_id), key=lambda m: m.message_id)
        items = [HistoryMessage(message=message) for message in page[:7]]
        return ListMessagesResponse(messages=items, has_newer=len(page) > len(items))

    async def chats(self, *, changed_since_ms: int, limit: int, cursor: str) -> ListChatsResponse:
        await trio.lowlevel.checkpoint()
        mine = sorted(
            {m.chat_id for m in self._platform.history if self.me.user_id in (direct_members(m.chat_id) or ())}
        )
        start = int(cursor or 0)
        more = str(start + 1) if start + 1 < len(mine) else ""
        return ListChatsResponse(chats=[Chat(chat_id=each) for each in mine[start : start + 1]], next_cursor=more)


async def verify(platform: Any, plan: Plan = PLAN, during: Callable[[Run], Any] | None = None) -> Result:
    async with open_background() as nursery:
        run = Run(plan)
        await run.begin(platform, nursery)
        if during is not None:
            await during(run)
        return await run.finish()


class Loses(Platform):
    def take_unlucky(self, sender: FakeClient, recipient_id: int, message: Message) -> Accepted | Refused | None:
        self.deliver(recipient_id, message)
        return self.accept(message)


class DeliversNot(Platform):
    def take_unlucky(self, sender: FakeClient, recipient_id: int, message: Message) -> Accepted | Refused | None:
        self.store(message)
        return self.accept(message)


class StoresTwice(Platform):
    def take_unlucky(self, sender: FakeClient, recipient_id: int, message: Message) -> Accepted | Refused | None:
        again = Message(message_id=self.ids.next_nowait() or 0)
        self.store(Message.FromString(message.SerializeToString() + again.SerializeToString()))
        return self.keep(recipient_id, message)


class DeliversTwice(Platform):
    def take_unlucky(self, sender: FakeClient, recipient_id: int, message: Message) -> Accepted | Refused | None:
        self.deliver(recipient_id, message)
        return self.keep(recipient_id, message)


class Reorders(Platform):
    """Delivers what it is given next to the same user first."""

    def __init__(self) -> None:
        super().__init__()
        self.held: Message | None = None

    def take_unlucky(self, sender: FakeClient, recipient_id: int, message: Message) -> Accepted | Refused | None:
        self.held = message
        self.store(message)
        return self.accept(message)

    def deliver(self, recipient_id: int, message: Message) -> None:
        super().deliver(recipient_id, message)
        held = self.held
        if held is not None and (held.chat_id, held.sender_id) == (message.chat_id, message.sender_id):
            self.held = None
            super().deliver(recipient_id, held)


class AnswersAnotherId(Platform):
    def take_unlucky(self, sender: FakeClient, recipient_id: int, message: Message) -> Accepted | Refused | None:
        accepted = self.keep(recipient_id, message)
        accepted.message_id += 1 << 12  # as another generator would give it
        return accepted


class GivesAnIdTwice(Platform):
    def __init__(self) -> None:
        super().__init__()
        self.given = 0

    def keep(self, recipient_id: int, message: Message) -> Accepted:
        if self.taken == self.UNLUCKY:
            message.message_id = self.given
        self.given = message.message_id
        return super().keep(recipient_id, message)


class Invents(Platform):
    def take_unlucky(self, sender: FakeClient, recipient_id: int, message: Message) -> Accepted | Refused | None:
        invented = Message.FromString(message.SerializeToString())
        invented.client_message_id += "0"
        invented.message_id = self.ids.next_nowait() or 0
        self.keep(recipient_id, invented)
        return self.keep(recipient_id, message)


class Changes(Platform):
    def take_unlucky(self, sender: FakeClient, recipient_id: int, message: Message) -> Accepted | Refused | None:
        message.text.body = message.text.body.replace("-", "_")
        return self.keep(recipient_id, message)


class RefusesForEver(Platform):
    UNLUCKY_KEY = ""

    def take(self, sender: FakeClient, recipient_id: int, text: str, key: str) -> Accepted | Refused | None:
        self.UNLUCKY_KEY = self.UNLUCKY_KEY or key
        if key == self.UNLUCKY_KEY:
            return Refused("unavailable", "Not now.", retryable=True)
        return super().take(sender, recipient_id, text, key)


LIARS = {
    Kind.LOST: Loses,
    Kind.NOT_DELIVERED: DeliversNot,
    Kind.TWICE_IN_HISTORY: StoresTwice,
    Kind.DELIVERED_TWICE: DeliversTwice,
    Kind.OUT_OF_ORDER: Reorders,
    Kind.OTHER_ID: AnswersAnotherId,
    Kind.ID_TWICE: GivesAnIdTwice,
    Kind.NEVER_SENT: Invents,
    Kind.CHANGED: Changes,
    Kind.NOT_ACCEPTED: RefusesForEver,
}


def test_there_is_a_liar_for_each_kind() -> None:
    assert set(LIARS) == set(Kind)


@pytest.mark.parametrize("kind", LIARS)
async def test_a_platform_that_breaks_a_promise_is_found_out(kind: Kind, autojump_clock: MockClock) -> None:
    result = await verify(LIARS[kind](), replace(PLAN, seconds=30))
    assert {violation.kind for violation in result.violations} >= {kind}
    assert result.exit_code == 1
    others = {violation.kind for violation in result.violations} - {kind}
    also = {
        Kind.TWICE_IN_HISTORY: {Kind.OTHER_ID},  # of the second copy
        Kind.ID_TWICE: {Kind.TWICE_IN_HISTORY, Kind.DELIVERED_TWICE, Kind.OUT_OF_ORDER},  # if they are of one chat
    }
    assert others <= also.get(kind, set())


async def test_a_platform_that_keeps_its_promises_is_not_accused(autojump_clock: MockClock) -> None:
    result = await verify(Platform())
    assert (result.violations, result.exit_code) == ((), 0)
    assert (result.sent, result.accepted, result.delivered, result.archived) == (80, 80, 80, 80)
    assert (result.refused, result.unanswered, result.retried, result.gaps, result.reconnects) == ({}, 0, 0, 0, 0)


class Hesitates(Platform):
    """Refuses some and does not answer others, whether it has kept them or not."""

    def take(self, sender: FakeClient, recipient_id: int, text: str, key: str) -> Accepted | Refused | None:
        self.taken += 1
        known = [m for m in self.history if (m.sender_id, m.client_message_id) == (sender.me.user_id, key)]
        if known:
            return self.accept(known[0])
        outcome = super().take(sender, recipient_id, text, key) if self.taken % 3 else None
        if self.taken % 5 == 0:
            return Refused("unavailable", "Not now.", retryable=True, retry_after_ms=100)
        return None if self.taken % 7 == 0 else outcome


async def test_what_is_refused_or_not_answered_is_sent_again_until_it_is_accepted(autojump_clock: MockClock) -> None:
    result = await verify(Hesitates())
    assert result.violations == ()
    assert result.accepted == result.sent == 80
    assert result.refused["unavailable"] > 5
    assert result.unanswered > 5
    assert 10 < result.retried < 80


class Overflows(Platform):
    """Tells the recipient of a Gap instead of delivering some."""

    def deliver(self, recipient_id: int, message: Message) -> None:
        for client in self.clients:
            if client.me.user_id == recipient_id and self.taken % 10 == 0:
                client.queue.put(Gap(since_ms=1, dropped=1), 0)
                return
        super().deliver(recipient_id, message)


async def test_what_was_missed_in_a_gap_is_read_from_history(autojump_clock: MockClock) -> None:
    result = await verify(Overflows())
    assert result.violations == ()
    assert (result.gaps, result.delivered + result.caught_up) == (8, 80)
    assert result.caught_up >= 8  # what comes in the session after it was read counts as read


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
    assert (result.reconnects, result.outages.count, round(result.outages.max)) == (1, 1, 500)


async def test_at_a_rate_messages_are_spread_over_the_time_and_end_with_it(autojump_clock: MockClock) -> None:
    result = await verify(Platform(), replace(PLAN, messages=1_000, rate=10.0, seconds=20.0))
    assert result.seconds == pytest.approx(20, abs=0.5)
    assert 190 <= result.sent <= 201
    assert result.violations == ()


async def test_what_an_earlier_run_left_does_not_count(autojump_clock: MockClock) -> None:
    platform = Platform()
    await verify(platform)
    platform.clients.clear()
    assert (await verify(platform)).violations == ()


# ---- plans


@given(st.integers(1, 200).map(lambda half: 2 * half))
def test_everyone_writes_to_their_pair_and_one_other_and_hears_of_as_many(clients: int) -> None:
    heard = [other for number in range(clients) for other in partners(number, clients)]
    assert all(number not in partners(number, clients) for number in range(clients))
    assert len(set(map(heard.count, range(clients)))) == 1
    assert all(partners(partner, clients)[0] == number for number in range(clients) for partner in [number ^ 1])


@given(st.integers(1, 50), st.integers(1, 1_000))
def test_all_messages_are_shared_out(pairs: int, messages: int) -> None:
    plan = Plan(clients=2 * pairs, messages=messages)
    shares = [share(number, plan) for number in range(plan.clients)]
    assert sum(shares) == messages
    assert max(shares) - min(shares) <= 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"clients": 3}, "even"),
        ({"clients": 0}, "even"),
        ({"messages": 0}, "--messages"),
        ({"messages": 10**9}, "--messages"),
        ({"rate": 0.0}, "--rate"),
        ({"seconds": math.inf}, "--seconds"),
        ({"settle_seconds": math.nan}, "--settle"),
        ({"size": 10**6}, "--bytes"),
        ({"churn": -1}, "--churn"),
        ({"accounts": "x"}, "--accounts"),
        ({"urls": ()}, "--url"),
        ({"urls": ("ftp://127.0.0.1",)}, "not the URL"),
        ({"urls": ("http://127.0.0.1", "http://192.0.2.1")}, "--i-own-this-server"),
    ],
)
def test_a_run_is_bounded(options: dict[str, Any], words: str) -> None:
    with pytest.raises(VerifyError, match=words):
        check_plan(Plan(**options))


def test_another_machine_may_be_verified_by_its_owner() -> None:
    check_plan(Plan(urls=("http://192.0.2.1",), anywhere=True))


# ---- measures


def sent(at: float, accepted_at: float) -> Sent:
    return Sent((1, "m"), "d-1-2", 2, "m", 0, at=at, accepted_at=accepted_at)


@pytest.mark.parametrize(
    ("messages", "pause"),
    [
        ([], 0.0),
        ([sent(1, 2), sent(10, 11)], 1.0),  # nobody waited in between
        ([sent(1, 2), sent(1.5, 9), sent(3, 4)], 5.0),
        ([sent(1, math.inf)], 19.0),  # until the end
    ],
)
def test_a_pause_counts_only_while_someone_waits(messages: Sequence[Sent], pause: float) -> None:
    assert longest_pause(messages, 0.0, 20.0) == pytest.approx(pause)


# ---- the command


def result(*violations: Violation) -> Result:
    nothing = summarize([])
    return Result(
        plan=Plan(churn=2), seconds=1.0, sent=2, accepted=2, delivered=1, caught_up=1, archived=2,
        refused={"unavailable": 3}, unanswered=0, retried=1, gaps=1, reconnects=0, to_accepted=nothing,
        to_delivered=nothing, outages=nothing, longest_pause_ms=0.0, churned=2, churn_failed=0, violations=violations,
    )  # fmt: skip


LOSS = Violation(Kind.LOST, "m0 of 1 was accepted, and is not in the history")


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Result]]:
    """What the next runs of the command come to."""
    coming: list[Result] = []

    async def verify(plan: Plan, say: object) -> Result:
        await trio.lowlevel.checkpoint()
        check_plan(plan)
        return coming.pop(0)

    monkeypatch.setattr(rookery.verify.run, "verify", verify)
    yield coming
    assert not coming


def test_the_command_exits_1_on_a_violation_and_names_it(results: list[Result]) -> None:
    results += [result(LOSS), result(LOSS)]
    said = CliRunner().invoke(main, ["verify"])
    assert said.exit_code == 1
    assert "violations     1: 1 lost\n  lost: m0 of 1 was accepted" in said.output
    as_json = CliRunner().invoke(main, ["verify", "--json"])
    assert as_json.exit_code == 1
    assert json.loads(as_json.output)["violations"] == [{"kind": "lost", "text": LOSS.text}]
    assert json.loads(as_json.output)["to_accepted"]["p99"] is None


def test_the_command_exits_0_without_one(results: list[Result]) -> None:
    results.append(result())
    said = CliRunner().invoke(main, ["verify", "--clients", "10"])
    assert said.exit_code == 0
    assert "violations     0" in said.output


@pytest.mark.parametrize(
    "arguments", [["--clients", "3"], ["--clients", "many"], ["--nonsense"], ["--url", "nonsense"]]
)
def test_the_command_exits_2_if_it_can_not_be_run(arguments: Sequence[str]) -> None:
    said = CliRunner().invoke(main, ["verify", *arguments])
    assert said.exit_code == 2
    assert "Error: " in said.output


def test_only_some_of_many_violations_are_shown() -> None:
    shown = show(result(*itertools.repeat(LOSS, 100)), as_json=False)
    assert shown.count(LOSS.text) == 20
    assert "and 80 more" in shown
