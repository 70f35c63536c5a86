"""Install engines and programs: the cache folder, and Debian and Maven packages."""

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
"""Environment variable: the folder of installed engines, instead of one in the user's cache folder."""

JAVA = 17
"""Oldest Java version on which both Kafka 4 and Cassandra 5 run."""


class Missing(Exception):
    """A program or package is not on this machine, and can't be installed; its text names it in one line."""


@contextmanager
def exit_if_missing() -> Iterator[None]:
    """Exit with EX_UNAVAILABLE, as `tools/run_tests.py` expects, if the block raises Missing; print its text."""
    try:
        yield
    except Missing as missing:
        print(missing, file=sys.stderr)
        sys.exit(os.EX_UNAVAILABLE)


def cache_folder() -> Path:
    """Folder of the installed engines, about 250 MB when all are installed."""
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get(CACHE_VARIABLE) or Path(user_cache) / "rookery-backends")


@contextmanager
def install_lock(name: str = "lock") -> Iterator[None]:
    """Hold the lock of installations, so that two test runs do not write to a folder or to Maven's cache at once.

    Name another lock for work of minutes that shares nothing with other installations: every test run takes this one.
    """
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def need_program(program: str, package: str) -> None:
    """Install a program's Debian package, unless the program is installed. Raises Missing."""
    if not shutil.which(program):
        install_package(package, f"{program} is not installed")


def install_package(package: str, problem: str) -> None:
    """Install a Debian package. Raises Missing with the problem, if this user may not or apt-get fails."""
    if shutil.which("apt-get") is None or os.geteuid() != 0:
        raise Missing(f"{problem} (on Debian: apt-get install {package})")
    install = ["apt-get", "install", "-q", "-y", "--no-install-recommends", package]
    for command in (["apt-get", "update", "-q"], install):
        run_quietly(command, f"{problem}, and apt-get can't install {package}")


def need_java() -> None:
    """Install Java, unless it is installed. Raises Missing if it is too old."""
    need_program("java", "default-jre-headless")
    printed = subprocess.run(["java", "-version"], capture_output=True, text=True).stderr
    version = re.search(r'version "(\d+)', printed)
    if version is None or int(version[1]) < JAVA:
        raise Missing(f"Java {JAVA} or newer is needed; `java -version` says {printed.partition(chr(10))[0]!r}")


def copy_jars(pom: Path, folder: Path) -> None:
    """Copy the jars that a pom.xml names, and their dependencies, into a folder. Raises Missing."""
    need_program("mvn", "maven")
    goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
    options = ["-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    run_quietly(["mvn", "-q", "-B", "-f", str(pom), goal, *options], f"Maven can't download the dependencies of {pom}")


def run_quietly(command: list[str], problem: str, *, folder: Path | None = None) -> None:
    """Run a command in a folder; print its output and raise Missing with the problem if it fails."""
    done = subprocess.run(
        command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr)
        raise Missing(problem)
