"""What a scenario of a fault checks beside the violations of the run."""

from dataclasses import replace

import pytest

from tests.rookery.verify.test_result import result
from tools.faults.scenarios import refused_nothing
from tools.faults.stage import Report


@pytest.mark.parametrize(
    ("refused", "unanswered", "is_kept"), [({}, 0, True), ({"unavailable": 1}, 0, False), ({}, 1, False)]
)
def test_no_send_may_be_refused_or_unanswered(refused: dict[str, int], unanswered: int, *, is_kept: bool) -> None:
    report = Report(result=replace(result(), refused=refused, unanswered=unanswered))
    refused_nothing(report)
    assert bool(report.broken) is not is_kept
