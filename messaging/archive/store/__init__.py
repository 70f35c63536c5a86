"""The chat store: its protocol, and a twin for each engine."""
