"""The embedded twin of the account store."""
