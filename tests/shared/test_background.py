"""A background nursery ends with its block, and exceptions of the block are raised as they are."""

import pytest
import trio
import trio.testing

from shared.background import open_background


async def test_its_tasks_end_with_the_block_or_its_cancellation() -> None:
    ended: list[bool] = []

    async def serve() -> None:
        try:
            await trio.sleep_forever()
        finally:
            ended.append(True)

    for is_cancelled in (False, True):
        with trio.CancelScope() as scope:
            async with open_background() as nursery:
                nursery.start_soon(serve)
                await trio.testing.wait_all_tasks_blocked()
                if is_cancelled:
                    scope.cancel()
                    await trio.sleep_forever()
        assert scope.cancelled_caught == is_cancelled
    assert ended == [True, True]


async def test_an_exception_of_the_block_is_raised_as_it_is() -> None:
    async def fail_in_block() -> None:
        async with open_background() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await fail_in_block()


async def test_a_task_that_fails_ends_the_block() -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("the task's")

    with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="the task's")):
        async with open_background() as nursery:
            nursery.start_soon(fail)
            await trio.sleep_forever()
