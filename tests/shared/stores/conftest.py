"""What the tests of stores share: a keyspace on a real Cassandra with all tables."""

import uuid

import pytest
import trio

from shared.cassandra.migrations import migrate
from shared.settings import CassandraSettings
from tests.backends.cassandra import Cassandra

PATIENT = 30.0
"""Seconds for a request, on a machine that is busy with other tests."""


@pytest.fixture(scope="session")
def cassandra_settings(cassandra_server: Cassandra) -> CassandraSettings:
    """Of a keyspace for the stores. A test uses ids of its own, or empties the tables first."""
    settings = CassandraSettings(
        hosts=(cassandra_server.host,),
        port=cassandra_server.port,
        keyspace=f"stores_{uuid.uuid4().hex[:12]}",
        timeout_seconds=PATIENT,
    )
    trio.run(migrate, settings)
    return settings
