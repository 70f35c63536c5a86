"""Listeners, TLS, the health server, and the limit on open files."""
