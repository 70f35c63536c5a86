"""The CPU of a message and a call, and the memory of an idle stream, in our gRPC server, purerpc's and grpcio's:

python -m benchmarks.rpc [--rounds 5] [--server NAME ...]

Every server is a process of its own, and gets the same load from grpcio's client in this one. CPU is the server
process's, all threads. The servers take turns within a round; the table has the medians of the rounds, and in brackets
how much that is of ours.
"""

import argparse
import queue
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack, contextmanager
from dataclasses import dataclass
from statistics import median

import grpc
import trio

from benchmarks.rpc_servers import COUNT, ECHO, HOST, IDLE, SEND, SERVERS
from rookery.load.process import resident_bytes
from rookery.v1.archive_pb2 import GetChatRequest
from rookery.v1.session_grpc import SessionServiceStub
from rookery.v1.session_pb2 import ClientFrame, Ping
from shared.rpc import open_channel, open_stream

OURS = next(iter(SERVERS))

GET_CHAT, CONNECT = "/rookery.v1.ArchiveService/GetChat", "/rookery.v1.SessionService/Connect"

IN_FLIGHT = 16
"""Concurrent unary calls of the last load."""

WARM_STREAMS, IDLE_STREAMS = 50, 300
"""Idle streams before the first reading of the memory, and idle streams that are then measured, each on a connection of
its own."""


def ping(payload: bytes) -> bytes:
    return ClientFrame(ping=Ping(payload=payload)).SerializeToString()


MESSAGE = ping(b"x" * 256)
REQUEST = GetChatRequest(user_id=1, chat_id="d-1-2").SerializeToString()


@dataclass(frozen=True, slots=True)
class Load:
    """One kind of work: `run` repeats it `count` times over a channel. `budget` is in microseconds of CPU per item."""

    name: str
    count: int
    run: Callable[[grpc.Channel, int], None]
    budget: float | None = None


def send_all(channel: grpc.Channel, count: int) -> None:
    def frames() -> Iterator[bytes]:
        yield ping(COUNT)
        for _ in range(count):
            yield MESSAGE

    answers = list(channel.stream_stream(CONNECT)(frames()))
    assert len(answers) == 1


def receive_all(channel: grpc.Channel, count: int) -> None:
    answers = channel.stream_stream(CONNECT)(iter([ping(b"%s %d" % (SEND, count))]))
    assert sum(1 for _ in answers) == count


def echo(channel: grpc.Channel, count: int) -> None:
    frames: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    answers = channel.stream_stream(CONNECT)(iter(frames.get, None))
    frames.put(ping(ECHO))
    for _ in range(count):
        frames.put(MESSAGE)
        next(answers)
    frames.put(None)
    assert list(answers) == []


def call(channel: grpc.Channel, count: int) -> None:
    get_chat = channel.unary_unary(GET_CHAT)
    for _ in range(count):
        get_chat(REQUEST)


def call_many_at_once(channel: grpc.Channel, count: int) -> None:
    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        for done in [threads.submit(call, channel, count // IN_FLIGHT) for _ in range(IN_FLIGHT)]:
            done.result()


LOADS = (
    Load("streamed message in", 20_000, send_all, budget=25),
    Load("streamed message out", 20_000, receive_all, budget=25),
    Load("bidirectional echo, 1 in flight", 3_000, echo),
    Load("unary call, 1 in flight", 1_000, call, budget=700),
    Load(f"unary call, {IN_FLIGHT} in flight", 2_000, call_many_at_once, budget=700),
)

IDLE_BUDGET = 48.0
"""KiB."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server."""

    pid: int
    port: int

    def cpu_seconds(self) -> float:
        """User and system time of all threads so far, in nanosecond steps, by the clock of clock_getcpuclockid(3)."""
        return time.clock_gettime((~self.pid << 3) | 2)


@contextmanager
def running(name: str) -> Iterator[Server]:
    command = [sys.executable, "-m", "benchmarks.rpc_servers", name]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        try:
            yield Server(process.pid, int(process.stdout.readline()))
        finally:
            process.kill()


@contextmanager
def connected(server: Server) -> Iterator[grpc.Channel]:
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(f"{HOST}:{server.port}", options=options) as channel:
        yield channel


def microseconds_each(server: Server, channel: grpc.Channel, load: Load) -> float:
    """Return the server's CPU per item."""
    before = server.cpu_seconds()
    load.run(channel, load.count)
    return (server.cpu_seconds() - before) / load.count * 1_000_000


def in_turn(names: Sequence[str], number: int) -> Sequence[str]:
    """Return the order of a round: each server is first in turn, since the first of a load takes a little more CPU."""
    first = number % len(names)
    return [*names[first:], *names[:first]]


def measure_loads(names: Sequence[str], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the microseconds of each round, by the names of the load and the server."""
    with ExitStack() as stack:
        servers = {name: stack.enter_context(running(name)) for name in names}
        channels = {name: stack.enter_context(connected(server)) for name, server in servers.items()}
        measured: dict[str, dict[str, list[float]]] = {load.name: {name: [] for name in names} for load in LOADS}
        for number in range(rounds + 1):
            for load in LOADS:
                for name in in_turn(names, number):
                    each = microseconds_each(servers[name], channels[name], load)
                    if number:  # the first round warms up
                        measured[load.name][name].append(each)
        return measured


async def idle_kibibytes(server: Server) -> float:
    """Return the server's memory per idle stream, each on a connection of its own."""
    async with AsyncExitStack() as stack:

        async def open_idle(count: int) -> None:
            for _ in range(count):
                channel = await stack.enter_async_context(open_channel(HOST, server.port))
                stream = await stack.enter_async_context(open_stream(SessionServiceStub(channel).Connect))
                await stream.send(ClientFrame(ping=Ping(payload=IDLE)))
                assert await stream.receive() is not None

        await open_idle(WARM_STREAMS)
        before = resident_bytes(server.pid)
        await open_idle(IDLE_STREAMS)
        return (resident_bytes(server.pid) - before) / IDLE_STREAMS / 1024


def measure_idle(names: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Return the KiB of each round, each in a new process, by the server's name."""
    measured: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            with running(name) as server:
                measured[name].append(trio.run(idle_kibibytes, server))
    return measured


def row(name: str, measured: dict[str, list[float]], budget: float | None) -> str:
    medians = {server: median(values) for server, values in measured.items()}
    ours = medians.get(OURS)
    cells = [name, "" if budget is None else f"{budget:g}"]
    for server, value in medians.items():
        cells.append(f"{value:.1f}" if ours is None or server == OURS else f"{value:.1f} ({value / ours:.2f})")
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description="What gRPC costs a server.")
    parser.add_argument("--rounds", type=int, default=5, help="those with each server first are fair")
    parser.add_argument("--server", action="append", choices=list(SERVERS), help="by default all")
    options = parser.parse_args()
    names = options.server or list(SERVERS)
    print(f"| CPU in µs, memory in KiB | budget | {' | '.join(names)} |\n| --- | --- |{' --- |' * len(names)}")
    for name, measured in measure_loads(names, options.rounds).items():
        print(row(name, measured, next(load.budget for load in LOADS if load.name == name)))
    print(row("idle stream", measure_idle(names, min(options.rounds, 3)), IDLE_BUDGET))


if __name__ == "__main__":
    main()
