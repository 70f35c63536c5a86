"""The CPU and the latency of a message, embedded and on real Kafka, Cassandra and Redis:

    python -m benchmarks.messages [--rounds 2] [--seconds 15] [--embedded]

The platform is started anew for each line, and gets the load of `rookery load` from this process, on the same machine.
The generator's own CPU is printed too: its work for each message is constant, so it measures the speed of the machine.
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trio

from rookery.load.measure import Latencies
from rookery.load.run import Plan, Result, run
from rookery.serve.folder import DataFolder
from shared.accounts.sqlite.store import open_sqlite_accounts
from tools.engines.install import exit_if_missing
from tools.engines.kinds import Engines
from tools.launch.cluster import Cluster, running_cluster, running_engines
from tools.launch.process import Process, Rookery, running

SATURATE: dict[str, Any] = {"rate": None}

ON_EMBEDDED: dict[str, dict[str, Any]] = {
    "saturated": SATURATE,
    "saturated, 4 in flight": SATURATE | {"in_flight": 4},
    "saturated, gRPC": SATURATE | {"transport": "grpc"},
    "300 a second": {"rate": 300},
    "500 a second": {"rate": 500},
    "500 a second, gRPC": {"rate": 500, "transport": "grpc"},
}

ON_ENGINES: dict[str, dict[str, Any]] = {"saturated": SATURATE, "300 a second": {"rate": 300}}

WARM_UP_SECONDS = 60.0
"""Seconds of load before a measurement on engines: their JVMs compile during the first minute."""


def main() -> None:
    options = parse()
    plan = partial(Plan, seconds=options.seconds)
    with TemporaryDirectory() as directory:
        folder = Path(directory)
        measure_embedded(folder, plan, options.rounds)
        if not options.embedded:
            with running_engines(folder / "engines") as engines:
                measure_engines(folder, engines, plan, options.rounds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=15.0, help="of each run (%(default)s)")
    parser.add_argument("--embedded", action="store_true", help="no engines")
    return parser.parse_args()


def measure_embedded(folder: Path, plan: "partial[Plan]", rounds: int) -> None:
    for number in range(rounds):
        for name, load in ON_EMBEDDED.items():
            with running(Rookery(new(folder / f"{number}-{name}"))) as rookery:
                accounts = partial(open_sqlite_accounts, DataFolder(rookery.data).accounts)
                print_result("embedded", name, trio.run(run, plan(url=rookery.url, is_embedded=True, **load), accounts))


def measure_engines(folder: Path, engines: Engines, plan: "partial[Plan]", rounds: int) -> None:
    with a_process_each(new(folder / "warm-up"), engines) as (url, _):
        trio.run(run, Plan(url=url, rate=None, seconds=WARM_UP_SECONDS))
    jvms = engines.kafka.pid, engines.cassandra.pid
    for number in range(rounds):
        for kind, platform in {"a process each": a_process_each, "one process": one_process}.items():
            for name, load in ON_ENGINES.items():
                with platform(new(folder / f"{number}-{kind}-{name}"), engines) as (url, servers):
                    print_result(
                        kind, name, trio.run(run, plan(url=url, server_pids=servers, engine_pids=jvms, **load))
                    )


@contextmanager
def a_process_each(folder: Path, engines: Engines) -> Iterator[tuple[str, Sequence[int]]]:
    """Start one process per role; yield the URL, and the processes of gateway and archive."""
    with running_cluster(Cluster(folder, engines, bffs=1, gateways=1, archives=1)) as cluster:
        yield cluster.bffs[0].url, pids(*cluster.gateways, *cluster.archives)


@contextmanager
def one_process(folder: Path, engines: Engines) -> Iterator[tuple[str, Sequence[int]]]:
    """Start all roles in one process; yield the same."""
    environment = Cluster(folder, engines, bffs=0, gateways=0, archives=0).environment
    del environment["ROOKERY_ARCHIVES"]  # it has an archive itself
    rookery = Rookery(folder, settings=environment)
    assert rookery.run("migrate").returncode == 0
    with running(rookery):
        yield rookery.url, pids(rookery)


def pids(*processes: Process) -> tuple[int, ...]:
    return tuple(process.process.pid for process in processes)


def new(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def print_result(kind: str, name: str, result: Result) -> None:
    """Print a result as a line; no message may be lost, refused or unanswered."""
    report = result.report
    failures = report.lost, report.unanswered, report.duplicates, report.refused, report.errors
    assert failures == (0, 0, 0, {}, {}), report
    engines = f", engines {result.engine_cpu_us_per_message:.0f}" if result.engine_cpu_us_per_message else ""
    print(
        f"{kind + ', ' + name:36} {result.server_cpu_us_per_message:6.0f} µs a message"
        f" (generator {result.generator_cpu_us_per_message:.0f}{engines}), {report.delivered_per_second:6.0f} a second,"
        f" {milliseconds(report.delivered)}",
        flush=True,
    )


def milliseconds(latencies: Latencies) -> str:
    return f"p50 {latencies.p50:.1f} ms, p99 {latencies.p99:.1f} ms"


if __name__ == "__main__":
    with exit_if_missing():
        main()
