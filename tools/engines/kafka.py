"""A Kafka of one node, broker and controller at once."""

import re
import shutil
import struct

from tools.engines.engine import HOST
from tools.engines.install import run_quietly
from tools.engines.java import JavaBackend

CLUSTER_ID = "cm9va2VyeS10ZXN0cy1pZA"
"""Any 16 bytes, in base64."""


class Kafka(JavaBackend):
    """Its options are those of server.properties."""

    name = "kafka"
    inner_ports = ("controller_port",)
    # ApiVersions, version 0: size, key, version, correlation id, no client id; answered without an error
    request = struct.pack(">ihhih", 10, 18, 0, 7, -1)
    reply = re.compile(rb"....\x00\x00\x00\x07\x00\x00", re.DOTALL)

    @classmethod
    def prepare(cls) -> None:
        """Format an empty log folder, to be copied: cheaper than a JVM for each instance."""
        config = cls.installed() / "server.properties"
        blanks = {"data": cls.installed(), "host": HOST, "port": 1, "controller_port": 2}
        config.write_text(cls.fill_in("server.properties", **blanks))
        run_quietly(
            cls.java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", config),
            "Kafka can't format its log folder",
        )

    def command(self, ports: dict[str, int]) -> list[str]:
        if not (self.home / "logs").exists():
            shutil.copytree(self.installed() / "logs", self.home / "logs")
        config = self.home / "server.properties"
        # Of a name that is there twice, the last one counts.
        own = "".join(f"{name}={value}\n" for name, value in self.options.items() if value is not None)
        config.write_text(self.fill_in("server.properties", data=self.home, host=self.host, **ports) + own)
        return self.server(f"-Dlog4j2.configurationFile={self.source() / 'log4j2.properties'}", "kafka.Kafka", config)
