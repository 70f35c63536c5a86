"""The distributed twin of the account store."""
