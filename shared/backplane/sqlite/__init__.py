"""The backplane on SQLite, the embedded engine: an append-only log in one file."""
