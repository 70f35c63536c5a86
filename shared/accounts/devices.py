"""Device tokens: a device that has signed in to an account before passes the limits that other devices use up.

This is the device cookie of OWASP's advice against online guessing. The token is a JWT like an access token, but
without a sign-in: it gives no access.
"""

import secrets
from collections.abc import Callable

from shared.accounts.tokens import ISSUER, SigningKeys, sign, signed_payload
from shared.contract.ids import wall_clock_ms

AUDIENCE = "device"

LIFETIME_SECONDS = 365 * 24 * 60 * 60
"""A device gets a new token at each sign-in."""


class DeviceTokens:
    """Issues and verifies device tokens with the platform's signing keys."""

    def __init__(self, keys: SigningKeys, *, clock_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._keys = keys
        self._clock_ms = clock_ms

    async def issue(self, name: str) -> str:
        """Issue the token of a new device for this account. Raises Unavailable."""
        now = self._clock_ms() // 1000
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": name, "exp": now + LIFETIME_SECONDS}
        return await sign(self._keys, {**claims, "jti": secrets.token_urlsafe(12)})

    async def verify(self, token: str, name: str) -> str | None:
        """Return the device's id; None if the token is not valid for this account. Raises Unavailable."""
        match await signed_payload(self._keys, token):
            case {"iss": issuer, "aud": audience, "sub": subject, "exp": int(expires), "jti": str(device_id)}:
                valid = (issuer, audience, subject) == (ISSUER, AUDIENCE, name) and expires * 1000 > self._clock_ms()
                return device_id if valid else None
            case _:
                return None
