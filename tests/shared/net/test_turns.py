"""The connections of one address share one turn in each pass of the scheduler."""

import gc
import math
import time
import weakref

import pytest
import trio
import trio.testing

from shared.net import turns as module
from shared.net.turns import (
    CONNECTION_SECONDS,
    FILES_WAIT_SECONDS,
    MAX_DEBT_SECONDS,
    PIECE_SECONDS,
    TURN_SECONDS,
    FilesTurn,
    Turn,
    Turns,
    await_client,
)
from tests.waiting import counting_passes

TASKS = 100


class Clock:
    """A clock that moves only when the test moves it."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "thread_time", clock)
    return clock


async def work(turn: Turn, clock: Clock, seconds: float) -> None:
    await turn.wait()
    with turn:
        clock.now += seconds / 2
    turn.charge(seconds / 2)
    clock.now += seconds / 2


async def test_nobody_waits_within_a_turn(clock: Clock) -> None:
    turn = Turn()
    with trio.testing.assert_no_checkpoints():
        for _ in range(4):
            await work(turn, clock, TURN_SECONDS / 4)
    with trio.testing.assert_checkpoints():
        await turn.wait()


async def test_time_in_which_the_machine_runs_others_is_not_counted() -> None:
    """Else 100 clients of one address had waited seconds for their sign-ins in a process with a tenth of a core."""
    turn = Turn()
    with turn:
        time.sleep(5 * TURN_SECONDS)  # noqa: ASYNC251 - the process stands still, as one that waits for a core
    with trio.testing.assert_no_checkpoints():
        await turn.wait()


@pytest.mark.parametrize("seconds", [TURN_SECONDS * 2, TURN_SECONDS, TURN_SECONDS / 2, TURN_SECONDS / 50])
async def test_the_work_of_all_takes_one_turn_in_each_pass(clock: Clock, seconds: float) -> None:
    turn, passes, spent = Turn(), 0, []

    async def count_passes() -> None:
        nonlocal passes
        while True:
            before = clock.now
            await trio.lowlevel.checkpoint()
            passes += 1
            spent.append(clock.now - before)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_passes)
        async with trio.open_nursery() as working:
            for _ in range(TASKS):
                working.start_soon(work, turn, clock, seconds)
        nursery.cancel_scope.cancel()
    assert clock.now == pytest.approx(TASKS * seconds)
    assert max(spent) < 2 * (TURN_SECONDS + seconds)  # the tasks of two passes may run in either order
    assert passes <= TASKS * (1 + max(seconds / TURN_SECONDS, 1)) + 5


@pytest.mark.parametrize(("seconds", "passes"), [(TURN_SECONDS * 10, 9), (60.0, MAX_DEBT_SECONDS / TURN_SECONDS - 1)])
async def test_work_that_takes_ten_turns_is_followed_by_nine_passes_without_any(
    clock: Clock, seconds: float, passes: float
) -> None:
    """Charged or measured. There is a bound, since the machine may have stopped the process meanwhile."""
    turn = Turn()
    await work(turn, clock, seconds)
    async with counting_passes() as counted:
        await turn.wait()
    assert counted.passed == pytest.approx(passes, abs=2)  # the two tasks of a pass may run in either order


PIECES = math.ceil(TURN_SECONDS / PIECE_SECONDS)
"""Pieces of a turn."""


async def test_pieces_of_files_are_taken_when_all_other_tasks_wait(autojump_clock: trio.testing.MockClock) -> None:
    turn, taken = FilesTurn(), 0

    async def take() -> None:
        nonlocal taken
        for _ in range(4):
            await turn.take_piece()
            taken += 1

    async with trio.open_nursery() as files:
        for _ in range(TASKS):
            files.start_soon(take)
        for _ in range(20):  # the passes of a message
            await trio.lowlevel.checkpoint()
        assert taken <= PIECES
        await trio.sleep(1)
        assert taken == 4 * TASKS
    assert trio.current_time() == pytest.approx(1)


async def test_pieces_of_files_wait_for_a_bounded_time_if_another_task_never_waits(
    mock_clock: trio.testing.MockClock,
) -> None:
    turn, taken = FilesTurn(), 0

    async def take() -> None:
        nonlocal taken
        while True:
            await turn.take_piece()
            taken += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        for turns in range(1, 4):
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            assert taken == turns * PIECES
            mock_clock.jump(FILES_WAIT_SECONDS)
        nursery.cancel_scope.cancel()


async def test_no_turn_of_files_begins_while_a_thread_is_busy_for_messages_but_for_a_bounded_time() -> None:
    turn, taken, is_busy = FilesTurn(), 0, True

    async def take() -> None:
        nonlocal taken
        for _ in range(2 * PIECES):
            await turn.take_piece()
            taken += 1

    with turn.giving_way_to(lambda: is_busy):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take)
            began = trio.current_time()
            while taken <= PIECES:
                await trio.sleep(0.0001)
            assert trio.current_time() - began >= FILES_WAIT_SECONDS
            is_busy = False
    assert taken == 2 * PIECES


async def test_a_cancelled_connection_leaves_no_other_waiting(clock: Clock) -> None:
    turn = Turn()
    await work(turn, clock, TURN_SECONDS)
    scopes = [trio.CancelScope() for _ in range(TASKS)]
    done = 0

    async def cancellable(scope: trio.CancelScope) -> None:
        nonlocal done
        with scope:
            await work(turn, clock, TURN_SECONDS)
            done += 1

    async with trio.open_nursery() as nursery:
        for scope in scopes:
            nursery.start_soon(cancellable, scope)
        await trio.lowlevel.checkpoint()
        for scope in scopes[::2]:
            scope.cancel()
        nursery.cancel_scope.deadline = trio.current_time() + 30  # only for a test that has failed
    assert done >= TASKS // 2


async def test_a_new_connection_is_charged_once_its_client_has_sent_bytes(
    autojump_clock: trio.testing.MockClock,
) -> None:
    turn = Turn()
    ours, theirs = trio.socket.socketpair()
    async with trio.SocketStream(ours) as stream, trio.SocketStream(theirs) as client:
        for _ in range(math.ceil(TURN_SECONDS / CONNECTION_SECONDS)):
            with trio.move_on_after(1):
                await await_client(stream, turn)
            with trio.testing.assert_no_checkpoints():
                await turn.wait()
        await client.send_all(b"x")
        for _ in range(math.ceil(TURN_SECONDS / CONNECTION_SECONDS)):
            await await_client(stream, turn)
        with trio.testing.assert_checkpoints():
            await turn.wait()


def test_the_connections_of_one_address_share_a_turn_while_there_are_any() -> None:
    turns = Turns()
    turn = turns.of("192.0.2.1")
    assert turns.of("::ffff:192.0.2.1") is turn
    assert turns.of("192.0.2.2") is not turn
    network = turns.of("2001:db8:1:2:3:4:5:6")
    assert turns.of("2001:db8:1:2::1") is network
    assert turns.of("2001:db8:1:3::1") is not network
    assert turns.of("") is not turns.of("")
    gone = weakref.ref(turn)
    del turn
    gc.collect()
    assert gone() is None
