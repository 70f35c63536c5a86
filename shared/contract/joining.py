"""The tokens of invite links: the number of a group and a secret, of which the group has only a hash."""

import hashlib
import re
from typing import NamedTuple

SECRET_BYTES = 16
"""128 bits, which nobody guesses."""

_TOKEN = re.compile(r"([1-9][0-9]{0,18})\.([A-Za-z0-9_-]{22})")


class JoinToken(NamedTuple):
    """The token of an invite link. Its text is `<chat number>.<secret>`."""

    chat_id: str
    secret: str
    """SECRET_BYTES as 22 characters of base64url."""

    @classmethod
    def parse(cls, text: str) -> "JoinToken | None":
        """The token with this text; None if it has not the form of one."""
        match = _TOKEN.fullmatch(text)
        return None if match is None else cls(f"g-{match[1]}", match[2])

    def __str__(self) -> str:
        return f"{self.chat_id.removeprefix('g-')}.{self.secret}"


def secret_hash(secret: str) -> bytes:
    """The hash of a secret that its group has: SHA-256."""
    return hashlib.sha256(secret.encode()).digest()
