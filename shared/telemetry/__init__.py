"""Observability of a process: logs as JSON lines, health checks and probes, metrics, and traces."""
