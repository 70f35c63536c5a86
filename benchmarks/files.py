"""The speed of the stores of files, their CPU, and the memory that the process gains:

    python -m benchmarks.files [--clients 20] [--parts 8] [--folder /var/tmp] [--endpoint http://127.0.0.1:9000]

Each client uploads one file in parts of 8 MiB, and then reads it. Without an endpoint, S3 is Moto, a server for tests
that holds everything in memory and does not compute fast; a given one needs a bucket `rookery` with any keys.
"""

import argparse
import os
import resource
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from pydantic import SecretStr

from rookery.load.process import resident_bytes
from shared.files.folder import open_folder_files
from shared.files.protocol import FileStore
from shared.files.s3.store import open_s3_files
from shared.settings import FilesSettings
from tools.engines.engine import running
from tools.engines.install import exit_if_missing
from tools.engines.moto import Moto

PART_BYTES = 8 << 20

CHUNK = bytes(range(256)) * 256
"""64 KiB, as a request's body comes."""

OpenFiles = Callable[[], AbstractAsyncContextManager[FileStore]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=20)
    parser.add_argument("--parts", type=int, default=8, help="of each file (%(default)s)")
    parser.add_argument("--folder", type=Path, help="on the disk to be measured")
    parser.add_argument("--endpoint", help="of an object store")
    options = parser.parse_args()
    with TemporaryDirectory(dir=options.folder) as directory:
        folder = Path(directory)
        trio.run(measure, "folder", lambda: open_folder_files(folder / "files"), options.clients, options.parts)
        if options.endpoint:
            measure_s3(options.endpoint, options)
        else:
            Moto.install()
            with running(Moto(folder / "moto")) as moto:
                moto.create_bucket("rookery")
                measure_s3(moto.url, options)


def measure_s3(endpoint: str, options: argparse.Namespace) -> None:
    settings = FilesSettings(
        url="s3://rookery", endpoint=endpoint, access_key="key", secret_key=SecretStr("secret"), timeout_seconds=120
    )
    trio.run(measure, "S3", lambda: open_s3_files(settings), options.clients, options.parts)


async def measure(name: str, open_files: OpenFiles, clients: int, parts: int) -> None:
    async with open_files() as files:
        await upload(files, "warm/up", 1)
        await download(files, "warm/up")
        await measure_all(f"{name}, write", clients, parts, lambda client: upload(files, f"file/{client}", parts))
        await measure_all(f"{name}, read", clients, parts, lambda client: download(files, f"file/{client}"))


async def measure_all(name: str, clients: int, parts: int, act: Callable[[int], Awaitable[None]]) -> None:
    """Let the clients act at once, and print the time, the CPU and the memory."""
    memory, began, cpu = resident_bytes(os.getpid()), time.perf_counter(), time.process_time()
    async with trio.open_nursery() as nursery:
        for client in range(clients):
            nursery.start_soon(act, client)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    megabytes = clients * parts * PART_BYTES / 1e6
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - memory
    print(
        f"{name:14} {megabytes / seconds:6.0f} MB/s, {megabytes / cpu:6.0f} MB for each second of CPU, "
        f"{max(peak, 0) / 1e6:.0f} MB of memory more"
    )


async def upload(files: FileStore, key: str, parts: int) -> None:
    upload_id = await files.begin(key)
    stored = []
    for number in range(1, parts + 1):
        async with aclosing(part()) as content:
            stored.append(await files.write_part(key, upload_id, number, content, PART_BYTES))
    await files.finish(key, upload_id, stored)


async def part() -> AsyncGenerator[bytes, None]:
    for _ in range(PART_BYTES // len(CHUNK)):
        await trio.lowlevel.checkpoint()
        yield CHUNK


async def download(files: FileStore, key: str) -> None:
    async with files.read(key) as chunks:
        async for _ in chunks:
            pass


if __name__ == "__main__":
    with exit_if_missing():
        main()
