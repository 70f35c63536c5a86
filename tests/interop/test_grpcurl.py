"""The tools that people call gRPC servers with find their way in a real process, knowing nothing but its address."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needed import needed
from tools.launch.process import Rookery, running
from tools.toolchains import go_programs

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
    """What it prints. Fails if it does."""
    ran = run(tools / "grpcurl", "-plaintext", *words)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def test_grpcurl_lists_the_services(tools: Path, rookery: Rookery) -> None:
    assert grpcurl(tools, rookery.grpc, "list").split() == [*STANDARD, "rookery.v1.SessionService"]
    archive = rookery.addresses["archive"]
    assert grpcurl(tools, archive, "list").split() == [*STANDARD, "rookery.v1.ArchiveService"]
    listed = grpcurl(tools, archive, "list", "rookery.v1.ArchiveService").split()
    assert "rookery.v1.ArchiveService.GetChat" in listed


def test_grpcurl_describes_services_and_messages(tools: Path, rookery: Rookery) -> None:
    service = grpcurl(tools, rookery.grpc, "describe", "rookery.v1.SessionService")
    assert "rpc Connect ( stream .rookery.v1.ClientFrame ) returns ( stream .rookery.v1.ServerFrame );" in service
    message = grpcurl(tools, rookery.grpc, "describe", "rookery.v1.Send")
    assert "string client_message_id = 1;" in message


@pytest.mark.parametrize("service", ["", "rookery.v1.SessionService"])
def test_grpcurl_checks_the_health(tools: Path, rookery: Rookery, service: str) -> None:
    asked = json.dumps({"service": service})
    answer = grpcurl(tools, "-d", asked, rookery.grpc, "grpc.health.v1.Health/Check")
    assert json.loads(answer) == {"status": "SERVING"}


def test_grpcurl_speaks_a_session(tools: Path, rookery: Rookery) -> None:
    frames = json.dumps({"authenticate": {"access_token": "none"}})
    said = grpcurl(tools, "-d", frames, rookery.grpc, "rookery.v1.SessionService/Connect")
    assert "goodbye" in json.loads(said)


def test_grpcurl_asks_the_archive_with_its_token_alone(tools: Path, rookery: Rookery) -> None:
    archive = rookery.addresses["archive"]
    asked = ["-d", json.dumps({"user_id": 1, "chat_id": "d-1-2"}), archive, GET_CHAT]
    refused = run(tools / "grpcurl", "-plaintext", *asked)
    assert refused.returncode != 0
    assert "Unauthenticated" in refused.stderr
    answer = grpcurl(tools, "-H", f"authorization: Bearer {ARCHIVE_TOKEN}", *asked)
    assert json.loads(answer)["chat"]["chat_id"] == "d-1-2"


def test_who_watches_is_told_that_a_process_stops(tools: Path, tmp_path: Path) -> None:
    with running(Rookery(tmp_path / "data")) as rookery:
        command = [str(tools / "grpcurl"), "-plaintext", "-max-time", str(SECONDS), rookery.grpc, WATCH]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            first = "".join(watching.stdout.readline() for _ in range(3))
            assert rookery.terminate() == 0
            rest, _ = watching.communicate(timeout=SECONDS)
    assert json.loads(first) == {"status": "SERVING"}
    assert json.loads(rest) == {"status": "NOT_SERVING"}


@pytest.mark.parametrize("address", ["grpc", "archive"])
def test_the_probe_of_kubernetes_needs_no_token(tools: Path, rookery: Rookery, address: str) -> None:
    probed = run(tools / "grpc-health-probe", f"-addr={rookery.addresses[address]}")
    assert (probed.returncode, probed.stderr.strip()) == (0, "status: SERVING")


def test_the_probe_is_told_of_a_service_that_is_not_there(tools: Path, rookery: Rookery) -> None:
    probed = run(tools / "grpc-health-probe", f"-addr={rookery.grpc}", "-service=rookery.v1.Nothing")
    assert probed.returncode != 0
    assert "NotFound" in probed.stderr
