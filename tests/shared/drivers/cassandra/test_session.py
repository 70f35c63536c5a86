"""A session's requests and results, over a fake driver whose answers the tests control."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
from cassandra import AlreadyExists, InvalidRequest, OperationTimedOut, ReadTimeout
from cassandra.cluster import NoHostAvailable
from trio.testing import MockClock, wait_all_tasks_blocked

from shared.contract.errors import Unavailable
from shared.drivers.cassandra import requests as requests_module
from shared.drivers.cassandra.session import PROBE_INTERVAL, CassandraSession
from shared.settings import CassandraSettings
from tests.shared.drivers.cassandra.fake_driver import FakeDriver, FakeFuture

SETTINGS = CassandraSettings(max_requests=4, timeout_seconds=2)
PROBE = "probe"


@pytest.fixture
def driver() -> FakeDriver:
    return FakeDriver()


@pytest.fixture
async def session(driver: FakeDriver, nursery: trio.Nursery) -> AsyncIterator[CassandraSession]:
    session = CassandraSession(driver, SETTINGS)  # type: ignore[arg-type]
    nursery.start_soon(session._watch, PROBE)
    yield session
    nursery.cancel_scope.cancel()


def requests(*names: str) -> list[tuple[str, tuple[object, ...]]]:
    return [(name, ()) for name in names]


def numbered(prefix: str, count: int) -> list[tuple[str, tuple[object, ...]]]:
    return requests(*(f"{prefix}{n}" for n in range(count)))


class Outcome:
    """The result of a call in a task of its own."""

    def __init__(self) -> None:
        self.rows: list[list[Any]] | None = None
        self.error: Exception | None = None

    async def run(self, session: CassandraSession, work: list[tuple[str, tuple[object, ...]]]) -> None:
        try:
            self.rows = await session.execute_all(work)
        except (Unavailable, ValueError) as error:
            self.error = error


async def start(
    nursery: trio.Nursery, session: CassandraSession, work: list[tuple[str, tuple[object, ...]]]
) -> Outcome:
    outcome = Outcome()
    nursery.start_soon(outcome.run, session, work)
    await wait_all_tasks_blocked()
    return outcome


async def answer(*futures: FakeFuture) -> None:
    for future in futures:
        future.answer()
    await wait_all_tasks_blocked()


async def fail(future: FakeFuture, error: Exception) -> None:
    future.fail(error)
    await wait_all_tasks_blocked()


async def test_results_are_in_the_order_of_the_requests_whatever_the_order_of_the_answers(
    session: CassandraSession, driver: FakeDriver, nursery: trio.Nursery
) -> None:
    outcome = await start(nursery, session, requests("a", "b", "c"))
    for future in reversed(driver.sent):
        future.answer([(future.text,)])
    await wait_all_tasks_blocked()
    assert outcome.rows == [[("a",)], [("b",)], [("c",)]]


async def test_without_requests_nothing_is_sent_and_without_rows_the_result_is_empty(
    session: CassandraSession, driver: FakeDriver
) -> None:
    assert await session.execute_all([]) == []
    assert driver.sent == []
    driver.answers = lambda future: future.answer(None)
    assert await session.execute("a") == []


async def test_no_more_are_under_way_than_the_settings_allow(
    session: CassandraSession, driver: FakeDriver, nursery: trio.Nursery
) -> None:
    outcome = await start(nursery, session, numbered("a", 10))
    for answered in range(10):
        assert len(driver.sent) == min(answered + SETTINGS.max_requests, 10)
        assert session.statistics().under_way == len(driver.sent) - answered
        await answer(driver.sent[answered])
    assert outcome.rows == [[]] * 10
    assert session.statistics().under_way == 0


async def test_calls_take_turns(session: CassandraSession, driver: FakeDriver, nursery: trio.Nursery) -> None:
    await start(nursery, session, numbered("big", 100))
    small = await start(nursery, session, requests("small"))
    for future in tuple(driver.sent[:2]):
        future.answer()
        await wait_all_tasks_blocked()
    assert driver.texts.index("small") <= SETTINGS.max_requests + 1
    await answer(driver.sent[driver.texts.index("small")])
    assert small.rows == [[]]


async def test_a_task_with_many_requests_is_woken_once(
    session: CassandraSession, driver: FakeDriver, nursery: trio.Nursery
) -> None:
    class Steps(trio.abc.Instrument):
        def __init__(self) -> None:
            self.of: dict[trio.lowlevel.Task, int] = {}

        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            self.of[task] = self.of.get(task, 0) + 1

    steps = Steps()
    outcome = Outcome()
    tasks: list[trio.lowlevel.Task] = []

    async def call() -> None:
        tasks.append(trio.lowlevel.current_task())
        await outcome.run(session, numbered("a", 50))

    nursery.start_soon(call)
    await wait_all_tasks_blocked()
    trio.lowlevel.add_instrument(steps)
    for n in range(50):
        await answer(driver.sent[n])
    assert outcome.rows is not None
    assert steps.of[tasks[0]] == 1


async def test_answers_that_come_together_are_passed_to_trio_together(
    session: CassandraSession, driver: FakeDriver, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = [await start(nursery, session, requests(f"a{n}")) for n in range(4)]
    collected: list[int] = []
    collect = session._requests._collect

    def counted() -> None:
        collected.append(len(session._requests._returned))
        collect()

    monkeypatch.setattr(session._requests, "_collect", counted)
    await answer(*driver.sent)
    assert collected == [4]
    assert [outcome.rows for outcome in outcomes] == [[[]]] * 4


async def test_other_tasks_run_while_many_requests_are_sent(driver: FakeDriver) -> None:
    session = CassandraSession(driver, CassandraSettings(max_requests=1_000))  # type: ignore[arg-type]
    seen: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.execute_all, numbered("a", 200))
        while len(driver.sent) < 200:
            await trio.lowlevel.checkpoint()
            seen.append(len(driver.sent))
        nursery.cancel_scope.cancel()
    assert len({count for count in seen if 0 < count < 200}) > 2


async def test_a_cancelled_call_sends_no_more_and_its_slots_come_back(
    session: CassandraSession, driver: FakeDriver, nursery: trio.Nursery
) -> None:
    with trio.move_on_after(0):
        await session.execute("never sent: cancelled before")
    assert driver.sent == []
    async with trio.open_nursery() as inner:
        inner.start_soon(session.execute_all, numbered("a", 10))
        await wait_all_tasks_blocked()
        inner.cancel_scope.cancel()
    assert session.statistics().waiting == 0
    outcome = await start(nursery, session, requests("b"))
    assert "b" not in driver.texts  # the requests under way still have their slots
    await answer(*driver.sent)
    assert driver.texts == ["a0", "a1", "a2", "a3", "b"]
    driver.sent[-1].answer([(1,)])
    await wait_all_tasks_blocked()
    assert outcome.rows == [[(1,)]]
    assert session.statistics().under_way == 0


async def test_a_call_that_is_answered_in_the_moment_in_which_it_is_cancelled_is_woken_once(
    session: CassandraSession, driver: FakeDriver, nursery: trio.Nursery
) -> None:
    async with trio.open_nursery() as inner:
        inner.start_soon(session.execute, "a")
        await wait_all_tasks_blocked()
        driver.sent[0].answer()
        inner.cancel_scope.cancel()
        session._requests._collect()
    assert session.statistics().under_way == 0


async def test_the_first_failure_ends_a_call(
    session: CassandraSession, driver: FakeDriver, nursery: trio.Nursery
) -> None:
    outcome = await start(nursery, session, numbered("a", 10))
    await fail(driver.sent[1], InvalidRequest("no such table"))
    assert isinstance(outcome.error, Unavailable)
    assert len(driver.sent) == 4
    await answer(*(driver.sent[0], *driver.sent[2:]))
    assert len(driver.sent) == 4
    assert session.statistics().under_way == 0


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationTimedOut(), Unavailable),
        (NoHostAvailable("none", {}), Unavailable),
        (ReadTimeout("replicas are silent"), Unavailable),
        (InvalidRequest("disk usage exceeds failure threshold"), Unavailable),
        (AlreadyExists("keyspace", "table"), Unavailable),
        (NoHostAvailable("none", {"host": TypeError("not a number")}), ValueError),
        (RuntimeError("a bug of the driver"), Unavailable),
    ],
)
async def test_errors_of_the_driver_become_ours_and_an_answered_error_is_no_silence(
    session: CassandraSession, driver: FakeDriver, error: Exception, expected: type[Exception]
) -> None:
    driver.answers = lambda future: future.fail(error)
    with pytest.raises(expected):
        await session.execute("a")
    if isinstance(error, ReadTimeout | InvalidRequest):  # errors that a node answered
        assert not session.statistics().is_silent


async def test_a_request_that_the_driver_refuses_to_send_keeps_no_slot(
    session: CassandraSession, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(driver, "execute_async", refuse)
    for _ in range(2 * SETTINGS.max_requests):
        with pytest.raises(Unavailable):
            await session.execute("a")
    assert session.statistics().under_way == 0


async def test_values_for_a_text_are_refused_before_anything_is_sent(
    session: CassandraSession, driver: FakeDriver
) -> None:
    with pytest.raises(ValueError, match="prepared"):
        await session.execute_all([("a", ()), ("b", (1,))])
    assert driver.sent == []


async def test_too_many_waiting_calls_are_refused(
    session: CassandraSession, driver: FakeDriver, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests_module, "MAX_WAITING", 2)
    for n in range(3):
        await start(nursery, session, numbered(f"{n}-", 4))
    with pytest.raises(Unavailable, match="wait"):
        await session.execute("a")


# ---- silence


async def test_after_the_first_time_out_all_are_refused_at_once_until_a_probe_is_answered(
    session: CassandraSession, driver: FakeDriver, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    under_way = await start(nursery, session, numbered("a", 4))
    waiting = await start(nursery, session, requests("b"))
    await trio.sleep(SETTINGS.timeout_seconds)
    await fail(driver.sent[0], OperationTimedOut())
    assert isinstance(under_way.error, Unavailable)
    assert isinstance(waiting.error, Unavailable)
    assert driver.texts == ["a0", "a1", "a2", "a3", PROBE]
    assert session.statistics().is_silent
    for _ in range(3):  # a probe that is not answered is followed by another
        before = trio.current_time()
        with pytest.raises(Unavailable, match="does not answer"):
            await session.execute("c")
        with pytest.raises(Unavailable, match="does not answer"):
            await session.prepare("d")
        assert trio.current_time() == before
        probes = driver.texts.count(PROBE)
        assert driver.sent[-1].options["timeout"] <= SETTINGS.timeout_seconds
        driver.sent[-1].fail(OperationTimedOut())
        await trio.sleep(PROBE_INTERVAL + 0.1)
        assert driver.texts.count(PROBE) == probes + 1
    await answer(driver.sent[-1])
    assert not session.statistics().is_silent
    again = await start(nursery, session, requests("c"))  # the slots of the requests that timed out are not free yet
    for future in driver.sent[1:4]:
        future.fail(OperationTimedOut())
    await wait_all_tasks_blocked()
    assert not session.statistics().is_silent
    driver.sent[-1].answer([(1,)])
    await wait_all_tasks_blocked()
    assert again.rows == [[(1,)]]


async def test_a_late_answer_ends_the_silence_and_probes_need_no_slot(
    session: CassandraSession, driver: FakeDriver, nursery: trio.Nursery
) -> None:
    await start(nursery, session, numbered("a", SETTINGS.max_requests))
    await fail(driver.sent[0], OperationTimedOut())
    assert session.statistics().is_silent
    *late, probe = driver.sent[1:]
    assert probe.text == PROBE
    await answer(*late)
    assert not session.statistics().is_silent
    probe.answer()
    await wait_all_tasks_blocked()
    assert session.statistics().under_way == 0


# ---- the end


async def test_waiting_calls_fail_when_it_is_closed(
    session: CassandraSession, driver: FakeDriver, nursery: trio.Nursery
) -> None:
    outcome = await start(nursery, session, numbered("a", 10))
    session._close()
    await wait_all_tasks_blocked()
    assert isinstance(outcome.error, Unavailable)
    assert len(driver.sent) == 4
    with pytest.raises(Unavailable, match="closed"):
        await session.execute("b")


def test_answers_after_the_end_of_trio_are_ignored(driver: FakeDriver) -> None:
    async def main() -> None:
        session = CassandraSession(driver, SETTINGS)  # type: ignore[arg-type]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session.execute, "a")
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()

    trio.run(main)
    driver.sent[0].answer()
