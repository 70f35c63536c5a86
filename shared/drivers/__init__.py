"""Clients of SQLite, Cassandra and Redis for Trio. They define no schema."""
