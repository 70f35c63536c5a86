"""Every fault at short scale, on one running platform. `python -m tools.faults` runs them at full scale."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
import trio

from tests.needed import needed
from tools.faults.scenarios import SCENARIOS, Scenario
from tools.faults.stage import SHORT, ClusterStage, Stage, UpStage, running_stage, running_up

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClusterStage]:
    with ExitStack() as stack:
        yield needed(stack.enter_context, running_stage(tmp_path_factory.mktemp("faults"), SHORT))


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpStage]:
    with running_up(tmp_path_factory.mktemp("faults"), SHORT) as stage:
        yield stage


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_nothing_is_lost_and_what_is_promised_holds(scenario: Scenario, request: pytest.FixtureRequest) -> None:
    stage: Stage = request.getfixturevalue(scenario.where)
    report = trio.run(stage.run, scenario.inject)
    print(*report.measured, f"refused: {report.result and report.result.refused}", sep="\n")  # pytest cuts a report
    assert report.broken == [], report
    assert report.result is not None
    assert report.result.accepted == report.result.sent > 0
