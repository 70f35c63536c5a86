"""Redis without persistence, unless its options enable it."""

import re
import socket

from tools.engines.engine import ANSWER_SECONDS, Engine
from tools.engines.install import install_lock, need_program

DURABLE = {"appendonly": "yes", "appendfsync": "always"}
"""Options with which a killed server loses no acknowledged write."""


class Redis(Engine):
    """Its options are keys of redis.conf."""

    name = "redis"
    request = b"PING\r\n"
    reply = re.compile(rb"\+PONG")

    @classmethod
    def install(cls) -> None:
        with install_lock():
            need_program("redis-server", "redis-server")

    @property
    def url(self) -> str:
        """URL of database 0."""
        return f"redis://{self.address}/0"

    def command(self, ports: dict[str, int]) -> list[str]:
        options = {"bind": self.host, "port": str(ports["port"]), "dir": str(self.home), "save": "", "appendonly": "no"}
        words = [(f"--{name}", value) for name, value in (options | self.options).items() if value is not None]
        return ["redis-server", *(word for pair in words for word in pair)]

    def empty(self) -> None:
        """Delete all keys of all databases."""
        with socket.create_connection((self.host, self.port), timeout=ANSWER_SECONDS) as client:
            client.sendall(b"FLUSHALL\r\n")
            assert client.recv(64) == b"+OK\r\n"
