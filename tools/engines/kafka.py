"""Kafka with one node, which is broker and controller."""

import re
import shutil
import struct
from string import Template

from tools.engines.engine import HOST
from tools.engines.install import run_quietly
from tools.engines.java import JavaEngine

CLUSTER_ID = "cm9va2VyeS10ZXN0cy1pZA"
"""Any 16 bytes, in base64."""


def behind_relay(inner_port: int, relay_port: int) -> dict[str, str]:
    """Options of a second listener, on `inner_port`, for clients whose relay to it listens on `relay_port`: a broker
    names the addresses at which its clients connect next."""
    return {
        "listeners": f"CLIENT://${{host}}:${{port}},CONTROLLER://127.0.0.1:${{controller_port}},RELAYED://{HOST}:{inner_port}",
        "advertised.listeners": f"CLIENT://${{host}}:${{port}},RELAYED://{HOST}:{relay_port}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT,RELAYED:PLAINTEXT",
    }


class Kafka(JavaEngine):
    """Its options are keys of server.properties. In their values, `${host}`, `${port}` and `${controller_port}` are its
    own."""

    name = "kafka"
    inner_ports = ("controller_port",)
    # ApiVersions, version 0: size, key, version, correlation id, no client id; the reply has error code 0
    request = struct.pack(">ihhih", 10, 18, 0, 7, -1)
    reply = re.compile(rb"....\x00\x00\x00\x07\x00\x00", re.DOTALL)

    @classmethod
    def prepare(cls) -> None:
        """Format an empty log folder once; instances copy it, which is cheaper than a JVM for each."""
        config = cls.installed() / "server.properties"
        values = {"data": cls.installed(), "host": HOST, "port": 1, "controller_port": 2}
        config.write_text(cls.render("server.properties", **values))
        run_quietly(
            cls.java("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", config),
            "Kafka can't format its log folder",
        )

    def command(self, ports: dict[str, int]) -> list[str]:
        if not (self.home / "logs").exists():
            shutil.copytree(self.installed() / "logs", self.home / "logs")
        config = self.home / "server.properties"
        # The last value of a key wins.
        own = "".join(f"{name}={value}\n" for name, value in self.options.items() if value is not None)
        own = Template(own).substitute(host=self.host, **ports)
        config.write_text(self.render("server.properties", data=self.home, host=self.host, **ports) + own)
        return self.server(f"-Dlog4j2.configurationFile={self.source() / 'log4j2.properties'}", "kafka.Kafka", config)
