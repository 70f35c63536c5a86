"""The limits of the users and channels of a session, which gateways check and clients obey."""

MAX_WATCHED = 200
"""Users whom a session may watch: more than a screen shows."""

MAX_FOLLOWED = 200
"""Channels that a session may follow: as many as a page shows in its list."""

MAX_OPEN = 20
"""Channels that a session may have open: more than a screen shows."""
