"""Run the checks and the tests, as `make test`, `make test-all` and CI do, and print how each step ended.

    python -m tools.run_tests             checks and fast tests: `make test`
    python -m tools.run_tests --all       every test and every long run: `make test-all`
    python -m tools.run_tests --checks    checks alone: `make check`

`--workers N` sets the number of pytest processes (default: three for two cores in `make test`, else one per core).

SIGINT or SIGTERM interrupts the commands of all steps and starts no more; a second ends the runner at once.

With CI=true a missing engine, browser or toolchain is a failure; otherwise its step or test is skipped.
"""

import argparse
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

from tools.engines.engine import ENGINES_VARIABLE, start_all
from tools.engines.install import Missing
from tools.engines.kinds import KINDS, Engines

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
IN_CI = os.environ.get("CI") == "true"

CHROMIUM = "/usr/bin/chromium"
"""The whole browser, for `make test-all`. The tests of `make test` drive its headless shell, if that is installed."""

BROWSER_PACKAGES = ["chromium", "chromium-headless-shell", "fonts-noto-color-emoji", "fonts-noto-core"]
"""Debian packages: the browsers that the tests drive, and fonts for the characters that the tests send."""

FIREFOX = "firefox-esr"
"""Debian's package of the browser that `make test-all` drives too, and its command."""

FAILURE_LINES = 6
"""Lines printed of each failing test in the summary; the whole report is further up."""

FAILURES = 20
"""Failing tests printed in the summary."""

JAVA_OPTIONS = {"JDK_JAVA_OPTIONS": "-XX:TieredStopAtLevel=1"}
"""Options of engines that run for minutes, as in `make test`: the second compiler of the JVM takes more CPU than it
saves."""

INTERRUPT_SECONDS = 30.0
"""Seconds from SIGINT to SIGKILL: time for pytest to stop the processes of its fixtures."""

Result = Literal["ok", "failed", "skipped"]


@dataclass(frozen=True, slots=True)
class Step:
    """A command to run. `prepare` installs its programs, and raises Missing if that is not possible.

    A command that has printed a missing program itself exits with EX_UNAVAILABLE.
    """

    name: str
    command: list[str]
    prepare: Callable[[], None] = lambda: None
    folder: Path = ROOT
    is_live: bool = False
    """Whether its output is printed while it runs; otherwise only if it has failed."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a step, its seconds, and the reason why it was skipped or failed to start."""

    step: Step
    result: Result
    seconds: float
    reason: str = ""


def python(*words: str) -> list[str]:
    return [sys.executable, *words]


def tool(name: str, *words: str) -> list[str]:
    return [str(BIN / name), *words]


# ---- preparation of steps

_NPM = threading.Lock()
"""Held while packages are installed: the lanes share their folder."""


def install_node_modules() -> None:
    """Install the packages of package-lock.json. Raises Missing without Node.js."""
    if shutil.which("npm") is None:
        raise Missing("Node.js with npm is not installed")
    lock, installed = ROOT / "package-lock.json", ROOT / "node_modules/.package-lock.json"
    with _NPM:
        if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
            subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=ROOT, check=True)


def install_browsers(*, with_firefox: bool) -> None:
    """Install the browsers, from Debian's packages where this user may install them. Raises Missing without Chromium.

    Its headless shell only saves time: where it cannot be installed, the tests drive the whole browser.
    """
    has_browser = shutil.which("chromium") is not None
    further = ["chromium-headless-shell", *([FIREFOX] if with_firefox else [])]
    is_complete = has_browser and all(shutil.which(each) for each in further)
    if not is_complete and shutil.which("apt-get") and os.geteuid() == 0:
        hurry = ["-o", "Acquire::Retries=0", "-o", "Acquire::http::Timeout=10"] if has_browser else []
        apt = ["apt-get", "-q", *hurry]
        install = [*apt, "install", "-y", "--no-install-recommends", *BROWSER_PACKAGES, *further[1:]]
        for command in ([*apt, "update"], install):
            subprocess.run(command, check=not has_browser, stdout=subprocess.DEVNULL)
    if shutil.which("chromium") is None:
        raise Missing("Chromium is not installed: apt-get install chromium")


def install_for_pages(*, with_firefox: bool) -> None:
    """Install the requirements of the page's tests: the browsers, axe and esbuild. Outside of CI print the missing
    requirement: only the tests that need it skip themselves. Under CI raises Missing or CalledProcessError."""
    for install in (partial(install_browsers, with_firefox=with_firefox), install_node_modules):
        try:
            install()
        except (Missing, subprocess.CalledProcessError) as missing:
            if IN_CI:
                raise
            print(f"== tests of the page are skipped: {missing}", flush=True)


def install_engines() -> None:
    for kind in KINDS.values():
        kind.install()


@contextmanager
def shared_engines() -> Iterator[dict[str, str]]:
    """Start one engine of each kind for all pytest processes; yield the environment by which they are found."""
    with tempfile.TemporaryDirectory(prefix="rookery-engines-") as folder, ExitStack() as stack:
        engines = Engines.in_folder(Path(folder), {})
        for engine in engines:
            stack.callback(engine.kill)
        start_all(engines)
        yield {ENGINES_VARIABLE: folder}


# ---- the steps

CHECKS = [
    Step("types, mypy", tool("mypy")),
    Step("types, pyright", tool("basedpyright", "--level", "error")),
    Step("format", tool("ruff", "format", "--check", "-q", ".")),
    Step("lint", tool("ruff", "check", "-q", ".")),
    Step("imports", tool("lint-imports", "--no-logo")),
    Step("protos, lint", tool("buf", "lint"), folder=ROOT / "protos"),
    Step("protos, breaking", tool("buf", "breaking", "--against", "baseline.binpb"), folder=ROOT / "protos"),
    Step("protos, generated", python("-m", "tools.protos.generate", "--check")),
    Step("types, page", ["npm", "run", "--silent", "check"], install_node_modules),
    Step("tests, page", ["npm", "test", "--silent"], install_node_modules),
]

ALONE = "tests/faults"
"""Slow tests that have the machine for themselves: they judge the seconds of an outage."""

LONG_RUNS = [
    Step("faults", python("-m", "tools.faults"), is_live=True),
    Step("containers", python("-m", "tools.operations.compose"), is_live=True),
    Step("kubernetes", python("-m", "tools.operations.node"), is_live=True),
]


def pytest_steps(options: argparse.Namespace, reports: Path) -> Iterator[Step]:
    """The Python tests of the tier, each file in one process: its fixtures start once. Then the tests of ALONE."""
    words = ["-q", "-n", str(options.workers), "--dist", "loadfile", "--no-loadscope-reorder", "--durations=15"]
    words += ["--hypothesis-profile=deep", f"--ignore={ALONE}"] if options.all else ["-m", "not slow"]
    prepare = partial(install_for_pages, with_firefox=options.all)
    yield Step("tests, Python", pytest_command(*words, report=reports / "tests.xml"), prepare, is_live=True)
    if options.all:
        yield Step("tests, faults", pytest_command("-q", ALONE, report=reports / "alone.xml"), is_live=True)


def pytest_command(*words: str, report: Path) -> list[str]:
    """The command that writes a report with the files of the tests."""
    return python("-m", "pytest", *words, "-o", "junit_family=xunit1", f"--junitxml={report}")


# ---- running them


class Interrupted(Exception):
    """The runner ends, and starts no command. Report its steps as failed."""


class Commands:
    """The commands of all lanes that run. Each leads a process group, so that Ctrl-C reaches it once, from here."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[str]] = set()
        self._signal: signal.Signals | None = None

    def run(self, command: Sequence[str], **options: Any) -> tuple[int, str | None]:
        """Return the exit status and the piped output. Raises Interrupted."""
        self._check()
        with subprocess.Popen(command, text=True, stdin=subprocess.DEVNULL, process_group=0, **options) as child:
            # Added before the check: a signal before it is seen by the check, a later one finds the child.
            self._running.add(child)
            if self._signal:
                self._send(signal.SIGINT)
            output, _ = child.communicate()
        self._running.discard(child)
        self._check()
        return child.returncode, output

    @contextmanager
    def interrupted_by_signals(self) -> Iterator[None]:
        """Interrupt them at SIGINT and SIGTERM; kill those that run INTERRUPT_SECONDS later. For the main thread."""
        old = {number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in old.items():
                signal.signal(number, handler)

    def _interrupt(self, number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_DFL)
        self._signal = signal.Signals(number)
        self._send(signal.SIGINT)
        timer = threading.Timer(INTERRUPT_SECONDS, self._send, [signal.SIGKILL])
        timer.daemon = True
        timer.start()

    def _send(self, number: signal.Signals) -> None:
        for child in self._running.copy():
            if child.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(child.pid, number)

    def _check(self) -> None:
        if self._signal:
            raise Interrupted(f"interrupted by {self._signal.name}")


COMMANDS = Commands()


def run(step: Step, environment: dict[str, str] | None = None) -> Outcome:
    """Run a step to its end; print its output if it failed."""
    started = time.monotonic()
    print(f"== {step.name}", flush=True)
    try:
        step.prepare()
    except (Missing, subprocess.CalledProcessError) as missing:
        return Outcome(step, "failed" if IN_CI else "skipped", time.monotonic() - started, str(missing))
    try:
        status, output = COMMANDS.run(
            step.command,
            cwd=step.folder,
            env=os.environ | (environment or {}),
            stdout=None if step.is_live else subprocess.PIPE,
            stderr=None if step.is_live else subprocess.STDOUT,
        )
    except Interrupted as interrupted:
        return Outcome(step, "failed", time.monotonic() - started, str(interrupted))
    is_missing = status == os.EX_UNAVAILABLE and not IN_CI
    if status and output:
        print(f"== {step.name} failed:\n{output}", flush=True)
    result: Result = "ok" if status == 0 else "skipped" if is_missing else "failed"
    return Outcome(step, result, time.monotonic() - started, "see its output" if is_missing else "")


def run_checks(checks: Sequence[Step]) -> list[Outcome]:
    """Run them at a low priority: they take the time in which tests wait, and slow no test down."""
    return [replace(run(replace(check, command=["nice", *check.command])), step=check) for check in checks]


def run_tests(options: argparse.Namespace, reports: Path) -> list[Outcome]:
    """Install and start the engines, then run pytest on them. Without an engine, pytest skips or fails its tests."""
    started = time.monotonic()
    engines = Step("engines", [])
    with ExitStack() as stack:
        # Tests start some hundred processes: without cached bytecode, each compiles Rookery again.
        environment = {"PYTHONDONTWRITEBYTECODE": "", **({"CHROMIUM": CHROMIUM} if options.all else {})}
        print("== engines", flush=True)
        try:
            install_engines()
            environment |= stack.enter_context(shared_engines())
            outcome = Outcome(engines, "ok", time.monotonic() - started)
        except Missing as missing:
            result: Result = "failed" if IN_CI else "skipped"
            outcome = Outcome(engines, result, time.monotonic() - started, str(missing))
        return [outcome, *(run(step, environment) for step in pytest_steps(options, reports))]


def summary(outcomes: Sequence[Outcome], seconds: float) -> str:
    lines = [f"{each.step.name:18} {each.result:8} {each.seconds:5.0f} s  {each.reason}" for each in outcomes]
    return "\n".join(["", *(line.rstrip() for line in lines), f"{'all':18} {'':8} {seconds:5.0f} s"])


def failed_steps(outcomes: Sequence[Outcome]) -> str:
    """The command that runs each failed step again, except pytest's: see `failed_tests`."""
    failed = [each.step for each in outcomes if each.result == "failed" and each.step.command]
    rerun = [f"cd {each.folder} && {shlex.join(each.command)}" for each in failed if "pytest" not in each.command]
    return "\n".join(f"\nagain: {command}" for command in rerun)


def failed_tests(reports: Path) -> str:
    """The first lines of each failure in the folder's reports of pytest, and the command that runs it again."""
    cases = [case for report in sorted(reports.iterdir()) for case in ElementTree.parse(report).iter("testcase")]
    found = [(case, problem) for case in cases for problem in case if problem.tag in ("failure", "error")]
    texts = [failed_test(case, problem) for case, problem in found[:FAILURES]]
    if len(found) > FAILURES:
        texts.append(f"\n... and {len(found) - FAILURES} more")
    return "\n".join(texts)


def failed_test(case: ElementTree.Element, problem: ElementTree.Element) -> str:
    file, name = case.get("file", ""), case.get("name", "")
    cause = problem.get("message") or problem.text or ""
    lines = "\n".join(f"    {line}" for line in cause.splitlines()[:FAILURE_LINES])
    again = shlex.join(["python", "-m", "pytest", f"{file}::{name}"])
    return f"\nFAILED {file}::{name}\n{lines}\n    again: {BIN.parent.name}/bin/{again}"


def parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tier = parser.add_mutually_exclusive_group()
    tier.add_argument("--all", action="store_true")
    tier.add_argument("--checks", action="store_true")
    parser.add_argument("--workers", type=int)
    options = parser.parse_args(words)
    if options.workers is None:
        # Fast tests wait for a third of their time; slow ones load the machine themselves.
        cores = len(os.sched_getaffinity(0))
        options.workers = cores if options.all else cores + cores // 2
    return options


def main(words: Sequence[str]) -> int:
    options = parse(words)
    if not options.all:
        os.environ |= JAVA_OPTIONS
    started = time.monotonic()
    with COMMANDS.interrupted_by_signals(), tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as lanes:
        reports = Path(folder)
        # Two lanes: the checks wait for one process at a time, the tests also for clocks, disks and browsers.
        halves = [CHECKS[:1], CHECKS[1:]] if options.checks else [CHECKS]
        running = [lanes.submit(run_checks, half) for half in halves]
        outcomes = [] if options.checks else run_tests(options, reports)
        outcomes = [outcome for lane in running for outcome in lane.result()] + outcomes
        if options.all:
            outcomes += [run(step) for step in LONG_RUNS]
        table = summary(outcomes, time.monotonic() - started)
        print(failed_tests(reports), failed_steps(outcomes), table, sep="\n")
    return int(any(each.result == "failed" for each in outcomes))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
