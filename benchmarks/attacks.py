"""Attacks without an account on Rookery, on a server of grpc-go, and on nginx, as docs/reliability.md compares them:

    python -m benchmarks.attacks [--only hold_connections]

Needs Go, and nginx if it is to be attacked. Each server may open FILES files, and takes messages of 1 MiB. Memory and
CPU are the server's alone; latencies are the machine's, which the attacker shares.
"""

import argparse
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import product
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

import grpc
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, RstStreamFrame, SettingsFrame

from rookery.load.process import cpu_seconds, resident_bytes
from tools.engines.engine import free_port
from tools.launch.process import ROOKERY, Rookery, port_of, running
from tools.toolchains import go_programs

ROOT = Path(__file__).parents[1]
MIB = 1024 * 1024

FILES = 1_000
"""Limit of each server on open files."""

HELD = 2_500
"""Connections that an attacker opens, from ADDRESSES addresses."""

ADDRESSES = 10

BOMBS = 600
"""Calls with 4 MiB of zeros, compressed."""

PACKED = 240
"""Calls with an unfinished request of almost 1 MiB, compressed."""

CALLS = 20_000
"""Calls of an unknown method; and calls that are opened and cancelled, over TEN connections."""

TEN = 10

FRAMES = 200_000
"""Frames of one byte on a stream that is closed."""

NEW_CLIENTS = 5

PATIENCE = 20.0
"""Seconds for a new client to be served."""

SILENCE = 5.0
"""Seconds without a byte after which a server has answered all it will."""

FRAME_HEAD = 9
"""Bytes of the head of a frame."""

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SettingsFrame(0).serialize()

NGINX = """
daemon off; master_process off; pid {folder}/pid; error_log {folder}/errors; worker_rlimit_nofile {files};
events {{ worker_connections {files}; }}
http {{
  access_log off;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
  uwsgi_temp_path {folder}; scgi_temp_path {folder};
  limit_conn_zone $binary_remote_addr zone=clients:1m; limit_conn clients 250;
  server {{ listen 127.0.0.1:{port}; location /livez {{ return 200 "ok"; }} location / {{ root {folder}; }} }}
}}
"""

HEADS = {
    "a head of 64,000 bytes in one burst": f"GET /livez HTTP/1.1\r\nHost: x\r\nX: {'a' * 64_000}\r\n\r\n",
    "a path segment of 300 bytes": f"GET /{'a' * 300}.js HTTP/1.1\r\nHost: x\r\n\r\n",
    "Content-Length with Transfer-Encoding": (
        "POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "HTTP/3.0": "GET /livez HTTP/3.0\r\nHost: x\r\n\r\n",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A running server, as one of its ports is attacked."""

    name: str
    pid: int
    port: int
    probe: Callable[[], bool]
    """Whether a new client is served in time."""
    stream: str = ""
    """A method that streams; empty unless the port serves gRPC."""
    unary: str = ""
    """A method that takes one message."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="ATTACK", help="a function of this module, such as hold_connections")
    only = parser.parse_args().only
    with TemporaryDirectory() as directory, ExitStack() as stack:
        folder = Path(directory)
        rookery = stack.enter_context(open_rookery(folder))
        name, pid, port, page = "Rookery", rookery.process.pid, port_of(rookery.grpc), port_of(rookery.url)
        livez, methods = (
            partial(answers_livez, page),
            ("/rookery.v1.SessionService/Connect", "/grpc.health.v1.Health/Check"),
        )
        of_grpc = [Server(name, pid, port, livez, *methods), stack.enter_context(open_grpc_go(folder))]
        of_http = [
            Server(name, pid, page, livez),
            *([stack.enter_context(open_nginx(folder))] if shutil.which("nginx") else []),
        ]
        held = Server(f"{name}, gRPC", pid, port, partial(answers_ping, port), *methods)
        attacks = [
            *product((call_with_bombs, hold_packed, call_unknown, send_on_closed, cancel_calls), of_grpc),
            *product((send_heads, hold_connections), of_http),
            *product((hold_connections,), (held, of_grpc[1])),
        ]
        for attack, server in attacks:
            if only in (None, attack.__name__):
                report(attack, server)


def report(attack: Callable[[Server], str], server: Server) -> None:
    assert attack.__doc__ is not None
    cpu = cpu_seconds(server.pid)
    result = attack(server)
    print(f"| {attack.__doc__} | {server.name} | {result} | {cpu_seconds(server.pid) - cpu:.2f} s of CPU |", flush=True)


def limited(command: Sequence[object]) -> list[str]:
    """The command under the limit on open files."""
    return ["sh", "-c", f'ulimit -n {FILES}; exec "$@"', "sh", *map(str, command)]


@contextmanager
def open_rookery(folder: Path) -> Iterator[Rookery]:
    program = folder / "rookery"
    program.write_text(f'#!/bin/sh\nulimit -n {FILES}\nexec {ROOKERY} "$@"\n')
    program.chmod(0o755)
    rookery = Rookery(folder / "data")
    rookery.program = program
    with running(rookery):
        yield rookery


@contextmanager
def open_grpc_go(folder: Path) -> Iterator[Server]:
    program = go_programs(ROOT / "tests/interop/go", "./server") / "server"
    port = free_port()
    command = [program, "-address", f"127.0.0.1:{port}", "-max_message_bytes", MIB]
    with open_process(command, port, folder / "grpc-go.log") as pid:
        service = "/grpc.testing.TestService"
        yield Server(
            "grpc-go", pid, port, partial(answers_ping, port), f"{service}/FullDuplexCall", f"{service}/EmptyCall"
        )


@contextmanager
def open_nginx(folder: Path) -> Iterator[Server]:
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(NGINX.format(folder=folder, files=FILES, port=port))
    with open_process(["nginx", "-c", file, "-e", folder / "errors"], port, folder / "nginx.log") as pid:
        yield Server("nginx", pid, port, partial(answers_livez, port))


@contextmanager
def open_process(command: Sequence[object], port: int, log: Path) -> Iterator[int]:
    with log.open("w") as output, subprocess.Popen(limited(command), stdout=output, stderr=output) as process:
        try:
            deadline = time.monotonic() + 30
            while not accepts(port):
                if time.monotonic() > deadline:
                    sys.exit(f"{command[0]} does not serve: {log.read_text()}")
                time.sleep(0.05)
            yield process.pid
        finally:
            process.kill()


def accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


class Memory:
    """The most resident memory of a process during the block, and its growth."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._before = self._most = resident_bytes(pid)
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def __str__(self) -> str:
        now = resident_bytes(self._pid)
        return f"{self._before // MIB} → {now // MIB} MiB, at most {self._most // MIB}"

    def _watch(self) -> None:
        while not self._ended.wait(0.02):
            self._most = max(self._most, resident_bytes(self._pid))


def open_channels(server: Server) -> list[grpc.Channel]:
    target, gzip = f"127.0.0.1:{server.port}", grpc.Compression.Gzip
    return [grpc.insecure_channel(target, [("connection", number)], compression=gzip) for number in range(TEN)]


def call_with_bombs(server: Server) -> str:
    """600 calls, each 4 KiB of gzip that unpack to 4 MiB"""
    channels, bomb = open_channels(server), bytes(4 * MIB)
    with Memory(server.pid) as memory:
        for number in range(BOMBS):
            call = channels[number % TEN].stream_stream(server.stream)(iter([bomb]))
            with suppress(grpc.RpcError):
                next(call)
    for channel in channels:
        channel.close()
    return f"memory {memory}"


def hold_packed(server: Server) -> str:
    """240 unfinished requests, each 1 KiB of gzip that unpack to 1 MiB"""
    channels, ended = open_channels(server), threading.Event()

    def request() -> Iterator[bytes]:
        yield bytes(MIB - 100)
        ended.wait(60)

    with Memory(server.pid) as memory:
        calls = [channels[number % TEN].stream_unary(server.unary).future(request()) for number in range(PACKED)]
        time.sleep(5)
        ended.set()
        for call in calls:
            call.exception(timeout=30)
    for channel in channels:
        channel.close()
    return f"memory {memory}"


def call_unknown(server: Server) -> str:
    """20,000 calls of an unknown method"""
    before = cpu_seconds(server.pid)
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        method = channel.unary_unary("/no.such.Service/Method")
        for _ in range(CALLS // 100):
            for call in [method.future(b"") for _ in range(100)]:
                call.exception()
    return f"{(cpu_seconds(server.pid) - before) / CALLS * 1e6:.0f} µs of CPU a call"


def headers(server: Server, stream_id: int, encoder: Encoder) -> bytes:
    pseudo = {":method": "POST", ":scheme": "http", ":path": server.stream, ":authority": "x"}
    fields = [*pseudo.items(), ("te", "trailers"), ("content-type", "application/grpc")]
    return HeadersFrame(stream_id, encoder.encode(fields), flags=["END_HEADERS"]).serialize()


def send_on_closed(server: Server) -> str:
    """200,000 frames of one byte on a closed stream"""
    sent = PREFACE + headers(server, 1, Encoder()) + RstStreamFrame(1).serialize()
    received = send(server.port, sent + DataFrame(1, b"x").serialize() * FRAMES)
    return "ended with GOAWAY" if any(isinstance(each, GoAwayFrame) for each in frames(received)) else "all taken"


def send(port: int, sent: bytes) -> bytes:
    """Send all; return the received bytes once the server has closed the connection, or is silent."""
    received: list[bytes] = []
    with socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0)) as peer:
        reading = threading.Thread(target=lambda: received.append(read_all(peer)))
        reading.start()
        with suppress(OSError):
            peer.sendall(sent)
        reading.join()
    return received[0]


def frames(received: bytes) -> Iterator[Frame]:
    """The complete frames of the received bytes."""
    while len(received) >= FRAME_HEAD:
        frame, size = Frame.parse_frame_header(memoryview(received[:FRAME_HEAD]))
        yield frame
        received = received[FRAME_HEAD + size :]


def read_all(peer: socket.socket) -> bytes:
    """Read until the server closes the connection, or is silent."""
    received = b""
    peer.settimeout(SILENCE)
    with suppress(OSError):
        while data := peer.recv(65_536):
            received += data
    return received


def cancel_calls(server: Server) -> str:
    """20,000 calls over ten connections, opened and cancelled at once"""
    encoder, sent = Encoder(), PREFACE
    for stream_id in range(1, 2 * CALLS // TEN, 2):
        sent += headers(server, stream_id, encoder) + RstStreamFrame(stream_id).serialize()
    attacker = get_context("spawn").Process(target=send_on_ten, args=(server.port, sent))
    attacker.start()
    waits = []
    while attacker.is_alive():
        began, cpu = time.monotonic(), cpu_seconds(server.pid)
        assert server.probe()
        waits.append((cpu_seconds(server.pid) - cpu, time.monotonic() - began))
    cpu, seconds = (max(each) * 1000 for each in zip(*waits, strict=True))
    return f"of {len(waits)} probes, the slowest waited for {cpu:.0f} ms of the server's CPU, {seconds:.0f} ms in all"


def send_on_ten(port: int, sent: bytes) -> None:
    """Send all on each of ten connections, in a process of its own, so that it slows down only the server."""
    peers = [threading.Thread(target=send, args=(port, sent)) for _ in range(TEN)]
    for peer in peers:
        peer.start()
    for peer in peers:
        peer.join()


def send_heads(server: Server) -> str:
    """strange heads"""
    results = []
    for name, head in HEADS.items():
        with socket.create_connection(("127.0.0.1", server.port)) as peer:
            peer.sendall(head.encode() + b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            statuses = [part.split(b" ", 1)[0].decode() for part in read_all(peer).split(b"HTTP/1.1 ")[1:]]
            results.append(f"{name}: {', then '.join(statuses) or 'closed'}")
    return "; ".join(results)


def hold_connections(server: Server) -> str:
    """2,500 connections of ten addresses, kept open"""
    peers = []
    try:
        for number in range(HELD):
            address = f"127.0.0.{2 + number % ADDRESSES}"
            with suppress(OSError):
                peer = socket.create_connection(("127.0.0.1", server.port), timeout=1, source_address=(address, 0))
                peers.append(peer)
                peer.sendall(PREFACE if server.stream else b"GET /")
        served = sum(server.probe() for _ in range(NEW_CLIENTS))
    finally:
        for peer in peers:
            peer.close()
    return f"{served} of {NEW_CLIENTS} new clients served"


def answers_livez(port: int) -> bool:
    """Whether a new client gets an answer over HTTP."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as peer:
        peer.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        return b" 200 " in peer.recv(4_096)
    return False


def answers_ping(port: int) -> bool:
    """Whether a new client gets an answer over HTTP/2."""
    received, answer = b"", PingFrame(0, b"rookery?", flags=["ACK"]).serialize()
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as peer:
        peer.sendall(PREFACE + PingFrame(0, b"rookery?").serialize())
        while answer not in received and (data := peer.recv(4_096)):
            received += data
    return answer in received


if __name__ == "__main__":
    main()
