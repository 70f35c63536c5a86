"""The test runner reports what a person needs to act, and never skips under CI."""

import os
import signal
import sys
from pathlib import Path

import pytest

from tools import run_tests
from tools.engines.install import Missing
from tools.run_tests import Commands, Step, failed_steps, failed_tests, run, summary

REPORT = """<testsuites><testsuite>
<testcase file="tests/test_a.py" name="test_good" />
<testcase file="tests/test_a.py" name="test_bad[x y]"><failure message="AssertionError: 1 != 2&#10;more">trace</failure>
</testcase></testsuite></testsuites>"""


def exiting(code: int) -> Step:
    return Step("step", [sys.executable, "-c", f"print('its output'); raise SystemExit({code})"])


def missing() -> None:
    raise Missing("no such program")


def test_each_failed_test_has_its_first_lines_and_the_command_to_run_it_again(tmp_path: Path) -> None:
    (tmp_path / "tests.xml").write_text(REPORT)
    (tmp_path / "alone.xml").write_text(REPORT.replace("test_a.py", "test_b.py"))
    text = failed_tests(tmp_path)
    assert "test_good" not in text
    assert "FAILED tests/test_a.py::test_bad[x y]\n    AssertionError: 1 != 2\n    more\n" in text
    assert "bin/python -m pytest 'tests/test_a.py::test_bad[x y]'" in text
    assert "FAILED tests/test_b.py::test_bad[x y]" in text


def test_a_failed_step_prints_its_output_and_the_command_to_run_it_again(capfd: pytest.CaptureFixture[str]) -> None:
    outcome = run(exiting(1))
    assert outcome.result == "failed"
    assert "its output" in capfd.readouterr().out
    assert f"{sys.executable} -c" in failed_steps([outcome])
    assert "step               failed" in summary([outcome], 1)


@pytest.mark.parametrize(("in_ci", "result"), [(False, "skipped"), (True, "failed")])
def test_a_missing_program_is_a_failure_under_ci_alone(
    monkeypatch: pytest.MonkeyPatch, in_ci: bool, result: str
) -> None:
    monkeypatch.setattr(run_tests, "IN_CI", in_ci)
    unprepared = run(Step("step", ["true"], missing))
    assert (unprepared.result, unprepared.reason) == (result, "no such program")
    assert run(exiting(os.EX_UNAVAILABLE)).result == result


@pytest.mark.parametrize(
    ("words", "browser", "steps"),
    [(["--all"], run_tests.CHROMIUM, ["tests, Python", "tests, faults"]), ([], None, ["tests, Python"])],
)
def test_the_slow_tier_drives_the_whole_browser_and_runs_the_faults_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: list[str], browser: str | None, steps: list[str]
) -> None:
    ran: list[tuple[Step, dict[str, str]]] = []
    monkeypatch.setattr(run_tests, "install_engines", missing)
    monkeypatch.setattr(run_tests, "run", lambda step, environment: ran.append((step, environment)))
    run_tests.run_tests(run_tests.parse(words), tmp_path)
    assert [step.name for step, _ in ran] == steps
    assert {environment.get("CHROMIUM") for _, environment in ran} == {browser}
    assert all(run_tests.ALONE in " ".join(step.command) for step, _ in ran if len(steps) > 1)


def test_output_of_a_step_that_succeeds_is_not_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert run(exiting(0)).result == "ok"
    assert "its output" not in capfd.readouterr().out


INTERRUPTS_RUNNER = """
import os, pathlib, signal, sys
signal.alarm(60)  # only ends a test that has failed
try:
    os.kill(os.getppid(), int(sys.argv[1]))
    signal.pause()
except KeyboardInterrupt:
    pathlib.Path(sys.argv[2]).touch()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_runner_interrupts_its_command_and_starts_no_more(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: signal.Signals
) -> None:
    monkeypatch.setattr(run_tests, "COMMANDS", Commands())
    interrupted, later = tmp_path / "interrupted", tmp_path / "later"
    command = [sys.executable, "-c", INTERRUPTS_RUNNER, str(int(number)), str(interrupted)]
    with run_tests.COMMANDS.interrupted_by_signals():
        outcomes = run_tests.run_checks([Step("step", command), Step("later", ["touch", str(later)])])
    assert [(outcome.result, outcome.reason) for outcome in outcomes] == [
        ("failed", f"interrupted by {number.name}")
    ] * 2
    assert interrupted.exists()
    assert not later.exists()
