"""The distributed twins of coordination, and the leases of generator numbers."""
