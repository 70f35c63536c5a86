"""The embedded twin of the chat store."""
