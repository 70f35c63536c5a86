"""Chat at 200 messages a second, alone and while 20 users upload and download files through the same platform:

    python -m benchmarks.files_beside_chat [--engines] [--rounds 2] [--seconds 20] [--file-bytes 16000000]

The platform is one process, or on Kafka, Cassandra and Redis one of each role, with the files in a folder: so files and
messages share no process. Chat and files are two runs of `rookery load` on the same machine.
"""

import argparse
import json
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.messages import WARM_UP_SECONDS, a_process_each, new
from tools.engines.install import exit_if_missing
from tools.launch.cluster import running_engines
from tools.launch.process import ROOKERY, Rookery, running

CHAT = ("--users", "100", "--rate", "200")
FILES = ("--users", "20", "--rate", "2", "--files", "20")

LEAD_SECONDS = 5.0
"""Seconds of files before and after the chat beside them."""

MOST_TIMES = 1.5
"""The budget: p99 of chat beside files, in multiples of p99 without."""


def main() -> None:
    options = parse()
    with TemporaryDirectory(dir=options.folder) as directory, platform(Path(directory), options.engines) as url:
        for _ in range(options.rounds):
            measure(url, options.seconds, options.file_bytes)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engines", action="store_true", help="on Kafka, Cassandra and Redis")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each run (%(default)s)")
    parser.add_argument("--file-bytes", type=int, default=16_000_000, help="of each file (%(default)s)")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    return parser.parse_args()


@contextmanager
def platform(folder: Path, on_engines: bool) -> Iterator[str]:
    """Start the platform, and yield its URL."""
    if not on_engines:
        with running(Rookery(folder / "data")) as rookery:
            yield rookery.url
        return
    with (
        running_engines(folder / "engines") as engines,
        a_process_each(new(folder / "platform"), engines) as (url, _),
    ):
        run(url, CHAT, WARM_UP_SECONDS)
        yield url


def measure(url: str, seconds: float, file_bytes: int) -> None:
    """Print the latencies of chat alone and beside files, and the speed of the files."""
    alone = run(url, CHAT, seconds)["report"]["delivered"]
    words = (*FILES, "--file-bytes", str(file_bytes))
    with subprocess.Popen(command(url, words, seconds + 2 * LEAD_SECONDS), stdout=subprocess.PIPE) as process:
        time.sleep(LEAD_SECONDS)
        beside = run(url, CHAT, seconds)["report"]["delivered"]
        output, _ = process.communicate()
    assert process.returncode == 0
    files = json.loads(output)["files"]
    assert not files["failures"], files
    megabytes = (files["uploaded_per_second"] + files["downloaded_per_second"]) / 1e6
    times = beside["p99"] / alone["p99"]
    print(
        f"chat alone p50 {alone['p50']:.1f}, p99 {alone['p99']:.1f} ms; beside {megabytes:.0f} MB/s of files "
        f"p50 {beside['p50']:.1f}, p99 {beside['p99']:.1f} ms: {times:.1f} times, "
        f"{'kept' if times <= MOST_TIMES else f'EXCEEDED, at most {MOST_TIMES}'}",
        flush=True,
    )


def run(url: str, words: Sequence[str], seconds: float) -> dict[str, Any]:
    """Run the load, and return its result; no message may be lost, refused or unanswered."""
    done = subprocess.run(command(url, words, seconds), check=True, stdout=subprocess.PIPE)
    result: dict[str, Any] = json.loads(done.stdout)
    report = result["report"]
    failures = [report[name] for name in ("lost", "unanswered", "duplicates", "refused", "errors")]
    assert failures == [0, 0, 0, {}, {}], report
    return result


def command(url: str, words: Sequence[str], seconds: float) -> list[str]:
    return [str(ROOKERY), "load", "--url", url, *words, "--seconds", str(seconds), "--json"]


if __name__ == "__main__":
    with exit_if_missing():
        main()
