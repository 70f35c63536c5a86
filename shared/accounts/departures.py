"""Departure tokens: with one, the platform takes a deleted account out of a group, which the account itself can't.

The token is a JWT like an access token, but without a sign-in: gateways accept it for a deleted account alone, and only
to leave a group or to hand it over.
"""

import secrets
from collections.abc import Callable

from shared.accounts.store import AccountStore
from shared.accounts.tokens import ISSUER, SigningKeys, sign, signed_payload
from shared.contract.ids import wall_clock_ms

AUDIENCE = "departure"

LIFETIME_SECONDS = 60
"""A BFF issues a token for each change, which takes seconds."""


class DepartureTokens:
    """Issues and verifies departure tokens with the platform's signing keys."""

    def __init__(
        self, accounts: AccountStore, keys: SigningKeys, *, clock_ms: Callable[[], int] = wall_clock_ms
    ) -> None:
        self._accounts = accounts
        self._keys = keys
        self._clock_ms = clock_ms

    async def issue(self, user_id: int) -> str:
        """Issue a token for a deleted account. Raises Unavailable."""
        expires = self._clock_ms() // 1000 + LIFETIME_SECONDS
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(user_id), "exp": expires}
        return await sign(self._keys, {**claims, "jti": secrets.token_urlsafe(12)})

    async def verify(self, token: str) -> int | None:
        """Return the user id of the deleted account; None if the token is not valid. Raises Unavailable."""
        match await signed_payload(self._keys, token):
            case {"iss": issuer, "aud": audience, "sub": str(subject), "exp": int(expires)}:
                if (issuer, audience) != (ISSUER, AUDIENCE) or expires * 1000 <= self._clock_ms():
                    return None
                users = await self._accounts.users([int(subject)])
                return users[0].user_id if users and users[0].is_deleted else None
            case _:
                return None
