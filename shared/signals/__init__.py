"""Signals between processes: published and forgotten. `protocol.py` is the contract, with two twins."""
