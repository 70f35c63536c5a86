"""Install, start and stop engines on loopback, from the command line.

    python -m tools.engines install [NAME...]      download missing engines
    python -m tools.engines up DATA [NAME...]      start engines, wait until each is ready, print their addresses
    python -m tools.engines down DATA [NAME...]    stop the engines that `up` started on DATA; keep the data

NAME is a field of `Engines` in kinds.py, such as kafka; default: all.
"""

import argparse
import json
from pathlib import Path

from tools.engines.engine import start_all
from tools.engines.install import exit_if_missing
from tools.engines.kinds import KINDS


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("install", "up", "down"):
        command = commands.add_parser(name)
        if name != "install":
            command.add_argument("data", type=lambda text: Path(text).resolve())
        command.add_argument("names", nargs="*", metavar="NAME")
        if name == "up":
            command.add_argument("--port", action="append", default=[], metavar="NAME=N", help="default: a free port")
        if name == "down":
            command.add_argument("--kill", action="store_true", help="send SIGKILL")
    options = parser.parse_args()
    if unknown := set(options.names) - set(KINDS):
        parser.error(f"no such engine: {', '.join(sorted(unknown))}")
    return options


def main() -> None:
    options = parse()
    kinds = [KINDS[name] for name in options.names or KINDS]
    if options.command != "down":
        for kind in kinds:
            kind.install()
    if options.command == "up":
        ports = {name: int(port) for name, _, port in (text.partition("=") for text in options.port)}
        engines = [kind(options.data / kind.name, port=ports.get(kind.name), lasting=True) for kind in kinds]
        start_all(engines)
        print(json.dumps({engine.name: engine.address for engine in engines}))
    elif options.command == "down":
        for kind in kinds:
            engine = kind(options.data / kind.name)
            engine.kill() if options.kill else engine.stop()


if __name__ == "__main__":
    with exit_if_missing():
        main()
