"""The tokens of invite links: the number of a group and a secret, of which the group has only a hash."""

import base64
import hashlib
import re
from typing import NamedTuple

from shared.contract.chats import is_group
from shared.contract.errors import Code, Refusal

SECRET_BYTES = 16
"""128 bits, which nobody guesses."""

NO_LINK = Refusal(Code.NOT_FOUND, "This link is not valid, or not any more.", "token")
"""The answer to every token by which a user can't join: it does not disclose whether the group exists."""

_TOKEN = re.compile(r"([1-9][0-9]{0,18})\.([A-Za-z0-9_-]{22})")


class JoinToken(NamedTuple):
    """The token of an invite link. Its text is `<chat number>.<secret>`."""

    chat_id: str
    secret: str
    """SECRET_BYTES as 22 characters of base64url."""

    @classmethod
    def of(cls, chat_id: str, secret: bytes) -> "JoinToken":
        """The token of a link to this group with the first SECRET_BYTES of the secret."""
        return cls(chat_id, base64.urlsafe_b64encode(secret[:SECRET_BYTES]).decode().rstrip("="))

    @classmethod
    def parse(cls, text: str) -> "JoinToken | None":
        """The token with this text; None if the text does not have the form of a token."""
        match = _TOKEN.fullmatch(text)
        return cls(f"g-{match[1]}", match[2]) if match and is_group(f"g-{match[1]}") else None

    def __str__(self) -> str:
        return f"{self.chat_id.removeprefix('g-')}.{self.secret}"


def secret_hash(secret: str) -> bytes:
    """The hash of a secret that its group has: SHA-256."""
    return hashlib.sha256(secret.encode()).digest()
