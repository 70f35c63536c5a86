from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from messaging.archive.store.cassandra.groups import GROUP_READS, Groups
from messaging.archive.store.cassandra.heads import Heads
from rookery.v1.groups_pb2 import ROLE_MEMBER, Member, Span
from shared.contract.errors import Unavailable

CHANGED_ID, NEWEST_ID = 9, 7


class Store:
    """The heads of a store. A read returns them as they are when it begins, or fails."""

    def __init__(self, seconds: float = 1.0) -> None:
        self.seconds = seconds
        self.failure: str | None = None
        self.recorded = Counter[str]()
        self.reads: list[list[str]] = []
        self.under_way = Counter[str]()

    async def read(self, chat_ids: Sequence[str]) -> list[tuple[str, int]]:
        self.reads.append(sorted(chat_ids))
        self.under_way.update(chat_ids)
        assert max(self.under_way.values()) == 1
        rows, failure = [(chat_id, self.recorded[chat_id]) for chat_id in chat_ids if chat_id != "none"], self.failure
        try:
            await trio.sleep(self.seconds)
        finally:
            self.under_way.subtract(chat_ids)
        if failure is not None:
            raise Unavailable(failure)
        return rows


class ScriptedSession:
    """A session that takes a second to answer reads of heads and of own rows."""

    def __init__(self) -> None:
        self.reads: list[list[str]] = []  # of heads

    async def execute(self, statement: str, parameters: Sequence[Any]) -> list[Any]:
        return (await self.execute_all([(statement, parameters)]))[0]

    async def execute_all(self, work: Sequence[tuple[str, Sequence[Any]]]) -> list[list[Any]]:
        self.reads += [sorted(*parameters) for statement, parameters in work if "chat_heads" in statement]
        await trio.sleep(1)
        return [self._rows(statement, *parameters) for statement, parameters in work]

    def _rows(self, statement: str, *parameters: Any) -> list[Any]:
        if "chat_heads" in statement:
            head = (CHANGED_ID, NEWEST_ID, None, 1, None, 20, None) if "settings" in statement else (CHANGED_ID, 1)
            return [(chat_id, *head) for chat_id in parameters[0]]
        member = Member(user_id=parameters[0], role=ROLE_MEMBER, spans=[Span(first=1)])
        return [(chat_id, member.SerializeToString(), *[None] * 4) for chat_id in parameters[1]]


async def called_at_once(heads: Heads, *calls: Collection[str]) -> list[dict[str, int]]:
    answers: list[dict[str, int]] = [{} for _ in calls]

    async def call(number: int) -> None:
        answers[number] = dict(await heads.rows(calls[number]))

    async with trio.open_nursery() as nursery:
        for number in range(len(calls)):
            nursery.start_soon(call, number)
    return answers


async def test_a_head_is_read_twice_for_any_number_of_calls_at_once(autojump_clock: MockClock) -> None:
    """Once for the first call, and once for all that came while this read was under way."""
    store = Store()
    answers = await called_at_once(Heads(store.read), *[["a", "b"]] * 50)
    assert answers == [{"a": 0, "b": 0}] * 50
    assert store.reads == [["a", "b"]] * 2
    assert trio.current_time() == pytest.approx(2)


async def test_a_head_that_a_call_alone_needs_is_read_beside_those_that_it_shares(autojump_clock: MockClock) -> None:
    store = Store()
    heads = Heads(store.read)
    answers = await called_at_once(heads, ["a"], ["a", "b"], ["a", "c"], ["none"])
    assert answers == [{"a": 0}, {"a": 0, "b": 0}, {"a": 0, "c": 0}, {}]
    reads = Counter(chat_id for read in store.reads for chat_id in read)
    assert reads == {"a": 2, "b": 1, "c": 1, "none": 1}


async def test_no_head_is_kept(autojump_clock: MockClock) -> None:
    store = Store()
    heads = Heads(store.read)
    assert await heads.rows(["a"]) == [("a", 0)]
    store.recorded["a"] += 1
    assert await heads.rows(["a"]) == [("a", 1)]
    assert await heads.rows([]) == []


async def test_those_who_wait_for_a_failed_read_fail_and_later_calls_read_again(autojump_clock: MockClock) -> None:
    store = Store()
    heads, failures = Heads(store.read), list[str]()

    async def call() -> None:
        try:
            await heads.rows(["a"])
        except Unavailable as error:
            failures.append(str(error))

    store.failure = "away"
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(call)
    assert failures == ["away"] * 5
    assert len(store.reads) == 2
    store.failure = None
    assert await heads.rows(["a"]) == [("a", 0)]


async def test_a_call_that_shares_a_cancelled_read_reads_itself(autojump_clock: MockClock) -> None:
    store = Store()
    heads, answers = Heads(store.read), list[dict[str, int]]()

    async def call(at: float, chat_ids: Collection[str], patience: float = 10) -> None:
        await trio.sleep(at)
        with trio.move_on_after(patience):
            answers.append(dict(await heads.rows(chat_ids)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, 0.0, ["a"])
        nursery.start_soon(call, 0.1, ["a", "b"])  # waits until 1, then reads "a" and shares the next read of "b"
        nursery.start_soon(call, 0.5, ["b"], 0.7)
    assert answers == [{"a": 0}, {"a": 0, "b": 0}]
    assert store.reads == [["a"], ["b"], ["a"], ["b"]]


calls = st.lists(
    st.tuples(st.integers(0, 30), st.sets(st.sampled_from("abc"), min_size=1), st.integers(1, 40)), max_size=12
)


@given(calls=calls, recorded=st.lists(st.tuples(st.integers(0, 30), st.sampled_from("abc")), max_size=12))
async def test_a_call_returns_all_that_was_recorded_before_it(
    autojump_clock: MockClock, calls: list[tuple[int, set[str], int]], recorded: list[tuple[int, str]]
) -> None:
    """However many reads are under way, or are cancelled."""
    store = Store(seconds=5.5)
    heads = Heads(store.read)

    async def record(at: int, chat_id: str) -> None:
        await trio.sleep(at)
        store.recorded[chat_id] += 1

    async def call(at: int, chat_ids: set[str], patience: int) -> None:
        await trio.sleep(at)
        known = Counter(store.recorded)
        with trio.move_on_after(patience):
            rows: dict[str, int] = dict(await heads.rows(chat_ids))
            assert rows.keys() == chat_ids
            assert all(rows[chat_id] >= known[chat_id] for chat_id in chat_ids)

    async with trio.open_nursery() as nursery:
        for each in calls:
            nursery.start_soon(call, *each)
        for event in recorded:
            nursery.start_soon(record, *event)
    assert not heads._loads


async def test_users_with_common_groups_share_the_reads_of_heads(autojump_clock: MockClock) -> None:
    session: Any = ScriptedSession()
    groups = Groups(session, {cql: cql for cql in GROUP_READS})
    chat_ids = ["one", "two"]
    changed: list[dict[str, int]] = []
    chats: dict[int, dict[str, int]] = {}

    async def read_changed() -> None:
        changed.append(await groups.changed_ids([(chat_id, 0, None, None) for chat_id in chat_ids]))

    async def read_chats(user_id: int) -> None:
        found = await groups.chats(user_id, chat_ids)
        assert all(chat.own.user_id == user_id for chat, _ in found.values())
        chats[user_id] = {chat_id: newest_id for chat_id, (_, newest_id) in found.items()}

    async with trio.open_nursery() as nursery:
        for user_id in range(1, 21):
            nursery.start_soon(read_changed)
            nursery.start_soon(read_chats, user_id)
    assert changed == [{"one": CHANGED_ID, "two": CHANGED_ID}] * 20
    assert chats == {user_id: {"one": NEWEST_ID, "two": NEWEST_ID} for user_id in range(1, 21)}
    assert session.reads == [chat_ids] * 4
