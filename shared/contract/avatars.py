"""The tokens of avatars, the pictures of users and groups: `<place>.<secret>`.

The place is the id of a user, or the chat id of a group. A token names it, so that nobody uses or deletes the picture
of another one.
"""

import re
import secrets

SETTABLE_MS = 86_400_000
"""How long after its upload a picture can become the avatar of its place. A picture that is no avatar by then is
deleted."""

_AVATAR = re.compile(r"(?:g-)?[0-9]{1,19}\.[A-Za-z0-9_-]{22}")


def new_avatar(place: str) -> str:
    """Return a new token, which can't be guessed."""
    return f"{place}.{secrets.token_urlsafe(16)}"


def is_avatar_of(place: str, token: str) -> bool:
    """Return whether this is a token of the place."""
    return token.startswith(f"{place}.") and is_avatar(token)


def place_of(token: str) -> str:
    """Return the place of a token."""
    return token.partition(".")[0]


def is_avatar(token: str) -> bool:
    """Return whether this has the form of a token, of any place."""
    return _AVATAR.fullmatch(token) is not None
