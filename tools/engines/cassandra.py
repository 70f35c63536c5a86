"""Cassandra with one node."""

import re
import struct
from typing import ClassVar

import yaml

from tools.engines.java import JavaEngine

DURABLE = {"commitlog_sync": "batch", "commitlog_sync_period": None}
"""Options with which a killed node loses no acknowledged write and no table, at the cost of an fsync per write and of
some per change of the schema. Without them it may not find its keyspaces again."""

FORGETFUL = "-Dcassandra.test.flush_local_schema_changes=false"
"""Changes of the schema, of which `rookery migrate` makes dozens, are not flushed to disk one by one."""

PATIENT = {
    f"{name}_timeout": "30s" for name in ("read_request", "range_request", "write_request", "cas_contention", "request")
} | {"native_transport_timeout": "60s"}
"""Timeouts of the node. The defaults of some seconds fail requests on a busy machine."""


class Cassandra(JavaEngine):
    """Its options are keys of cassandra.yaml."""

    name = "cassandra"
    inner_ports: ClassVar[tuple[str, ...]] = ("storage_port",)
    agent = "jamm-"
    # OPTIONS, in a frame of protocol version 4; the reply is SUPPORTED
    request = struct.pack(">BBhBi", 4, 0, 0, 5, 0)
    reply = re.compile(rb"\x84...\x06", re.DOTALL)

    def command(self, ports: dict[str, int]) -> list[str]:
        options = yaml.safe_load(self.render("cassandra.yaml", host=self.host, **ports)) | PATIENT | self.options
        config = self.home / "cassandra.yaml"
        config.write_text(yaml.safe_dump({name: value for name, value in options.items() if value is not None}))
        is_durable = self.options.items() >= DURABLE.items()
        return self.server(
            *(() if is_durable else (FORGETFUL,)),
            f"-Dcassandra.config=file:{config}",
            f"-Dcassandra.storagedir={self.home}",
            f"-Dlogback.configurationFile={self.source() / 'logback.xml'}",
            "org.apache.cassandra.service.CassandraDaemon",
        )
