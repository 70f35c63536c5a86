"""A message to a channel of 100,000 members, of whom 5,000 are online and 500 have it open:

    python -m benchmarks.channels [--engines] [--members 100000] [--online 5000] [--open 500] [--seconds 30]

It is the load of `rookery load --group 100000`, from this process, on the same machine: in one process, or on Kafka,
Cassandra and Redis with two gateways. The accounts are written into the platform's store, with one password hash for
all, which takes a minute.
"""

import argparse
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from benchmarks.messages import WARM_UP_SECONDS, pids
from rookery.load.report import show
from rookery.load.run import Plan, Result, run
from rookery.load.stored_accounts import OpenAccounts
from rookery.serve.folder import DataFolder
from rookery.serve.schema import MIGRATIONS
from shared.accounts.cassandra.store import open_cassandra_accounts
from shared.accounts.sqlite.store import open_sqlite_accounts
from shared.accounts.store import AccountStore
from shared.drivers.cassandra import open_cassandra
from shared.settings import CassandraSettings
from tools.engines.install import exit_if_missing
from tools.launch.cluster import Cluster, running_cluster, running_engines
from tools.launch.process import Rookery, running

MOST_RECORDS, MOST_WRITES, MOST_MS, MOST_ROSTER_BYTES = 12, 2, 200, 2**20
"""The budgets of docs/performance.md."""

EMBEDDED_WARM_UP_SECONDS = 10.0
"""Seconds of messages before the measured ones, without engines."""


@dataclass(frozen=True, slots=True)
class Platform:
    """A running platform: the plan's options of its processes, and its account store."""

    plan: Plan
    open_accounts: OpenAccounts


def main() -> None:
    options = parse()
    start = on_engines if options.engines else embedded
    with TemporaryDirectory() as directory, start(Path(directory), options.partitions) as platform:
        plan = replace(
            platform.plan,
            group=options.members,
            users=options.online,
            open=options.open,
            rate=1.0,
            seconds=options.seconds,
        )
        result = trio.run(run, plan, platform.open_accounts)
        print(show(result, as_json=False), flush=True)
        check(result)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", action="store_true", help="on Kafka, Cassandra and Redis")
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--online", type=int, default=5_000)
    parser.add_argument("--open", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--partitions", type=int, default=12, help="of the log (%(default)s)")
    return parser.parse_args()


@contextmanager
def embedded(folder: Path, partitions: int) -> Iterator[Platform]:
    settings = {"ROOKERY_LOG__PARTITIONS": str(partitions)}
    with running(Rookery(folder / "data", settings=settings)) as rookery:
        metrics = (metrics_of(rookery.addresses["gateway_health"]),)
        plan = Plan(
            rookery.url,
            is_embedded=True,
            server_pids=pids(rookery),
            metrics=metrics,
            warm_up=EMBEDDED_WARM_UP_SECONDS,
        )
        yield Platform(plan, partial(open_sqlite_accounts, DataFolder(rookery.data).accounts))


@contextmanager
def on_engines(folder: Path, partitions: int) -> Iterator[Platform]:
    """Start the engines, a BFF, two gateways and an archive."""
    settings = {"ROOKERY_KAFKA__PARTITIONS": str(partitions)}
    with (
        running_engines(folder / "engines") as engines,
        running_cluster(Cluster(folder / "platform", engines, bffs=1, archives=1, settings=settings)) as cluster,
    ):
        own = [*cluster.gateways, *cluster.archives]
        plan = Plan(
            cluster.bffs[0].url,
            server_pids=pids(*own),
            engine_pids=(engines.kafka.pid, engines.cassandra.pid),
            metrics=tuple(metrics_of(process.addresses[f"{process.role}_health"]) for process in own),
            warm_up=WARM_UP_SECONDS,
        )
        keyspace = cluster.environment["ROOKERY_CASSANDRA__KEYSPACE"]
        cassandra = CassandraSettings(hosts=(engines.cassandra.host,), port=engines.cassandra.port, keyspace=keyspace)
        yield Platform(plan, partial(accounts_on_cassandra, cassandra))


@asynccontextmanager
async def accounts_on_cassandra(settings: CassandraSettings) -> AsyncIterator[AccountStore]:
    async with open_cassandra(settings, MIGRATIONS) as session, open_cassandra_accounts(session) as accounts:
        yield accounts


def metrics_of(health: str) -> str:
    """Return the URL of the metrics of the process with this address of health."""
    return health.replace("readyz", "metrics")


def check(result: Result) -> None:
    """Compare the result with the budgets; no message may be lost, refused or unanswered."""
    report, counted = result.report, result.counted
    failures = report.lost, report.unanswered, report.duplicates, report.refused, report.errors
    assert failures == (0, 0, 0, {}, {}), report
    assert report.last is not None
    assert counted is not None
    for name, value, most in (
        ("log records", math.ceil(counted.records / counted.accepted), MOST_RECORDS),
        ("store writes", math.ceil(counted.writes / counted.accepted), MOST_WRITES),
        ("ms to the last at p99", round(report.last.p99), MOST_MS),
        ("bytes of rosters", round(counted.roster_bytes), MOST_ROSTER_BYTES),
    ):
        print(f"{'kept' if value <= most else 'EXCEEDED':8} {value:,} {name}, at most {most:,}")


if __name__ == "__main__":
    with exit_if_missing():
        main()
