"""The readings from /proc, of this process."""

import os
import socket

from rookery.load.process import cpu_seconds, pid_listening_on, resident_bytes


def test_the_process_on_a_port_and_its_use_are_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert pid_listening_on(listener.getsockname()[1]) == os.getpid()
    assert cpu_seconds(os.getpid()) > 0
    assert resident_bytes(os.getpid()) > 1024**2
