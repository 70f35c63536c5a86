"""Cassandra, for the stores: sessions on Trio (`session.py`), and the schema (`migrations.py`)."""

from shared.drivers.cassandra.session import CassandraSession, open_cassandra, unlogged

__all__ = ["CassandraSession", "open_cassandra", "unlogged"]
