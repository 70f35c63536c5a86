"""What a scenario of a fault checks beside the violations of the run."""

from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from rookery.verify import Run
from tests.rookery.verify.test_result import result
from tools.faults.scenarios import partition, refused_nothing
from tools.faults.stage import SHORT, Report, Stage
from tools.launch.relay import running_relay


@pytest.mark.parametrize(
    ("refused", "unanswered", "is_kept"), [({}, 0, True), ({"unavailable": 1}, 0, False), ({}, 1, False)]
)
def test_no_send_may_be_refused_or_unanswered(refused: dict[str, int], unanswered: int, *, is_kept: bool) -> None:
    report = Report(result=replace(result(), refused=refused, unanswered=unanswered))
    refused_nothing(report)
    assert bool(report.broken) is not is_kept


async def test_a_network_that_nobody_uses_is_no_fault(autojump_clock: MockClock) -> None:
    async def until(*, accepted: int) -> None:
        await trio.lowlevel.checkpoint()

    run = cast(Run, SimpleNamespace(accepted_count=0, until=until))
    stage, report = Stage(SHORT, (), lambda: [], lambda: None), Report()
    with running_relay("127.0.0.1:1") as relay:
        await partition(stage, relay, run, report)
    assert report.broken == ["connections interrupted 0 (at least 1)"] * 2
