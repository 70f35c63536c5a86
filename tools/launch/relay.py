"""A TCP relay in front of a server: a network that delays bytes, or carries none.

python -m tools.launch.relay PORT HOST:PORT
"""

import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import trio

from tools.engines.engine import HOST, free_port

CHUNK = 65_536
"""Most bytes that one direction of a connection holds; more wait at their sender."""


class Relay:
    """A relay in a process of its own, so that it does not wait for the caller. Made by `running_relay`."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.port = port
        self._process = process

    @property
    def address(self) -> str:
        """Host and port at which it accepts connections."""
        return f"{HOST}:{self.port}"

    def delay(self, seconds: float) -> int:
        """Delay every chunk of bytes from now on; 0 ends that. Connections stay open. Return the number of connections
        that the former delay, holding or drop has affected."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{seconds}\n")
        self._process.stdin.flush()
        affected = self._process.stdout.readline()
        assert affected, "the relay has ended"
        return int(affected)

    def hold(self) -> None:
        """Let nothing pass until the next `delay`. Then the bytes that were sent meanwhile arrive, as with TCP."""
        self.delay(math.inf)

    def drop(self) -> None:
        """Reset all connections, then hold the new ones until the next `delay`."""
        self.delay(-1.0)


@contextmanager
def running_relay(target: str, port: int = 0) -> Iterator[Relay]:
    """Relay connections to `target`, a host and a port, until the end of the block or of this process."""
    port = port or free_port()
    words = [sys.executable, "-m", "tools.launch.relay", str(port), target]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        relay = Relay(process, port)
        relay.delay(0.0)  # answered once it listens
        try:
            yield relay
        finally:
            process.kill()


class Network:
    """The state that all connections share, and the relaying."""

    def __init__(self, target: str) -> None:
        host, _, port = target.rpartition(":")
        self._target = host, int(port)
        self._delay = 0.0
        self._changed = trio.Event()
        self._connections: set[trio.CancelScope] = set()
        self._affected = 0
        """The connections that were open under the present delay."""

    def set_delay(self, seconds: float) -> int:
        """Below 0: reset all connections, and hold the new ones. Return the number of connections that were open under
        the former delay."""
        affected, self._affected = self._affected, len(self._connections)
        self._delay = seconds if seconds >= 0 else math.inf
        if seconds < 0:
            for connection in self._connections:
                connection.cancel()
        self._changed.set()
        self._changed = trio.Event()
        return affected

    async def serve(self, client: trio.SocketStream) -> None:
        """Relay one connection until it ends."""
        with trio.CancelScope() as connection:
            self._connections.add(connection)
            self._affected += 1
            try:
                async with client, await trio.open_tcp_stream(*self._target) as server, trio.open_nursery() as nursery:
                    nursery.start_soon(self._relay, client, server)
                    await self._relay(server, client)
                    nursery.cancel_scope.cancel()
            except* (OSError, trio.BrokenResourceError):
                pass
            finally:
                self._connections.discard(connection)

    async def _relay(self, source: trio.SocketStream, sink: trio.SocketStream) -> None:
        while data := await source.receive_some(CHUNK):
            await self._wait()
            await sink.send_all(data)
        await sink.send_eof()

    async def _wait(self) -> None:
        begin = trio.current_time()
        while (left := begin + self._delay - trio.current_time()) > 0:
            with trio.move_on_after(left):
                await self._changed.wait()


async def main(port: str, target: str) -> None:
    """Relay until standard input ends; each of its lines is a delay, which is answered by the number of connections
    under the former one."""
    network = Network(target)
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_tcp, network.serve, int(port), host=HOST))
        while line := await trio.to_thread.run_sync(sys.stdin.readline, abandon_on_cancel=True):
            print(network.set_delay(float(line)), flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
