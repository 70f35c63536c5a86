"""The HTTP API and its description agree: schemathesis sends each operation requests that `/openapi.json` allows, and
requests that it forbids."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.needed import needed
from tools import toolchains
from tools.launch.people import PASSWORD, PATIENCE
from tools.launch.process import Rookery, running

pytestmark = pytest.mark.slow

FOLDER = Path(__file__).parent / "schema"

EXAMPLES = 200
"""Generated requests of each operation and phase."""

EXCLUDED = ("--exclude-path", "/v1/tokens/current")
"""It would end the sign-in of the run."""

SECONDS = 600.0
"""Only ends a test that has failed: the run takes two minutes."""


@pytest.fixture
def rookery(tmp_path: Path) -> Iterator[Rookery]:
    with running(Rookery(tmp_path / "data", access_token_seconds=86_400)) as ready:
        yield ready


@pytest.fixture(scope="module")
def schemathesis() -> list[str]:
    """The command, as a module: the scripts of the environment name the folder in which it was built."""
    return [str(needed(toolchains.python_environment, FOLDER / "requirements.txt")), "-m", "schemathesis.cli"]


def test_schemathesis_finds_no_difference_between_the_api_and_its_description(
    rookery: Rookery, schemathesis: list[str]
) -> None:
    account = {"name": "ada", "password": PASSWORD}
    httpx.post(f"{rookery.url}/v1/users", json=account, timeout=PATIENCE).raise_for_status()
    assert rookery.run("user", "admin", "ada").returncode == 0
    access_token = httpx.post(f"{rookery.url}/v1/tokens", json=account, timeout=PATIENCE).json()["access_token"]
    command = [*schemathesis, "run", f"{rookery.url}/openapi.json", "--max-examples", str(EXAMPLES)]
    command += ["--header", f"Authorization: Bearer {access_token}", *EXCLUDED, "--continue-on-failure"]
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
