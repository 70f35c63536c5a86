"""Puts purerpc into the wheel, as `rookery/_vendor/purerpc/`, so that plain pip can install Rookery; bundles the page.

purerpc requires `h2<4`, hypercorn and we require newer ones: no resolver accepts both (docs/decisions/0001). So a wheel
contains the modules and the licence of purerpc, its imports name that copy, and its metadata does not require purerpc.
In a checkout nothing is copied: `make run` installs purerpc itself, without its dependencies.

The page is bundled if esbuild is installed, as `make wheel` and deploy/Dockerfile ensure. Otherwise, as with `pip
install git+https://...`, the wheel has its modules, which a browser on a slow line loads in twice the time.
"""

import re
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

from setuptools.command.build_py import build_py

VENDOR = "rookery._vendor"
"""The package that holds the copy."""

ROOT = Path(__file__).resolve().parents[2]

ESBUILD = ROOT / "node_modules/.bin/esbuild"

LEFT_OUT = re.compile(r"purerpc/(test_utils\.py|protoc_plugin/)")
"""Modules for purerpc's own tests, and for generating code: they need packages that a platform has no use for."""


class BuildPy(build_py):
    """The step of setuptools that gathers the modules of a wheel."""

    def run(self) -> None:
        if self.editable_mode:
            super().run()
            return
        shutil.rmtree(self.build_lib, ignore_errors=True)  # modules of an earlier build would end up in this wheel
        super().run()
        root = Path(self.build_lib)
        vendor(root)
        if ESBUILD.exists():
            page = (root / "bff/web").absolute()
            shutil.rmtree(page)
            subprocess.run([sys.executable, "-m", "tools.page.bundle", page], cwd=ROOT, check=True)
        else:
            self.warn(f"the page is not bundled, as there is no {ESBUILD}")


def vendor(root: Path) -> None:
    """Copy purerpc below `root`, which holds our packages, and make all imports there name the copy."""
    target = root.joinpath(*VENDOR.split("."))
    for file in distribution("purerpc").files or []:
        path = str(file)
        if path.startswith("purerpc/") and file.suffix == ".py" and not LEFT_OUT.match(path):
            _copy(Path(str(file.locate())), target / path)
        elif file.name == "LICENSE":
            _copy(Path(str(file.locate())), target / "purerpc" / file.name)
    (target / "__init__.py").touch()
    for module in (*root.rglob("*.py"), *root.rglob("*.pyi")):
        source = module.read_text()
        if (renamed := name_the_copy(source)) != source:
            module.write_text(renamed)


def name_the_copy(source: str) -> str:
    """The source of a module, in which imports of purerpc name the copy."""
    source = re.sub(r"^import purerpc\b", f"from {VENDOR} import purerpc", source, flags=re.MULTILINE)
    return re.sub(r"^from purerpc\b", f"from {VENDOR}.purerpc", source, flags=re.MULTILINE)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
