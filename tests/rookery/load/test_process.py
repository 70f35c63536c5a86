"""The readings from /proc, of this process."""

import os
import socket
import subprocess
import sys

from rookery.load.process import cpu_seconds, difference, pid_listening_on, resident_bytes, total


def test_the_process_on_a_port_and_its_use_are_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        assert pid_listening_on(listener.getsockname()[1]) == os.getpid()
    assert cpu_seconds(os.getpid()) > 0
    assert resident_bytes(os.getpid()) > 1024**2


def test_a_total_of_processes_of_which_one_is_gone_is_unknown() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    memory = total(resident_bytes, [os.getpid()])
    assert memory is not None
    assert memory > 1024**2
    assert total(resident_bytes, []) is total(resident_bytes, [os.getpid(), gone.pid]) is None
    assert difference(None, memory) is difference(memory, None) is None
