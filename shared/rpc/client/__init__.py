"""The client: calls, what they are retried by, and how a server is found, connected to and chosen."""
