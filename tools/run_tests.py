"""Runs every check and every test, as `make test` and CI do: sets up what they need, and says how each went.

    python -m tools.run_tests            everything
    python -m tools.run_tests --checks   without the tests

With CI=true a missing tool is a failure; without, it is passed over, with a line that says why.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
IN_CI = os.environ.get("CI") == "true"

BROWSER_PACKAGES = ["chromium", "fonts-noto-color-emoji", "fonts-noto-core"]
"""Of Debian: the browser that the tests drive, and fonts with the signs that people send."""


class Step(NamedTuple):
    """One thing to run. `needs` makes ready what it takes; its text says what is missing, if it can't.

    A command that has said what is missing itself ends with EX_UNAVAILABLE.
    """

    name: str
    command: list[str]
    needs: Callable[[], str] = lambda: ""
    folder: Path = ROOT


def python(*words: str) -> list[str]:
    return [sys.executable, *words]


def tool(name: str, *words: str) -> list[str]:
    return [str(BIN / name), *words]


def node_modules() -> str:
    """Node.js, and what package-lock.json names."""
    if shutil.which("npm") is None:
        return "Node.js with npm is not installed"
    lock, installed = ROOT / "package-lock.json", ROOT / "node_modules/.package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=ROOT, check=True)
    return ""


def browser() -> str:
    """Chromium, from Debian's packages where we may install them."""
    if shutil.which("chromium") is None and shutil.which("apt-get") and os.geteuid() == 0:
        install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", *BROWSER_PACKAGES]
        for command in (["apt-get", "update", "-q"], install):
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return "" if shutil.which("chromium") else "Chromium is not installed: apt-get install chromium"


CHECKS = [
    Step("format", tool("ruff", "format", "--check", "-q", ".")),
    Step("lint", tool("ruff", "check", "-q", ".")),
    Step("types, mypy", tool("mypy")),
    Step("types, pyright", tool("basedpyright", "--level", "error")),
    Step("walls", tool("lint-imports", "--no-logo")),
    Step("protos, lint", tool("buf", "lint"), folder=ROOT / "protos"),
    Step("protos, breaking", tool("buf", "breaking", "--against", "baseline.binpb"), folder=ROOT / "protos"),
    Step("protos, fresh", python("-m", "tools.protos.generate", "--check")),
    Step("types, page", ["npm", "run", "--silent", "check"], node_modules),
]

TESTS = [
    Step("tests, page", ["npm", "test", "--silent"], node_modules),
    Step("engines", python("-m", "tools.engines", "install")),
    Step("tests", python("-m", "pytest", "-q", "--durations=10"), browser),
]


def run(step: Step) -> str:
    """Run one step; what it came to: ok, failed, or why it was passed over."""
    missing = step.needs()
    if missing:
        return "failed: " + missing if IN_CI else "passed over: " + missing
    print(f"== {step.name}", flush=True)
    code = subprocess.run(step.command, cwd=step.folder).returncode
    if code == os.EX_UNAVAILABLE and not IN_CI:
        return "passed over: see above"
    return "ok" if code == 0 else "failed"


def main() -> int:
    results = {}
    for step in CHECKS if "--checks" in sys.argv else [*CHECKS, *TESTS]:
        started = time.monotonic()
        results[step.name] = f"{run(step)} ({time.monotonic() - started:.0f} s)"
    print("\n" + "\n".join(f"{name:18} {result}" for name, result in results.items()))
    return int(any(result.startswith("failed") for result in results.values()))


if __name__ == "__main__":
    sys.exit(main())
