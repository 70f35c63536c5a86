"""Cassandra on Trio: sessions (`session.py`), and the schema as migrations (`migrations.py`)."""

from shared.drivers.cassandra.session import CassandraSession, open_cassandra, unlogged

__all__ = ["CassandraSession", "open_cassandra", "unlogged"]
