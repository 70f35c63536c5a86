"""The clock that runs on while the machine is suspended."""

import time

from shared.clock import elapsed
from tests.waiting import PATIENCE


def test_it_never_steps_and_runs_on_while_the_machine_is_suspended() -> None:
    before = elapsed()
    assert 0 <= elapsed() - before < PATIENCE
    assert abs(elapsed() - time.clock_gettime(time.CLOCK_BOOTTIME)) < PATIENCE
