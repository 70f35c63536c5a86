"""Listeners, addresses, TLS, and the limit on open files."""
