"""The wheel: plain pip installs it beside any package that needs a new h2, and the platform runs from it."""

import re
import subprocess
import venv
from collections.abc import Iterator
from email.parser import Parser
from importlib.metadata import distribution
from pathlib import Path
from zipfile import ZipFile

import pytest
from setuptools import Distribution

from tools.launch.process import Rookery, running
from tools.page.bundle import WEB
from tools.wheel.vendoring import BuildPy, name_the_copy

ROOT = Path(__file__).resolve().parents[3]
VENDORED = "rookery/_vendor/purerpc/"

CHAT = """
import sys
import trio
from rookery.client import Message, open_client

async def next_text(client):
    async for event in client.events():
        if isinstance(event, Message):
            return event.text.body

async def main(url):
    password = "correct horse battery"
    async with (
        open_client(url, "ada", password, register=True) as ada,
        open_client(url, "grace", password, register=True, transport="websocket") as grace,
    ):
        with trio.fail_after(60):
            await ada.send(grace.me.user_id, "Hello")
            print(await next_text(grace))
            await grace.send(ada.me.user_id, "Good morning")
            print(await next_text(ada))

trio.run(main, sys.argv[1])
"""


@pytest.fixture
def opened(wheel: Path) -> Iterator[ZipFile]:
    with ZipFile(wheel) as opened:
        yield opened


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# ---- contents


def test_the_wheel_requires_what_purerpc_requires_but_neither_it_nor_an_old_h2(opened: ZipFile) -> None:
    (name,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
    requirements = Parser().parsestr(opened.read(name).decode()).get_all("Requires-Dist") or []
    names = {re.split(r"[^\w-]", each)[0] for each in requirements}
    of_purerpc = [each for each in distribution("purerpc").requires or [] if "extra ==" not in each]
    assert "h2>=4.3" in requirements
    assert {re.split(r"[^\w-]", each)[0] for each in of_purerpc} <= names - {"purerpc"}
    assert "purerpc" not in names


def test_the_wheel_has_the_modules_of_purerpc_and_its_licence(opened: ZipFile) -> None:
    names = set(opened.namelist())
    assert {VENDORED + name for name in ("__init__.py", "client.py", "grpclib/connection.py", "LICENSE")} <= names
    assert not [name for name in names if name.startswith((VENDORED + "test_utils", VENDORED + "protoc_plugin"))]
    licence = next(file for file in distribution("purerpc").files or [] if file.name == "LICENSE")
    assert opened.read(VENDORED + "LICENSE") == licence.read_binary()


def test_every_import_of_purerpc_in_the_wheel_names_the_copy(opened: ZipFile) -> None:
    modules = [name for name in opened.namelist() if name.endswith((".py", ".pyi"))]
    importing = {
        name: re.findall(r"^\s*(?:from|import) purerpc\b.*", opened.read(name).decode(), re.M) for name in modules
    }
    assert {name: lines for name, lines in importing.items() if lines} == {}
    assert "from rookery._vendor import purerpc" in opened.read("rookery/purerpc_compat.py").decode()


def test_the_wheel_has_every_module_of_ours_the_page_and_nothing_else(opened: ZipFile) -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    ).stdout.split()
    ours = {
        name
        for name in tracked
        if re.match(r"(bff|messaging|rookery|shared)/.*\.pyi?$", name) and (ROOT / name).exists()
    }
    packed = {name for name in opened.namelist() if not name.startswith("rookery/_vendor/")}
    assert ours <= packed
    assert {"rookery/py.typed", "shared/py.typed"} <= packed
    assert {name.partition("/")[0].partition("-")[0] for name in packed} == {"bff", "messaging", "rookery", "shared"}


def test_the_page_in_the_wheel_is_the_bundle_and_nothing_else(opened: ZipFile, bundled: Path) -> None:
    packed = {name: opened.read(name) for name in opened.namelist() if name.startswith("bff/web/")}
    assert packed == {f"bff/web/{path.relative_to(bundled)}": path.read_bytes() for path in files_in(bundled)}


def test_without_esbuild_a_wheel_has_the_modules_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tools.wheel.vendoring.ESBUILD", tmp_path / "none")
    monkeypatch.chdir(ROOT)
    build = BuildPy(Distribution({"script_name": "", "packages": ["bff"], "package_data": {"bff": ["web/**"]}}))
    build.build_lib = str(tmp_path / "lib")
    build.ensure_finalized()
    build.run()
    page = tmp_path / "lib/bff/web"
    assert {path.relative_to(page) for path in files_in(page)} == {path.relative_to(WEB) for path in files_in(WEB)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import purerpc  # noqa: E402\n", "from rookery._vendor import purerpc  # noqa: E402\n"),
        ("from purerpc.rpc import Stream\n", "from rookery._vendor.purerpc.rpc import Stream\n"),
        ("from rookery.purerpc_compat import purerpc\n", "from rookery.purerpc_compat import purerpc\n"),
        ("import purerpc_other\n", "import purerpc_other\n"),
    ],
)
def test_only_imports_of_purerpc_are_renamed(source: str, expected: str) -> None:
    assert name_the_copy(source) == expected


# ---- installation


@pytest.mark.slow
def test_two_users_chat_on_a_platform_that_plain_pip_installed_beside_a_new_h2(wheel: Path, tmp_path: Path) -> None:
    folder = tmp_path / "venv"
    venv.create(folder, with_pip=True)

    def run(program: str, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([folder / "bin" / program, *words], cwd=tmp_path, capture_output=True, text=True)

    def install(*requirements: str) -> None:
        installed = run("pip", "install", "-q", "--disable-pip-version-check", *requirements)
        assert installed.returncode == 0, installed.stderr
        checked = run("pip", "check")
        assert checked.returncode == 0, checked.stdout

    install(str(wheel), "h2>=4.3")
    assert "[server]" in run("rookery", "up").stderr
    install(f"{wheel}[server]", "h2>=4.3", "hypercorn")
    assert run("python", "-c", "import kafka").returncode != 0
    server = Rookery(tmp_path / "data")
    server.program = folder / "bin" / "rookery"
    with running(server):
        chatted = run("python", "-c", CHAT, server.url)
    assert chatted.stdout == "Hello\nGood morning\n", chatted.stderr
    install(f"{wheel}[distributed]")
    imported = run("python", "-c", "import kafka, cassandra, redis")
    assert imported.returncode == 0, imported.stderr
