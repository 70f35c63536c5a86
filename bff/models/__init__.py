"""Bodies and queries of the HTTP API. `bff/admin/` and `bff/files/` have their own."""
