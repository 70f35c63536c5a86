"""`make demo`: the distributed platform with traces, metrics and logs, on this machine and without containers.

Kafka, Cassandra and Redis, two of each role, Jaeger, Prometheus, and OpenSearch, to which rsyslog ships the logs: real
ones, on loopback, in a folder that is gone at the end. For an hour some users chat, and each message is
traced. Grafana and Kibana are in no registry that this can install from: their dashboards are in `deploy/`.
"""

import json
import secrets
import shlex
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tools.engines.engine import running
from tools.engines.install import exit_if_missing
from tools.launch.cluster import Cluster, running_cluster, running_engines
from tools.launch.process import ROOKERY, Process
from tools.operations.jaeger import Jaeger
from tools.operations.prometheus import Prometheus
from tools.operations.rsyslog import need_rsyslog, shipping
from tools.operations.search import OpenSearch
from tools.toolchains import ROOT

ADMIN = "admin"

TEMPLATE = ROOT / "deploy/logs/index-template.json"

CHAT = ("--clients", "10", "--messages", "7200", "--rate", "2", "--seconds", "3600")
"""Users that chat: enough for data in every chart."""


class Demo:
    """The running programs, and their addresses."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        """Start all programs; the stack stops them. Raises install.Missing."""
        self.folder = folder
        self.password = secrets.token_urlsafe(9)
        for kind in (Jaeger, Prometheus, OpenSearch):
            kind.install()
        need_rsyslog()
        print_now("starting Kafka, Cassandra, Redis, Jaeger and OpenSearch ...")
        engines = stack.enter_context(running_engines(folder / "engines"))
        self.jaeger = stack.enter_context(running(Jaeger(folder / "jaeger")))
        self.search = stack.enter_context(running(OpenSearch(folder / "opensearch")))
        self.search.ask("PUT", "_index_template/rookery-logs", json.loads(TEMPLATE.read_text()))
        print_now("starting two archives, two gateways and two BFFs ...")
        traced = {"ROOKERY_TRACES__ENDPOINT": self.jaeger.endpoint}
        self.cluster = Cluster(folder / "rookery", engines, settings=traced, trace_ratio=1.0)
        stack.enter_context(running_cluster(self.cluster))
        jobs = {process.name: [metrics_of(process)] for process in self.cluster.running()}
        self.prometheus = stack.enter_context(running(Prometheus(folder / "prometheus", jobs)))
        stack.enter_context(shipping(f"{folder}/rookery/*.log", self.search, folder / "rsyslog"))
        self._add_admin()
        self._write_environment()
        stack.enter_context(users_chat(self.cluster.bffs[0], folder / "chat.log"))

    def __str__(self) -> str:
        first, second = (bff.url for bff in self.cluster.bffs)
        return f"""
The platform
  page       {first}/ and {second}/
  admin      {first}/admin, as {ADMIN} with the password {self.password}
  native     {self.cluster.gateways[0].grpc} (gRPC)
  commands   . {self.environment_file}; {shlex.quote(str(ROOKERY))} processes
What watches it
  traces     {self.jaeger.url}/api/traces?service=rookery&limit=5
  metrics    http://{self.prometheus.address}/graph?g0.expr=rookery_sessions
  alerts     http://{self.prometheus.address}/alerts
  logs       {self.search.url}/rookery-logs-*/_search?sort=time:desc&pretty

Ctrl-C stops everything, and removes its data."""

    @property
    def environment_file(self) -> Path:
        """Environment for a shell in which `rookery` commands address this platform."""
        return self.folder / "environment"

    def _add_admin(self) -> None:
        added = self.cluster.bffs[0].run("user", "add", ADMIN, "--password-stdin", typed=f"{self.password}\n")
        assert added.returncode == 0, added.stderr
        self.cluster.run("user", "admin", ADMIN)

    def _write_environment(self) -> None:
        settings = {"ROOKERY_KAFKA__INSTANCE": "demo", **self.cluster.environment}
        self.environment_file.write_text(
            "".join(f"export {name}={shlex.quote(value)}\n" for name, value in settings.items())
        )


@contextmanager
def users_chat(bff: Process, log: Path) -> Iterator[None]:
    """Have users chat during the block."""
    password = ("--password-file", log.with_suffix(".password"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            [ROOKERY, "verify", "--url", bff.url, *CHAT, *password], stdout=output, stderr=output
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def metrics_of(process: Process) -> str:
    """Address of its probes and metrics, as Prometheus expects it."""
    health = [address for name, address in process.addresses.items() if name.endswith("_health")]
    return (health[0] if health else process.url).removesuffix("/readyz")


def print_now(text: object) -> None:
    print(text, flush=True)


def main() -> None:
    """Run until Ctrl-C or SIGTERM."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with exit_if_missing(), tempfile.TemporaryDirectory(prefix="rookery-demo-") as folder, ExitStack() as stack:
        try:
            print_now(Demo(Path(folder), stack))
            signal.pause()
        except KeyboardInterrupt:
            print_now("stopping ...")


if __name__ == "__main__":
    main()
