"""The client: calls, retries, name resolution, connections, and the choice of a server."""
