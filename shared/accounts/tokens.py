"""Who someone is: passwords, the access tokens that a sign-in gives, and the refresh tokens that renew it.

An access token is a JWT that is signed with Ed25519 and names its key, so that keys can be replaced. A refresh token is
256 random bits, of which only the SHA-256 digest is stored: what is read from the store can't be used.
"""

import hashlib
import json
import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import argon2
import trio
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from shared.accounts.store import AccountStore, SigningKey
from shared.contract.errors import Code, Refusal, Unavailable
from shared.contract.ids import MAX_ID, wall_clock_ms

Result = TypeVar("Result")

ISSUER = "rookery"
ALGORITHM = "Ed25519"
"""Of RFC 9864, which names the curve; the `EdDSA` of RFC 8037 is deprecated by it."""

ARGON2 = argon2.Parameters(
    type=argon2.Type.ID, version=argon2.low_level.ARGON2_VERSION, salt_len=16, hash_len=32,
    time_cost=2, memory_cost=19_456, parallelism=1,
)  # fmt: skip
"""19 MiB, 2 passes, 1 lane: the first choice of OWASP's Password Storage Cheat Sheet; salt and length of RFC 9106,
section 4. About 26 ms on the machines that FACTS were measured on, where RFC 9106's 64 MiB take 110."""

HASHES_AT_ONCE = 2
"""Passwords hashed at the same time: each takes a core, and 19 MiB."""

MAX_WAITING_HASHES = 64
"""Passwords that may wait for their turn: 64 at 26 ms, two at a time, is under a second."""

MAX_TOKEN_CHARACTERS = 2_048
"""Of an access token; ours have about 330."""

KEYS_MAX_AGE = 60.0
"""Seconds after which keys are read again: until then a new one does not sign, and one that is gone is believed."""

KEYS_MIN_AGE = 1.0
"""Seconds between two looks for a key that is not known, so that forged tokens cost no reads."""

KEY_REST = 10.0
"""Seconds of a new key's life before it signs, while there is another: a verifier that has just looked for a key, and
does not look again for KEYS_MIN_AGE, then knows it, be the clocks some seconds apart."""

SUSPENDED = Refusal(Code.SUSPENDED, "This account is suspended: ask those who run this platform.")
"""What a user hears who may not come in. The reason is for admins."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a valid access token says, and what its user may do as the store has it now."""

    user_id: int
    family_id: str
    expires_at_ms: int
    is_admin: bool = False


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token for `Authorization: Bearer` and for `Authenticate`, and when it ends."""

    token: str
    expires_at_ms: int


class PasswordHasher:
    """Argon2id in worker threads, a few at a time. One for each process."""

    def __init__(self, parameters: argon2.Parameters = ARGON2) -> None:
        self._argon2 = argon2.PasswordHasher.from_parameters(parameters)
        self._limiter = trio.CapacityLimiter(HASHES_AT_ONCE)
        self._nobody = self._argon2.hash(secrets.token_urlsafe())

    @property
    def under_way(self) -> int:
        """Passwords that are being hashed."""
        return self._limiter.borrowed_tokens

    @property
    def waiting(self) -> int:
        """Passwords that wait for that."""
        return self._limiter.statistics().tasks_waiting

    async def hash(self, password: str) -> str:
        """A hash with a new salt. Raises Unavailable if too many wait."""
        return await self._work(self._argon2.hash, _normal(password))

    async def verify(self, password_hash: str | None, password: str) -> bool:
        """Whether this is the password. Without a hash (no such user) the work is the same, and the answer False."""
        correct = await self._work(self._matches, password_hash or self._nobody, _normal(password))
        return correct and password_hash is not None

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except argon2.exceptions.VerifyMismatchError:
            return False

    async def _work(self, function: Callable[..., Result], *arguments: str) -> Result:
        if self.waiting >= MAX_WAITING_HASHES:
            raise Unavailable(f"{MAX_WAITING_HASHES} passwords wait to be checked")
        return await trio.to_thread.run_sync(function, *arguments, limiter=self._limiter)


def _normal(password: str) -> str:
    """The same for the same typed characters, whatever the keyboard makes of them (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


class SigningKeys:
    """The platform's keys, held in memory: the newest that has rested signs, all verify."""

    def __init__(self, accounts: AccountStore, *, clock_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._accounts = accounts
        self._clock_ms = clock_ms
        self._keys: dict[str, OKPKey] = {}
        self._made_at_ms: dict[str, int] = {}
        self._read_at = float("-inf")
        self._reading = trio.Lock()

    async def newest(self) -> tuple[str, OKPKey]:
        """The key to sign with, and its id; the first is made if there is none. Raises Unavailable."""
        if not self._keys or self._age() > KEYS_MAX_AGE:
            await self._read(KEYS_MAX_AGE)
        if not self._keys:
            await self._accounts.add_signing_key(new_signing_key(self._clock_ms()), if_none=True)
            await self._read()
        rested = self._clock_ms() - KEY_REST * 1000
        key_id = next((each for each, made_at_ms in self._made_at_ms.items() if made_at_ms <= rested), None)
        if key_id is None:
            key_id = list(self._keys)[-1]  # the oldest, which others are the likeliest to know
        return key_id, self._keys[key_id]

    async def find(self, key_id: str) -> OKPKey | None:
        """The key with this id. Raises Unavailable."""
        if self._age() > KEYS_MAX_AGE:
            await self._read(KEYS_MAX_AGE)
        elif key_id not in self._keys and self._age() >= KEYS_MIN_AGE:
            await self._read(KEYS_MIN_AGE)
        return self._keys.get(key_id)

    async def public(self) -> dict[str, Any]:
        """The public halves as a JWK Set (RFC 7517). Raises Unavailable."""
        await self.newest()
        keys = self._keys.items()
        return {"keys": [{**key.as_dict(private=False), "kid": i, "alg": ALGORITHM, "use": "sig"} for i, key in keys]}

    def _age(self) -> float:
        return trio.current_time() - self._read_at

    async def _read(self, older_than: float = 0.0) -> None:
        """Read them, unless someone else has meanwhile: they are not older than that then."""
        async with self._reading:
            if self._age() < older_than:
                return
            keys = await self._accounts.signing_keys()
            self._keys = {key.key_id: OKPKey.import_key(json.loads(key.jwk)) for key in keys}
            self._made_at_ms = {key.key_id: key.created_at_ms for key in keys}
            self._read_at = trio.current_time()


def new_signing_key(now_ms: int) -> SigningKey:
    """A key that was made now."""
    key = OKPKey.generate_key("Ed25519")
    return SigningKey(secrets.token_hex(12), json.dumps(key.as_dict(private=True)), now_ms)


class TokenIssuer:
    """Makes access tokens."""

    def __init__(self, accounts: AccountStore, *, clock_ms: Callable[[], int] = wall_clock_ms) -> None:
        self.keys = SigningKeys(accounts, clock_ms=clock_ms)
        self._clock_ms = clock_ms

    async def issue(self, user_id: int, family_id: str, lifetime_seconds: int) -> AccessToken:
        """A token for the sign-in `family_id`. Raises Unavailable."""
        key_id, key = await self.keys.newest()
        now = self._clock_ms() // 1000
        expires = now + lifetime_seconds
        claims = {
            "iss": ISSUER,
            "sub": str(user_id),
            "sid": family_id,
            "iat": now,
            "exp": expires,
            "jti": secrets.token_urlsafe(12),
        }
        token = jwt.encode({"alg": ALGORITHM, "kid": key_id}, claims, key, algorithms=[ALGORITHM])
        return AccessToken(token, expires * 1000)


class TokenVerifier:
    """Checks access tokens: whose they are, whether they have ended, and whether the sign-in lives."""

    def __init__(self, accounts: AccountStore, *, clock_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._accounts = accounts
        self._keys = SigningKeys(accounts, clock_ms=clock_ms)
        self._clock_ms = clock_ms

    async def verify(self, token: str) -> Claims | Refusal:
        """What the token says; a Refusal if it is not to be believed. Raises Unavailable."""
        claims = await self._signed_claims(token)
        if claims is None:
            return Refusal(Code.UNAUTHENTICATED, "The access token is not one that we issued.")
        if claims.expires_at_ms <= self._clock_ms():
            return Refusal(Code.UNAUTHENTICATED, "The access token has expired: refresh it.")
        standing = await self._accounts.sign_in_status(claims.family_id, claims.user_id)
        if standing is None:
            return Refusal(Code.UNAUTHENTICATED, "This sign-in has ended: sign in again.")
        if standing.is_suspended:
            return SUSPENDED
        return replace(claims, is_admin=standing.is_admin)

    async def _signed_claims(self, token: str) -> Claims | None:
        """What the token says if one of our keys signed it."""
        if len(token) > MAX_TOKEN_CHARACTERS:
            return None
        try:
            signature = jws.extract_compact(token.encode())
            key = await self._keys.find(str(signature.headers().get("kid")))
            if key is None or not jws.validate_compact(signature, key, algorithms=[ALGORITHM]):
                return None
            return _claims(json.loads(signature.payload))
        except (JoseError, ValueError, RecursionError):
            return None


def _claims(payload: object) -> Claims | None:
    match payload:
        case {"iss": str(issuer), "sub": str(subject), "sid": str(family_id), "exp": int(expires)}:
            user_id = int(subject) if subject.isascii() and subject.isdigit() else 0
            if issuer == ISSUER and 1 <= user_id <= MAX_ID:
                return Claims(user_id, family_id, expires * 1000)
    return None


def new_refresh_token() -> str:
    """256 random bits, as 43 characters for a URL or JSON."""
    return secrets.token_urlsafe(32)


def new_family_id() -> str:
    """What names a sign-in: 128 random bits, as 22 characters."""
    return secrets.token_urlsafe(16)


def digest(refresh_token: str) -> bytes:
    """What is stored of a refresh token. It needs no salt or slow hash: 256 random bits can't be guessed."""
    return hashlib.sha256(refresh_token.encode()).digest()
