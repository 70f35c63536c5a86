"""Bodies and queries of the HTTP API. Those of administration and of files are in their rooms."""
