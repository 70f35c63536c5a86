"""Inject every fault at full scale on real engines; print a table in Markdown. Exit status 1: a promise was broken.

    python -m tools.faults [--short] [--rate N] [NAME ...]

SIGINT and SIGTERM stop everything that it has started; the exit status is 130.
"""

import argparse
import math
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import FrameType

import trio

from tools.faults.scenarios import SCENARIOS, Scenario
from tools.faults.stage import FULL, SHORT, Report, Scale, Stage, running_stage, running_up

HEAD = ("fault", "promise", "accepted", "refused", "reconnects", "outage p99", "measured", "verdict")


def main(arguments: Sequence[str]) -> int:
    options = parse(arguments)
    selected = [scenario for scenario in SCENARIOS if not options.names or scenario.name in options.names]
    scale = SHORT if options.short else FULL
    if options.rate:
        scale = replace(scale, rate=options.rate)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also in the background, where shells ignore it
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return run_selected(selected, scale)
    except* KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
    return 130


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="few clients and messages, as in the test suite")
    parser.add_argument("--rate", type=positive, metavar="N", help=f"messages per second; {FULL.rate:g} at full scale")
    known = [scenario.name for scenario in SCENARIOS]
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of a fault: {', '.join(known)}; all by default")
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(known)}")
    return options


def positive(text: str) -> float:
    value = float(text)
    if not 0 < value < math.inf:
        raise ValueError
    return value


def interrupt(_: int, frame: FrameType | None) -> None:
    """Handle a signal like SIGINT, whose handler is Trio's while Trio runs."""
    handler = signal.getsignal(signal.SIGINT)
    assert callable(handler)
    handler(signal.SIGINT, frame)


def run_selected(scenarios: Sequence[Scenario], scale: Scale) -> int:
    """Run the scenarios and print their rows; return the exit status."""
    print(row(HEAD), row(["---"] * len(HEAD)), sep="\n", flush=True)
    is_broken = False
    for scenario, report in run_all(scenarios, scale):
        print(row(cells(scenario, report)), flush=True)
        for text in report.broken:
            is_broken = True
            print(f"{scenario.name}: {text}", file=sys.stderr)
    return int(is_broken)


def run_all(scenarios: Sequence[Scenario], scale: Scale) -> Iterator[tuple[Scenario, Report]]:
    """Run one scenario after the other; start each kind of platform when it is first needed."""
    with tempfile.TemporaryDirectory(prefix="rookery-faults-") as folder, ExitStack() as stack:
        stages: dict[str, Stage] = {}
        for scenario in scenarios:
            if scenario.where not in stages:
                start = running_up if scenario.where == "up" else running_stage
                stages[scenario.where] = stack.enter_context(start(Path(folder) / scenario.where, scale))
            yield scenario, trio.run(stages[scenario.where].run, scenario.inject)


def cells(scenario: Scenario, report: Report) -> list[str]:
    result = report.result
    if result is None:
        return [scenario.fault, scenario.promise, "", "", "", "", "; ".join(report.measured), "not judged"]
    outage = f"{result.outages.p99 / 1000:.1f} s" if result.outages.count else "none"
    return [
        scenario.fault,
        scenario.promise,
        f"{result.accepted:,} of {result.sent:,}",
        "; ".join(f"{count:,}: {refusal}" for refusal, count in sorted(result.refused.items())) or "none",
        f"{result.reconnects:,}",
        outage,
        "; ".join(report.measured),
        f"{len(report.broken)} broken" if report.broken else "kept",
    ]


def row(values: Sequence[str]) -> str:
    return f"| {' | '.join(value.replace('|', '/') for value in values)} |"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
