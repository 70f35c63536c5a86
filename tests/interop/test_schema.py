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

ENDING = ("/v1/tokens/current", "/v1/me/sign-ins/{sign_in_id}", "/v1/admin/users/{user_id}/sign-ins")
"""Operations that may end the sign-in of the run: schemathesis takes ids from earlier responses."""

LIMITING = "/v1/admin/configuration/{key}"
"""Operations that may restore limits, by which most later requests would be refused: they have the last run, alone."""

LINES, LINE = 400, 400
"""Of the report of a failure: the last lines, and characters of each, since a generated body may be long."""

SECONDS = 1_500.0
"""Only ends a test that has failed."""


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
    command += ["--header", f"Authorization: Bearer {access_token}", "--continue-on-failure"]
    excluded = [word for path in (*ENDING, LIMITING) for word in ("--exclude-path", path)]
    for selected in (excluded, ["--include-path", LIMITING]):
        done = subprocess.run([*command, *selected], cwd=FOLDER, capture_output=True, text=True, timeout=SECONDS)
        lines = [line[:LINE] for line in (done.stdout + done.stderr).splitlines()]
        assert done.returncode == 0, "\n".join(lines[-LINES:])
    own = httpx.get(f"{rookery.url}/v1/me", headers={"Authorization": f"Bearer {access_token}"}, timeout=PATIENCE)
    assert own.status_code == 200, "the sign-in has ended, and most requests were refused for that"
