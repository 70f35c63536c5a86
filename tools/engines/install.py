"""Where the engines of the tests are kept, and how what they need gets on this machine."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CACHE_VARIABLE = "BACKENDS_CACHE"
"""Of the environment: names the folder of the installed engines, in place of the user's cache folder."""

JAVA = 17
"""The oldest Java that Kafka 4 and Cassandra 5 both run on."""


class Missing(Exception):
    """Something that an engine needs is not on this machine, and can't be put there: says what, in one line."""


@contextmanager
def ending_if_missing() -> Iterator[None]:
    """End the command if something is missing: says what, with the exit status that `tools/run_tests.py` knows."""
    try:
        yield
    except Missing as missing:
        print(missing, file=sys.stderr)
        sys.exit(os.EX_UNAVAILABLE)


def cache_folder() -> Path:
    """The folder of the installed engines, about 250 MB when they are all there."""
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(CACHE_VARIABLE) or Path(user_cache) / "rookery-backends")


@contextmanager
def install_lock() -> Iterator[None]:
    """Held by whoever installs, so that two test runs neither disturb each other nor Maven's own cache."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def need_program(program: str, package: str) -> None:
    """See to it that a program is there: by Debian's package of it, where we may install one. Raises Missing."""
    if not shutil.which(program):
        install_package(package, f"{program} is not installed")


def install_package(package: str, trouble: str) -> None:
    """Install a package of Debian's, since its lack is the trouble. Raises Missing where we may not, or can't."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Missing(f"{trouble} (on Debian: apt-get install {package})")
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", package]
    for command in (["apt-get", "update", "-q"], install):
        run_quietly(command, f"{trouble}, and apt-get can't install {package}")


def need_java() -> None:
    """A Java that is new enough. Raises Missing."""
    need_program("java", "default-jre-headless")
    said = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', said)
    if version is None or int(version[1]) < JAVA:
        raise Missing(f"Java {JAVA} or newer is needed; `java -version` says {said.partition(chr(10))[0]!r}")


def copy_jars(pom: Path, folder: Path) -> None:
    """Put the jars that a pom.xml names, and all that they need, into a folder. Raises Missing."""
    need_program("mvn", "maven")
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    options = ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    run_quietly(["mvn", "-q", "-B", "-f", str(pom), goal, *options], f"Maven can't fetch what {pom} names")


def run_quietly(command: list[str], trouble: str, *, folder: Path | None = None) -> None:
    """Run a command whose output matters only if it fails, in a folder. Raises Missing, which says the trouble."""
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        raise Missing(trouble)
