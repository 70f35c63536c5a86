"""What a background nursery promises."""

import pytest
import trio
import trio.testing

from shared.background import open_background


async def test_its_tasks_end_with_the_block() -> None:
    ended = False

    async def serve() -> None:
        nonlocal ended
        try:
            await trio.sleep_forever()
        finally:
            ended = True

    async with open_background() as nursery:
        nursery.start_soon(serve)
        await trio.testing.wait_all_tasks_blocked()
    assert ended


async def test_what_the_block_raises_comes_out_as_it_is() -> None:
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


async def test_cancellation_passes_through() -> None:
    with trio.move_on_after(0) as scope:
        async with open_background():
            await trio.sleep_forever()
    assert scope.cancelled_caught
