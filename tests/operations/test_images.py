"""The image is small, has only the locked packages and our sources, and serves each role, confined as in production."""

import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from rookery.client import open_client
from tests.needed import needed
from tools.engines.engine import free_port
from tools.engines.kinds import Engines
from tools.launch.live import UNLIMITED, configure
from tools.launch.people import PASSWORD, read_history, sign_up
from tools.launch.process import ANNOUNCED, running, wait_until
from tools.operations.containers import ROOT, USER, ContainerCluster, Containerised, Containers, Image

pytestmark = pytest.mark.slow

MEBIBYTE = 1024 * 1024

LARGEST = 320 * MEBIBYTE
"""Unpacked size, on a stand-in for the real base, which is smaller."""

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

VERSION: str = PROJECT["version"]

DISTRIBUTIONS = """
import importlib.metadata, json
print(json.dumps({each.name: each.version for each in importlib.metadata.distributions()}))
"""

UNCOMPILED = """
import importlib.util, json, pathlib, sys, sysconfig
folders = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")]
sources = [path for folder in folders for path in pathlib.Path(folder).rglob("*.py")]
def is_compiled(path):
    made = pathlib.Path(importlib.util.cache_from_source(path))
    return made.exists() and made.read_bytes()[4:8] == bytes([1, 0, 0, 0])  # PEP 552: by hash, and not looked at again
print(json.dumps([str(path) for path in sources if "lib2to3" not in str(path) and not is_compiled(path)]))
"""


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    containers = Containers()
    needed(containers.install)
    with containers.built() as made:
        yield made


# ---- contents


def test_it_is_small_and_has_the_labels_of_its_version(image: Image) -> None:
    found = image.containers.inspect(image.id)
    assert found["Size"] < LARGEST
    config = found["Config"]
    assert config["User"] == f"{USER}:{USER}"
    assert config["Entrypoint"] == ["rookery"]
    assert config["StopSignal"] == "SIGTERM"
    assert config["Labels"]["org.opencontainers.image.title"] == "Rookery"
    assert config["Labels"]["org.opencontainers.image.version"] == VERSION
    assert len(found["RootFS"]["Layers"]) <= 3  # no layer removes files of another
    assert image.run("rookery", "--version") == f"rookery {VERSION}\n"


def test_it_has_the_locked_packages_and_no_other(image: Image) -> None:
    lock = (ROOT / "requirements.lock").read_text()
    locked = {(plain(name), version) for name, version in re.findall(r"^([\w.-]+)==(\S+)", lock, re.MULTILINE)}
    has = {plain(name): version for name, version in json.loads(image.run("python", "-c", DISTRIBUTIONS)).items()}
    assert has.pop("rookery") == VERSION
    assert has.items() <= locked
    needs = [each for each in PROJECT["dependencies"] if ";" not in each]
    assert {plain(re.split(r"[^\w.-]", each)[0]) for each in needs} <= has.keys()


def plain(name: str) -> str:
    """Normalised name of a project, as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_it_has_no_installer_compiler_or_set_user_id_program(image: Image) -> None:
    look = "for name in pip pip3 gcc cc make git curl wget node npm; do command -v $name; done"
    assert image.run("sh", "-c", f"({look}; find / -xdev -perm /6000 -type f) 2>/dev/null; true") == ""
    for module in ("pip", "setuptools", "ensurepip"):
        with pytest.raises(AssertionError, match="ModuleNotFoundError"):
            image.run("python", "-c", f"import {module}")


def test_everything_is_compiled_for_a_read_only_file_system(image: Image) -> None:
    assert json.loads(image.run("python", "-c", UNCOMPILED)) == []


def test_it_has_the_sources_of_the_packages_and_the_bundled_page_alone(image: Image, bundled: Path) -> None:
    folders = ("bff", "messaging", "rookery", "shared")
    listed = image.run("sh", "-c", f"cd /opt/rookery/lib/python3*/site-packages && find {' '.join(folders)} -type f")
    vendored = "rookery/_vendor/"  # purerpc, which is not in git: tests/tools/wheel/test_vendoring.py lists it
    found = {name for name in listed.split() if not name.endswith(".pyc") and not name.startswith(vendored)}
    git = ["git", "ls-files", "--cached", "--others", "--exclude-standard", *folders]
    listed_files = subprocess.run(git, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    known = {name for name in listed_files if (ROOT / name).exists()}
    page = {f"bff/web/{path.relative_to(bundled)}" for path in bundled.rglob("*") if path.is_file()}
    assert found <= known | page
    assert {name for name in known if name.endswith(".py")} | page <= found


# ---- running


@pytest.fixture
def platform(image: Image, tmp_path: Path) -> Iterator[Containerised]:
    """`rookery up` in a container, with a data folder of its user."""
    data = tmp_path / "data"
    settings = {setting: str(free_port()) for _, setting in ANNOUNCED.values()}
    configure(settings | {"ROOKERY_FILE": os.devnull, "ROOKERY_DATA": str(data)}, UNLIMITED)
    for path in (data, *data.rglob("*")):
        os.chown(path, USER, USER)
    with running(Containerised("up", tmp_path / "up.log", settings, image, data)) as ready:
        yield ready


async def test_people_chat_on_it_and_their_messages_outlive_a_restart(platform: Containerised) -> None:
    async with open_client(platform.url, "ada", PASSWORD, register=True) as ada:
        grace = await sign_up(platform.url, "grace")
        async with open_client(platform.url, grace.name, PASSWORD, transport="websocket") as there:
            sent = await ada.send(grace.user_id, "hello")
            answer = await there.send(sent.chat_id, "hello to you")
            assert await trio.to_thread.run_sync(platform.terminate) == 0  # in time, with two sessions open
    await trio.to_thread.run_sync(platform.start)
    history = await read_history(platform.url, grace, sent.chat_id, until=lambda messages: len(messages) == 2)
    assert [item.message.message_id for item in history] == [sent.event_id, answer.event_id]


def test_it_runs_without_privileges_and_changes_its_data_alone(platform: Containerised, image: Image) -> None:
    status = platform.execute("cat", "/proc/1/status").stdout
    assert re.search(r"^Uid:(.*)$", status, re.MULTILINE)[1].split() == [str(USER)] * 4  # type: ignore[index]
    assert re.search(r"^CapEff:\s*(\S+)$", status, re.MULTILINE)[1] == "0" * 16  # type: ignore[index]
    assert re.search(r"^NoNewPrivs:\s*(\S+)$", status, re.MULTILINE)[1] == "1"  # type: ignore[index]
    assert platform.execute("touch", "/etc/rookery/x").returncode != 0
    changed = image.containers.podman("diff", platform.container).split("\n")
    assert set(changed) <= {"C /etc", ""}  # podman writes host names there


def test_it_has_a_program_for_health_checks(platform: Containerised) -> None:
    assert wait_until(platform.is_ready)
    for probe in (f"{platform.url}/readyz", platform.addresses["gateway_health"], platform.addresses["archive_health"]):
        assert platform.execute("rookery", "probe", probe).returncode == 0
    nobody = platform.execute("rookery", "probe", f"http://127.0.0.1:{free_port()}/readyz")
    assert nobody.returncode == 1
    assert "does not respond" in nobody.stdout


async def test_each_role_serves_in_it(image: Image, tmp_path: Path, engines: Engines) -> None:
    cluster = ContainerCluster(tmp_path, engines, image, bffs=1, gateways=1, archives=1)
    try:
        await trio.to_thread.run_sync(cluster.start)
        url = cluster["bff-1"].url
        async with open_client(url, "ada", PASSWORD, register=True) as ada:
            grace = await sign_up(url, "grace")
            sent = await ada.send(grace.user_id, "hello")
        history = await read_history(url, grace, sent.chat_id)
        assert [item.message.message_id for item in history] == [sent.event_id]
        for process in reversed(cluster.processes):
            assert await trio.to_thread.run_sync(process.terminate) == 0
    finally:
        await trio.to_thread.run_sync(cluster.stop)
