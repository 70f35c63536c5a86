"""The embedded twin of the backplane: an append-only log in SQLite."""
