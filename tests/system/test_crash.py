"""`kill -9` in the middle of a burst: no accepted message is lost, duplicated or reordered."""

import pytest
import trio

from rookery.verify import Plan, open_verification
from tools.launch.process import Rookery

MESSAGES = 200

CLIENTS = 8
"""One half on WebSocket, the other on gRPC."""


@pytest.mark.parametrize(
    "moments",
    [(75,), *(pytest.param(moments, marks=pytest.mark.slow) for moments in [(1,), (25, 125), (190,)])],
)
async def test_messages_accepted_before_a_kill_are_kept_once_and_in_order(
    own_rookery: Rookery, moments: tuple[int, ...]
) -> None:
    """`moments` are numbers of accepted messages."""
    plan = Plan(urls=(own_rookery.url,), clients=CLIENTS, messages=MESSAGES, files=0)
    async with open_verification(plan) as run:
        for moment in moments:
            await run.until(accepted=moment)
            await trio.to_thread.run_sync(own_rookery.kill)
            await trio.to_thread.run_sync(own_rookery.start)
        result = await run.finish()
    assert result.violations == ()
    assert result.accepted == result.sent == MESSAGES - result.not_members
