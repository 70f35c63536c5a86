"""Cassandra with JMX on loopback, and its nodetool, from the same jars."""

import subprocess
from typing import ClassVar

from tools.engines.cassandra import Cassandra

NODETOOL_SECONDS = 120.0
"""Seconds for one command, which starts a JVM; only ends a test that has failed."""


class ManagedCassandra(Cassandra):
    """Cassandra on which nodetool works."""

    inner_ports: ClassVar[tuple[str, ...]] = ("storage_port", "jmx_port")

    def command(self, ports: dict[str, int]) -> list[str]:
        java, *words = super().command(ports)
        return [java, f"-Dcassandra.jmx.local.port={ports['jmx_port']}", *words]

    def nodetool(self, *words: str) -> str:
        """Run `nodetool`; return its output."""
        to = ["-h", self.host, "-p", str(self._ports["jmx_port"])]
        command = self.java(f"-Duser.home={self.home}", "org.apache.cassandra.tools.NodeTool", *to, *words)
        done = subprocess.run(
            command, cwd=self.home, capture_output=True, text=True, timeout=NODETOOL_SECONDS, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, (words, done.stdout[-2000:], done.stderr[-2000:])
        return done.stdout
