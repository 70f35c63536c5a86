"""The relay between a process and a server delays, holds and drops."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from tools.launch.relay import Relay, running_relay


class Echo(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        while data := self.request.recv(100):
            self.request.sendall(data)


@pytest.fixture
def relay() -> Iterator[Relay]:
    """In front of an echo server."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=[0.01]).start()
        with running_relay(f"127.0.0.1:{server.server_address[1]}") as relay:
            yield relay
        server.shutdown()


def test_bytes_pass_late_or_once_they_are_no_longer_held(relay: Relay) -> None:
    with closing(socket.create_connection(("127.0.0.1", relay.port), timeout=10)) as client:
        client.sendall(b"at once")
        assert client.recv(100) == b"at once"
        relay.delay(0.1)
        begin = time.monotonic()
        client.sendall(b"late")
        assert client.recv(100) == b"late"
        assert time.monotonic() - begin >= 0.2  # there and back
        relay.hold()
        client.sendall(b"held")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(100)
        relay.delay(0)
        client.settimeout(10)
        assert client.recv(100) == b"held"


def test_dropped_connections_end_and_new_ones_are_held(relay: Relay) -> None:
    with closing(socket.create_connection(("127.0.0.1", relay.port), timeout=10)) as client:
        client.sendall(b"open")
        assert client.recv(100) == b"open"
        relay.drop()
        assert client.recv(100) == b""
    with closing(socket.create_connection(("127.0.0.1", relay.port), timeout=10)) as client:
        client.sendall(b"new")
        relay.delay(0)
        assert client.recv(100) == b"new"


def test_the_connections_that_an_interruption_affects_are_counted(relay: Relay) -> None:
    relay.hold()
    assert relay.delay(0.0) == 0
    with closing(socket.create_connection(("127.0.0.1", relay.port), timeout=10)) as client:
        client.sendall(b"open")
        assert client.recv(100) == b"open"
        relay.drop()
        assert client.recv(100) == b""
        assert relay.delay(0.0) == 1
