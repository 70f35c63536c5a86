"""A message to a channel of 100,000 members, of whom 5,000 are online and 500 have it open, embedded:

    python -m benchmarks.channels [--members 100000] [--online 5000] [--open 500] [--seconds 30] [--partitions 12]

It is the load of `rookery load --group 100000`, from this process, on the same machine. The accounts are written into
the platform's store, which takes a minute, with one password hash for all.
"""

import argparse
import math
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from rookery.load.report import show
from rookery.load.run import Plan, Result, run
from rookery.serve.folder import DataFolder
from tools.launch.process import Rookery, running

MOST_RECORDS, MOST_WRITES, MOST_MS, MOST_ROSTER_BYTES = 12, 2, 200, 2**20
"""The budgets of docs/performance.md."""


def main() -> None:
    options = parse()
    with TemporaryDirectory() as directory:
        settings = {"ROOKERY_LOG__PARTITIONS": str(options.partitions)}
        with running(Rookery(Path(directory) / "data", settings=settings)) as rookery:
            plan = partial(Plan, url=rookery.url, accounts_file=DataFolder(rookery.data).accounts, rate=1.0)
            result = trio.run(
                run,
                plan(
                    group=options.members,
                    users=options.online,
                    open=options.open,
                    seconds=options.seconds,
                    warm_up=10.0,
                    metrics=(rookery.addresses["gateway_health"].replace("readyz", "metrics"),),
                ),
            )
            print(show(result, as_json=False), flush=True)
            check(result)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--members", type=int, default=100_000)
    parser.add_argument("--online", type=int, default=5_000)
    parser.add_argument("--open", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--partitions", type=int, default=12, help="of the log (%(default)s, as on Kafka)")
    return parser.parse_args()


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
    main()
