"""The tokens of avatars, the pictures of users and groups: `<place>.<secret>`.

The place is the id of a user, or the chat id of a group. A token names it, so that nobody uses or deletes the picture
of another one.
"""

import re
import secrets

_SECRET = re.compile(r"[A-Za-z0-9_-]{22}")


def new_avatar(place: str) -> str:
    """Return a new token, which can't be guessed."""
    return f"{place}.{secrets.token_urlsafe(16)}"


def is_avatar_of(place: str, token: str) -> bool:
    """Return whether this is a token of the place."""
    return token.startswith(f"{place}.") and _SECRET.fullmatch(token, len(place) + 1) is not None
