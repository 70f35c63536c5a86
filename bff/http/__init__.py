"""HTTP/1.1: the server, typed endpoints, refusals as problems, limits per address. It depends on no resource."""
