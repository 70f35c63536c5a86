"""The distributed twin of the chat store."""
