"""The result as text and as JSON, and the exit status of the command."""

import itertools
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import trio
from click.testing import CliRunner

import rookery.verify.run
from rookery.commands.cli import main
from rookery.load.measure import summarize
from rookery.verify import Kind, Plan, Result, Violation
from rookery.verify.plan import check_plan
from rookery.verify.result import show
from tools.launch.people import PASSWORD


def result(*violations: Violation) -> Result:
    nothing = summarize([])
    plan = Plan(churn=2, absences=3, late_retries=9, password=PASSWORD, ca_file=Path("ca.crt"))
    return Result(
        plan=plan, seconds=1.0, sent=2, accepted=2, delivered=1, caught_up=1,
        archived=2, refused={"unavailable: Not now.": 3}, not_followed={"not_found": 2}, unanswered=0, retried=1,
        changed=1, changes_retried=0, gaps=1,
        reconnects=0, to_accepted=nothing, to_delivered=nothing, outages=nothing, longest_pause_ms=0.0, in_groups=1,
        controls=7, not_members=0, files=6, files_read=12, files_tried=7, listed=4, feeds=5, heads=8, churned=2,
        churn_failed=0, violations=violations,
    )  # fmt: skip


LOSS = Violation(Kind.LOST, "m0 of 1 was accepted, and is not in the history")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the command create its file with the password in a folder of its own."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Result]]:
    """The results of the next runs of the command."""
    queued: list[Result] = []

    async def verify(plan: Plan, report: object) -> Result:
        await trio.lowlevel.checkpoint()
        check_plan(plan)
        return queued.pop(0)

    monkeypatch.setattr(rookery.verify.run, "verify", verify)
    yield queued
    assert not queued


def test_the_command_exits_1_on_a_violation_and_names_it(results: list[Result]) -> None:
    results += [result(LOSS), result(LOSS)]
    ended = CliRunner().invoke(main, ["verify"])
    assert ended.exit_code == 1
    assert "absences       3, which count as gaps" in ended.output
    assert "in feeds       5 lists" in ended.output
    assert "not followed   2 not_found\n" in ended.output
    assert "refused        3 unavailable: Not now.; unanswered 0" in ended.output
    assert "files          6 in messages; 12 read and compared, 7 tried by users who may not" in ended.output
    assert "late retries   up to 9, 330 s after" in ended.output
    assert "violations     1: 1 lost\n  lost: m0 of 1 was accepted" in ended.output
    as_json = CliRunner().invoke(main, ["verify", "--json"])
    assert as_json.exit_code == 1
    assert json.loads(as_json.output)["violations"] == [{"kind": "lost", "text": LOSS.text}]
    assert json.loads(as_json.output)["to_accepted"]["p99"] is None
    assert json.loads(as_json.output)["plan"]["ca_file"] == "ca.crt"
    assert PASSWORD not in as_json.output + ended.output


def test_the_command_exits_0_without_one(results: list[Result]) -> None:
    results.append(result())
    ended = CliRunner().invoke(main, ["verify", "--clients", "10"])
    assert ended.exit_code == 0
    assert "violations     0" in ended.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--clients", "3"], "even"),
        (["--clients", "many"], "integer"),
        (["--nonsense"], "option"),
        (["--url", "nonsense"], "not the URL"),
        (["--url", "http://127.0.0.1:1", "--clients", "2"], "no answer from http://127.0.0.1:1"),
    ],
)
def test_the_command_exits_2_if_it_can_not_run(arguments: Sequence[str], reason: str) -> None:
    ended = CliRunner().invoke(main, ["verify", *arguments])
    assert ended.exit_code == 2
    assert "Error: " in ended.output
    assert reason in ended.output


def test_only_some_of_many_violations_are_shown() -> None:
    shown = show(result(*itertools.repeat(LOSS, 100)), as_json=False)
    assert shown.count(LOSS.text) == 20
    assert "and 80 more" in shown
