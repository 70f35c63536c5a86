"""Common gRPC tools work with a real process, given only its address."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needed import needed
from tools.launch.process import Rookery, running
from tools.toolchains import go_programs

pytestmark = pytest.mark.slow

TOOLS = Path(__file__).parent / "grpcurl"
GRPCURL, HEALTH_PROBE = "github.com/fullstorydev/grpcurl/cmd/grpcurl", "github.com/grpc-ecosystem/grpc-health-probe"

ARCHIVE_TOKEN = "a-token-for-tests-only"
STANDARD = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"]
WATCH = "grpc.health.v1.Health/Watch"
GET_CHAT = "rookery.v1.ArchiveService/GetChat"

SECONDS = 60
"""For one call of a tool: only ends a test that has failed."""


@pytest.fixture(scope="module")
def tools() -> Path:
    """The folder with the programs."""
    return needed(go_programs, TOOLS, GRPCURL, HEALTH_PROBE)


@pytest.fixture(scope="module")
def rookery(tools: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rookery]:
    data = tmp_path_factory.mktemp("grpcurl") / "data"
    with running(Rookery(data, settings={"ROOKERY_ARCHIVE_TOKEN": ARCHIVE_TOKEN})) as process:
        yield process


def run(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([program, *words], capture_output=True, text=True, timeout=SECONDS)


def grpcurl(tools: Path, *words: str) -> str:
    """Run grpcurl and return its output. Raises AssertionError if it fails."""
    ran = run(tools / "grpcurl", "-plaintext", *words)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_grpcurl_lists_the_services(tools: Path, rookery: Rookery) -> None:
    assert grpcurl(tools, rookery.grpc, "list").split() == [
        *STANDARD,
        "rookery.v1.GroupService",
        "rookery.v1.SessionService",
    ]
    archive = rookery.addresses["archive"]
    assert grpcurl(tools, archive, "list").split() == [*STANDARD, "rookery.v1.ArchiveService"]
    listed = grpcurl(tools, archive, "list", "rookery.v1.ArchiveService").split()
    assert "rookery.v1.ArchiveService.GetChat" in listed


@pytest.mark.parametrize("service", ["", "rookery.v1.SessionService"])
def test_grpcurl_checks_the_health(tools: Path, rookery: Rookery, service: str) -> None:
    request = json.dumps({"service": service})
    answer = grpcurl(tools, "-d", request, rookery.grpc, "grpc.health.v1.Health/Check")
    assert json.loads(answer) == {"status": "SERVING"}


def test_grpcurl_opens_a_session(tools: Path, rookery: Rookery) -> None:
    frames = json.dumps({"authenticate": {"access_token": "none"}})
    output = grpcurl(tools, "-d", frames, rookery.grpc, "rookery.v1.SessionService/Connect")
    assert "goodbye" in json.loads(output)


def test_grpcurl_needs_a_token_for_the_archive(tools: Path, rookery: Rookery) -> None:
    archive = rookery.addresses["archive"]
    request = ["-d", json.dumps({"user_id": 1, "chat_id": "d-1-2"}), archive, GET_CHAT]
    refused = run(tools / "grpcurl", "-plaintext", *request)
    assert refused.returncode != 0
    assert "Unauthenticated" in refused.stderr
    answer = grpcurl(tools, "-H", f"authorization: Bearer {ARCHIVE_TOKEN}", *request)
    assert json.loads(answer)["chat"]["chat_id"] == "d-1-2"


def test_a_watch_reports_that_the_process_stops(tools: Path, tmp_path: Path) -> None:
    with running(Rookery(tmp_path / "data")) as rookery:
        command = [str(tools / "grpcurl"), "-plaintext", "-max-time", str(SECONDS), rookery.grpc, WATCH]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watch:
            assert watch.stdout is not None
            first = "".join(watch.stdout.readline() for _ in range(3))
            assert rookery.terminate() == 0
            rest, _ = watch.communicate(timeout=SECONDS)
    assert json.loads(first) == {"status": "SERVING"}
    assert json.loads(rest) == {"status": "NOT_SERVING"}


@pytest.mark.parametrize("address", ["grpc", "archive"])
def test_the_probe_of_kubernetes_needs_no_token(tools: Path, rookery: Rookery, address: str) -> None:
    probed = run(tools / "grpc-health-probe", f"-addr={rookery.addresses[address]}")
    assert (probed.returncode, probed.stderr.strip()) == (0, "status: SERVING")
