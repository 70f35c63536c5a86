"""The messaging service: the chat domain, and its two roles, `gateway` (sessions, live) and `archive` (history)."""
