"""Concurrent work keeps its order."""

import pytest
import trio

from rookery.load.sessions import for_each


async def test_results_have_the_items_order_and_the_first_failure_is_raised() -> None:
    async def double(number: int) -> int:
        await trio.lowlevel.checkpoint()
        if number == 7:
            raise ValueError("seven")
        return 2 * number

    assert await for_each(double, [1, 2, 3], at_once=2) == [2, 4, 6]
    with pytest.raises(ValueError, match="seven"):
        await for_each(double, [6, 7, 8], at_once=2)
