"""The stock gRPC programs of other languages: how each is built and invoked."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from zipfile import ZipFile

import psutil

from tests.interop.matrix import Language
from tools.engines.install import need_java, need_program
from tools.launch.process import STOP_SECONDS, wait_until
from tools.toolchains import go_programs, jars, node_modules

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

CASE_SECONDS = 120.0
"""Ends only a program that hangs."""

START_SECONDS = 60.0
"""A JVM takes less than a second to start, but longer on a machine that runs many tests."""

GO_INTEROP_CLIENT = "google.golang.org/grpc/interop/client"
JAVA_INTEROP = "io.grpc.testing.integration"

JAVA_SERVER_NAME = "interop.test.google.fr"
"""A name in the certificate of grpc-java's server."""

PATIENCE = ("--soak_per_iteration_max_acceptable_latency_ms=60000", "--soak_overall_timeout_seconds=60")
"""The soak cases test that channels can be reused, not the speed of the machine."""

QUICK_START = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""Options for short-lived JVMs."""


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files for TLS on 127.0.0.1."""

    ca: Path
    """The trusted authority, in PEM."""
    trust_store: Path
    """The same, for Java; without a password."""
    certificate: Path
    key: Path


@dataclass(frozen=True, slots=True)
class Client:
    """A program that runs cases."""

    command: Callable[[int, str, Certificates | None], list[str]]
    """Returns the command that runs the case against the server at the port, over TLS if there are certificates."""
    takes_many_cases: bool = True
    """Whether it takes cases separated by commas, and prints a line of JSON for each: its name and its failure."""


@dataclass(frozen=True, slots=True)
class Programs:
    """A language's client and server."""

    client: Client
    server: Callable[[Certificates | None], list[str]]
    """Returns the command that serves at a port of its choice, over TLS if there are certificates."""


def our_server(certificates: Certificates | None) -> list[str]:
    """Return the command that serves with shared.rpc."""
    return [sys.executable, "-m", "tests.interop.server", *_server_files(certificates)]


def prepare(language: Language) -> Programs:
    """Build the programs of a language. Raises Missing."""
    return {"go": _go, "java": _java, "node": _node, "python": _python}[language]()


@cache
def java_jars() -> Path:
    """The folder of grpc-java's interop programs."""
    need_java()
    need_program("javac", "default-jdk-headless")  # `java` compiles source files itself
    return jars(HERE / "java/pom.xml")


def java_authority() -> str:
    """Return the authority of the certificate of grpc-java's server, in PEM."""
    (archive,) = java_jars().glob("grpc-testing-[0-9]*.jar")
    with ZipFile(archive) as jar:
        return jar.read("certs/ca.pem").decode()


def _go() -> Programs:
    folder = go_programs(HERE / "go", GO_INTEROP_CLIENT, "./compressed", "./server")

    def client(port: int, case: str, certificates: Certificates | None) -> list[str]:
        if "compressed" in case:  # grpc-go's own client lacks these cases
            trust = [f"--ca_file={certificates.ca}"] if certificates else []
            return [str(folder / "compressed"), f"--server_port={port}", f"--test_case={case}", *trust]
        tls = ["--use_tls", "--use_test_ca", f"--ca_file={certificates.ca}"] if certificates else []
        return [str(folder / "client"), *_target(port, case), *tls]

    def server(certificates: Certificates | None) -> list[str]:
        return [str(folder / "server"), *_server_files(certificates)]

    return Programs(Client(client, takes_many_cases=False), server)


def _java() -> Programs:
    java = ["java", *QUICK_START, "-cp", f"{java_jars()}/*"]

    def client(port: int, case: str, certificates: Certificates | None) -> list[str]:
        trust = [f"-Djavax.net.ssl.trustStore={certificates.trust_store}"] if certificates else []
        tls = "true" if certificates else "false"
        return [*java, *trust, str(HERE / "java/Cases.java"), *_target(port, case), f"--use_tls={tls}"]

    def server(certificates: Certificates | None) -> list[str]:
        tls = "true" if certificates else "false"  # with a certificate of its own
        return [*java, f"{JAVA_INTEROP}.TestServiceServer", "--port=0", f"--use_tls={tls}"]

    return Programs(Client(client), server)


def _node() -> Programs:
    node = ["env", f"NODE_PATH={node_modules(HERE / 'node')}", "node"]
    return _own_programs([*node, str(HERE / "node/client.js")], [*node, str(HERE / "node/server.js")])


def _python() -> Programs:
    python = [sys.executable, "-m"]
    return _own_programs([*python, "tests.interop.python.client"], [*python, "tests.interop.python.server"])


def _own_programs(client_command: list[str], server_command: list[str]) -> Programs:
    """Return programs that are part of this folder."""

    def client(port: int, case: str, certificates: Certificates | None) -> list[str]:
        tls = [f"--ca_file={certificates.ca}"] if certificates else []
        return [*client_command, f"--server_port={port}", f"--test_case={case}", *tls]

    def server(certificates: Certificates | None) -> list[str]:
        return [*server_command, *_server_files(certificates)]

    return Programs(Client(client), server)


def _target(port: int, case: str) -> list[str]:
    return ["--server_host=127.0.0.1", f"--server_port={port}", f"--test_case={case}", *PATIENCE]


def _server_files(certificates: Certificates | None) -> list[str]:
    if certificates is None:
        return []
    return [f"--tls_cert_file={certificates.certificate}", f"--tls_key_file={certificates.key}"]


def run_one_case(command: Sequence[str]) -> str:
    """Run a client's command for one case: an empty string if it has passed, else its output."""
    done = _run(command)
    return "" if done.returncode == 0 else f"exit code {done.returncode}\n{done.stdout}{done.stderr}"


def run_cases(command: Sequence[str]) -> dict[str, str]:
    """Run a client's command for several cases: their outcomes by name."""
    done = _run(command)
    if done.returncode != 0:
        raise ChildProcessError(f"exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return dict(json.loads(line) for line in done.stdout.splitlines() if line.startswith("["))


def _run(command: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=CASE_SECONDS)


@contextmanager
def serving(command: Sequence[str], log: Path) -> Iterator[int]:
    """Run a server's command until the end of the block. Returns its port once it listens; its output goes to `log`."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: process.poll() is not None or bool(_ports(process.pid)), START_SECONDS)
        if not (ports := _ports(process.pid)):
            raise ChildProcessError(f"{command[0]} does not listen: {log.read_text()}")
        yield ports[0]
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _ports(pid: int) -> list[int]:
    """Return the ports on which a process listens; none if it has ended."""
    try:
        connections = psutil.Process(pid).net_connections("tcp")
    except psutil.NoSuchProcess:
        return []
    return [connection.laddr.port for connection in connections if connection.status == psutil.CONN_LISTEN]
