"""Accounts: users, sign-ins, tokens, signing keys, administration and its audit log."""
