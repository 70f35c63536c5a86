"""What a test that hangs reports."""

import subprocess
import sys
import time

import pytest

from tests.hanging import ended_after
from tools.toolchains import ROOT

LIMIT = 0.5
"""Seconds: enough to enter a block on a busy machine."""

HANGING_RUN = f"""
import signal
import trio
from trio.testing import wait_all_tasks_blocked
from tests.hanging import ended_after

async def main():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.Event().wait, name="the one that waits")
        await wait_all_tasks_blocked()
        signal.setitimer(signal.ITIMER_REAL, {LIMIT})  # not before the task waits, however slow the start

with ended_after(60):
    trio.run(main)
"""


def test_a_hanging_test_fails_with_the_stack_of_its_thread() -> None:
    with pytest.raises(pytest.fail.Exception, match=r"not ended after 0.5 s(.|\n)*time.sleep"), ended_after(LIMIT):
        time.sleep(60)


def test_a_hanging_trio_run_ends_with_the_stacks_of_its_tasks() -> None:
    # In a process of its own, since Trio leaves its tasks unfinished.
    ended = subprocess.run([sys.executable, "-c", HANGING_RUN], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert ended.returncode == 1
    assert "task the one that waits\n" in ended.stderr
    assert "_sync.py" in ended.stderr.split("task the one that waits")[1].splitlines()[1]


def test_a_block_that_ends_in_time_is_left_alone() -> None:
    with ended_after(LIMIT):
        pass
    time.sleep(2 * LIMIT)
