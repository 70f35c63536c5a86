"""Real Kafka, Cassandra and Redis servers on loopback, from the command line.

    python -m tools.engines install [NAME...]      fetch what is missing and make it ready to start
    python -m tools.engines up DATA [NAME...]      start servers, wait until each answers, print their addresses
    python -m tools.engines down DATA [NAME...]    stop what `up` started on DATA; the data stays

Without a NAME (kafka, cassandra, redis) a command is for all three.
"""

import argparse
import json
from pathlib import Path

from tools.engines.cassandra import Cassandra
from tools.engines.engine import Backend, start_all
from tools.engines.install import ending_if_missing
from tools.engines.kafka import Kafka
from tools.engines.redis import Redis

KINDS: dict[str, type[Backend]] = {kind.name: kind for kind in (Kafka, Cassandra, Redis)}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("install", "up", "down"):
        command = commands.add_parser(name)
        if name != "install":
            command.add_argument("data", type=lambda text: Path(text).resolve())
        command.add_argument("names", nargs="*", metavar="NAME")
        if name == "up":
            command.add_argument("--port", action="append", default=[], metavar="NAME=N", help="instead of a free one")
        if name == "down":
            command.add_argument("--kill", action="store_true", help="by SIGKILL, as in a crash")
    options = parser.parse_args()
    if unknown := set(options.names) - set(KINDS):
        parser.error(f"no such server: {', '.join(sorted(unknown))}")
    return options


def main() -> None:
    options = parse()
    kinds = [KINDS[name] for name in options.names or KINDS]
    if options.command != "down":
        for kind in kinds:
            kind.install()
    if options.command == "up":
        ports = {name: int(port) for name, _, port in (text.partition("=") for text in options.port)}
        backends = [kind(options.data / kind.name, port=ports.get(kind.name), lasting=True) for kind in kinds]
        start_all(backends)
        print(json.dumps({backend.name: backend.address for backend in backends}))
    elif options.command == "down":
        for kind in kinds:
            backend = kind(options.data / kind.name)
            backend.kill() if options.kill else backend.stop()


if __name__ == "__main__":
    with ending_if_missing():
        main()
