"""Clients of SQLite, Cassandra and Redis for Trio. They know no schema."""
