"""Device tokens: known devices have a sign-in limit of their own, which failures on other devices do not use.

This is the device cookie of OWASP's advice against online guessing. The token is a JWT like an access token, but
without a sign-in: it gives no access. It ends with the password: else somebody who once knew a password could collect
tokens, each with a limit of its own for guesses of the next one.
"""

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from shared.accounts.tokens import ISSUER, SigningKeys, sign, signed_payload
from shared.contract.ids import wall_clock_ms

AUDIENCE = "device"

LIFETIME_SECONDS = 365 * 24 * 60 * 60
"""A device gets a new token at each sign-in."""


@dataclass(frozen=True, slots=True)
class Device:
    """A device that has signed in, and the digest of the hash of the password with which it did."""

    device_id: str
    password_digest: str

    def has_password(self, password_hash: str) -> bool:
        """Whether the password with this hash is the one with which the device signed in."""
        return self.password_digest == _digest(password_hash)


class DeviceTokens:
    """Issues and verifies device tokens with the platform's signing keys."""

    def __init__(self, keys: SigningKeys, *, clock_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._keys = keys
        self._clock_ms = clock_ms

    async def issue(self, name: str, password_hash: str) -> str:
        """Issue the token of a new device that has signed in to this account. Raises Unavailable."""
        now = self._clock_ms() // 1000
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": name, "exp": now + LIFETIME_SECONDS}
        return await sign(self._keys, {**claims, "pwd": _digest(password_hash), "jti": secrets.token_urlsafe(12)})

    async def verify(self, token: str, name: str) -> Device | None:
        """Return the device; None if the token is not valid for this account. Raises Unavailable."""
        match await signed_payload(self._keys, token):
            case {"iss": issuer, "aud": audience, "sub": subject, "exp": int(expires), "jti": str(id_), "pwd": str(of)}:
                valid = (issuer, audience, subject) == (ISSUER, AUDIENCE, name) and expires * 1000 > self._clock_ms()
                return Device(id_, of) if valid else None
            case _:
                return None


def _digest(password_hash: str) -> str:
    """Return a digest of which nobody can find the hash, or try passwords: a hash has 128 bits of salt."""
    return hashlib.sha256(password_hash.encode()).hexdigest()[:32]
