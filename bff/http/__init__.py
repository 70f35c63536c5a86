"""HTTP/1.1: the server, routes made of typed functions, refusals as problems, limits per address, static files."""
