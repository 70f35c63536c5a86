"""The test runner reports what a person needs to act, and never skips under CI."""

import os
import shutil
import signal
import subprocess
import sys
import threading
from functools import partial
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


def test_without_a_browser_or_nodejs_the_other_tests_run_except_under_ci(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_tests, "IN_CI", False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    step = Step("tests", ["true"], partial(run_tests.install_for_pages, with_firefox=False))
    assert run(step).result == "ok"
    printed = capsys.readouterr().out
    assert "tests of the page are skipped: Chromium is not installed" in printed
    assert "tests of the page are skipped: Node.js with npm is not installed" in printed
    monkeypatch.setattr(run_tests, "IN_CI", True)
    assert (run(step).result, run(step).reason) == ("failed", "Chromium is not installed: apt-get install chromium")


def test_two_lanes_install_the_packages_once_and_not_at_the_same_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installs = 0

    def install(command: list[str], **options: object) -> None:
        nonlocal installs
        installs += 1
        second.start()
        second.join(0.1)  # it waits for the first
        (tmp_path / "node_modules/.package-lock.json").touch()

    (tmp_path / "node_modules").mkdir()
    (tmp_path / "package-lock.json").touch()
    monkeypatch.setattr(run_tests, "ROOT", tmp_path)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", install)
    second = threading.Thread(target=run_tests.install_node_modules)
    run_tests.install_node_modules()
    second.join()
    assert installs == 1


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
