#!/usr/bin/python3
"""Starts Cassandra as its image does: on the container's own address, with the heap of the environment."""

import os
import pathlib
import shlex
import socket
import sys

assert sys.argv[1:] == ["cassandra", "-f"]
config = pathlib.Path("/etc/cassandra/cassandra.yaml")
own = socket.gethostbyname(socket.gethostname())
clients = f"rpc_address: 0.0.0.0\nbroadcast_rpc_address: {own}\n"
config.write_text(config.read_text().replace("rpc_address: 127.0.0.1\n", clients).replace("127.0.0.1", own))
java = [*shlex.split(os.environ["STAND_IN_JAVA"]), f"-Xmx{os.environ['MAX_HEAP_SIZE']}"]
options = [f"-Dcassandra.config=file:{config}", "-Dcassandra.storagedir=/var/lib/cassandra"]
os.execvp(java[0], [*java, *options, "org.apache.cassandra.service.CassandraDaemon"])
