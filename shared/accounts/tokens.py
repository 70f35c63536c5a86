"""Authentication: password hashes, signing keys, access tokens and refresh tokens.

An access token is a JWT signed with Ed25519; it names its key, so that keys can be replaced. A refresh token is 256
random bits, of which only the SHA-256 digest is stored: a reader of the store can't use it.
"""

import hashlib
import hmac
import json
import secrets
import unicodedata
from base64 import urlsafe_b64encode
from collections import Counter
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
"""The name in RFC 9864, which includes the curve and deprecates the `EdDSA` of RFC 8037."""

ARGON2 = argon2.Parameters(
    type=argon2.Type.ID, version=argon2.low_level.ARGON2_VERSION, salt_len=16, hash_len=32,
    time_cost=2, memory_cost=19_456, parallelism=1,
)  # fmt: skip
"""19 MiB, 2 passes, 1 lane: the first choice of OWASP's Password Storage Cheat Sheet; salt and length of RFC 9106,
section 4. About 26 ms on the machine of docs/performance.md, where RFC 9106's 64 MiB take 110."""

HASHES_AT_ONCE = 2
"""Concurrent password hashes: each takes a core, and 19 MiB."""

MAX_WAITING_HASHES = 64
"""Bound of the queue of passwords: to hash 64, two at a time, 26 ms each, takes under a second."""

MAX_HASHES_OF_CLIENT = 8
"""Passwords of one client's address that wait, or are being hashed: all clients wait in one queue, and right passwords
have no other limit until they are checked."""

MAX_TOKEN_CHARACTERS = 2_048
"""Longest access token; ours have about 330 characters."""

KEYS_MAX_AGE = 60.0
"""Seconds after which keys are read again: until then a new key does not sign, and a removed one still verifies.
Others may cache the public keys for as long."""

KEYS_MIN_AGE = 1.0
"""Seconds between two reads for an unknown key, so that forged tokens cost no reads."""

KEY_REST = 10.0
"""Age in seconds at which a new key begins to sign, while there is another: a verifier that has just read the keys, and
does not read them again for KEYS_MIN_AGE, has it by then, even if the clocks differ by some seconds."""

SUSPENDED = Refusal(Code.SUSPENDED, "This account is suspended: contact the operators of this platform.")
"""The refusal of a suspended user. The reason of the suspension is for admins."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a valid access token, and whether the store lists its user as an admin."""

    user_id: int
    family_id: str
    expires_at_ms: int
    not_before_ms: int = 0
    is_admin: bool = False


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token for `Authorization: Bearer` and for `Authenticate`, with its expiry."""

    token: str
    expires_at_ms: int


class TooManyPasswords(Unavailable):
    """MAX_HASHES_OF_CLIENT passwords of one client's address wait, or are being hashed."""


class PasswordHasher:
    """Argon2id in worker threads, HASHES_AT_ONCE at a time. A process has one."""

    def __init__(self, parameters: argon2.Parameters = ARGON2) -> None:
        self._argon2 = argon2.PasswordHasher.from_parameters(parameters)
        self._limiter = trio.CapacityLimiter(HASHES_AT_ONCE)
        self._of_clients: Counter[str] = Counter()
        self._decoy = self._argon2.hash(secrets.token_urlsafe())

    @property
    def under_way(self) -> int:
        """Number of passwords that are being hashed."""
        return self._limiter.borrowed_tokens

    @property
    def waiting(self) -> int:
        """Number of queued passwords."""
        return self._limiter.statistics().tasks_waiting

    async def hash(self, password: str, client: str = "") -> str:
        """Hash a password with a new salt. `client` is the key of the client's address; empty for none, without a limit
        per client. Raises Unavailable if the queue is full, and its TooManyPasswords for the client."""
        return await self._work(client, self._argon2.hash, _normal(password))

    async def verify(self, password_hash: str | None, password: str, client: str = "") -> bool:
        """Whether the password matches the hash. Without a hash (no such user) it takes as long and returns False.
        `client` and exceptions as for `hash`."""
        correct = await self._work(client, self._matches, password_hash or self._decoy, _normal(password))
        return correct and password_hash is not None

    def _matches(self, password_hash: str, password: str) -> bool:
        try:
            return self._argon2.verify(password_hash, password)
        except argon2.exceptions.VerifyMismatchError:
            return False

    async def _work(self, client: str, function: Callable[..., Result], *arguments: str) -> Result:
        if self.waiting >= MAX_WAITING_HASHES:
            raise Unavailable(f"{MAX_WAITING_HASHES} passwords wait to be checked")
        if client and self._of_clients[client] >= MAX_HASHES_OF_CLIENT:
            raise TooManyPasswords(f"{MAX_HASHES_OF_CLIENT} passwords of one address wait to be checked")
        self._of_clients[client] += 1
        try:
            return await trio.to_thread.run_sync(function, *arguments, limiter=self._limiter)
        finally:
            self._of_clients[client] -= 1
            if not self._of_clients[client]:
                del self._of_clients[client]


def _normal(password: str) -> str:
    """Normalise a password, since keyboards encode the same characters differently (NIST SP 800-63B, 3.1.1.2)."""
    return unicodedata.normalize("NFKC", password)


class SigningKeys:
    """The platform's signing keys, cached: the newest that is KEY_REST old signs, all verify."""

    def __init__(self, accounts: AccountStore, *, clock_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._accounts = accounts
        self._clock_ms = clock_ms
        self._keys: dict[str, OKPKey] = {}
        self._made_at_ms: dict[str, int] = {}
        self._read_at = float("-inf")
        self._reading = trio.Lock()

    async def newest(self) -> tuple[str, OKPKey]:
        """Return the key to sign with, and its id; create the first key if there is none. Raises Unavailable."""
        if not self._keys or self._age() > KEYS_MAX_AGE:
            await self._read(KEYS_MAX_AGE)
        if not self._keys:
            await self._accounts.add_signing_key(new_signing_key(self._clock_ms()), if_none=True)
            await self._read()
        rested = self._clock_ms() - KEY_REST * 1000
        key_id = next((each for each, made_at_ms in self._made_at_ms.items() if made_at_ms <= rested), None)
        if key_id is None:
            key_id = list(self._keys)[-1]  # the oldest, which other processes most likely have
        return key_id, self._keys[key_id]

    async def find(self, key_id: str) -> OKPKey | None:
        """Return the key with this id, if there is one. Raises Unavailable."""
        if self._age() > KEYS_MAX_AGE:
            await self._read(KEYS_MAX_AGE)
        elif key_id not in self._keys and self._age() >= KEYS_MIN_AGE:
            await self._read(KEYS_MIN_AGE)
        return self._keys.get(key_id)

    async def public(self) -> dict[str, Any]:
        """Return the public keys as a JWK Set (RFC 7517). Raises Unavailable."""
        await self.newest()
        keys = self._keys.items()
        return {"keys": [{**key.as_dict(private=False), "kid": i, "alg": ALGORITHM, "use": "sig"} for i, key in keys]}

    def _age(self) -> float:
        return trio.current_time() - self._read_at

    async def _read(self, older_than: float = 0.0) -> None:
        """Read the keys, unless another task has just read them while this one waited for the lock."""
        async with self._reading:
            if self._age() < older_than:
                return
            keys = await self._accounts.signing_keys()
            self._keys = {key.key_id: OKPKey.import_key(json.loads(key.jwk)) for key in keys}
            self._made_at_ms = {key.key_id: key.created_at_ms for key in keys}
            self._read_at = trio.current_time()


def new_signing_key(now_ms: int) -> SigningKey:
    """Generate a key."""
    key = OKPKey.generate_key("Ed25519")
    return SigningKey(secrets.token_hex(12), json.dumps(key.as_dict(private=True)), now_ms)


class TokenIssuer:
    """Issues access tokens."""

    def __init__(self, accounts: AccountStore, *, clock_ms: Callable[[], int] = wall_clock_ms) -> None:
        self.keys = SigningKeys(accounts, clock_ms=clock_ms)
        self._clock_ms = clock_ms

    async def issue(self, user_id: int, family_id: str, lifetime_seconds: int) -> AccessToken:
        """Issue a token for the sign-in `family_id`. Raises Unavailable."""
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
        return AccessToken(await sign(self.keys, claims), expires * 1000)


class TokenVerifier:
    """Verifies access tokens: the signature, the expiry, the sign-in, and the status of the account."""

    def __init__(self, accounts: AccountStore, *, clock_ms: Callable[[], int] = wall_clock_ms) -> None:
        self._accounts = accounts
        self._keys = SigningKeys(accounts, clock_ms=clock_ms)
        self._clock_ms = clock_ms

    async def verify(self, token: str) -> Claims | Refusal:
        """Return the claims of the token; a Refusal if it is not valid. Raises Unavailable."""
        claims = await self.read(token)
        return claims if isinstance(claims, Refusal) else await self.check(claims)

    async def read(self, token: str) -> Claims | Refusal:
        """Return the claims of a token that we issued and that has not expired, whether or not its sign-in has ended;
        else a Refusal. Raises Unavailable."""
        claims = _claims(await signed_payload(self._keys, token))
        if claims is None:
            return Refusal(Code.UNAUTHENTICATED, "The access token is not one that we issued.")
        if claims.expires_at_ms <= self._clock_ms():
            return Refusal(Code.UNAUTHENTICATED, "The access token has expired: refresh it.")
        if claims.not_before_ms > self._clock_ms():
            return Refusal(Code.UNAUTHENTICATED, "The access token is not valid yet.")
        return claims

    async def check(self, claims: Claims) -> Claims | Refusal:
        """Return these claims as the store has them; a Refusal if the sign-in has ended, or the account is suspended.
        Raises Unavailable."""
        status = await self._accounts.sign_in_status(claims.family_id, claims.user_id)
        if status is None:
            return Refusal(Code.UNAUTHENTICATED, "This sign-in has ended: sign in again.")
        if status.is_suspended:
            return SUSPENDED
        return replace(claims, is_admin=status.is_admin)


async def sign(keys: SigningKeys, claims: dict[str, Any]) -> str:
    """Return a JWT with these claims. Raises Unavailable."""
    key_id, key = await keys.newest()
    return jwt.encode({"alg": ALGORITHM, "kid": key_id}, claims, key, algorithms=[ALGORITHM])


async def signed_payload(keys: SigningKeys, token: str) -> object:
    """Return the payload of a JWT; None if none of the keys signed it. Raises Unavailable."""
    if len(token) > MAX_TOKEN_CHARACTERS:
        return None
    try:
        signature = jws.extract_compact(token.encode())
        headers: object = signature.headers()
        if not isinstance(headers, dict) or "crit" in headers:  # our tokens have no `crit`, and joserfc may fail
            return None
        key = await keys.find(str(headers.get("kid")))
        if key is None or not jws.validate_compact(signature, key, algorithms=[ALGORITHM]):
            return None
        return json.loads(signature.payload)
    except (JoseError, ValueError, RecursionError):
        return None


def _claims(payload: object) -> Claims | None:
    match payload:
        case {"iss": str(issuer), "sub": str(subject), "sid": str(family_id), "exp": int(expires), **others}:
            not_before = others.get("nbf", 0)
            user_id = int(subject) if subject.isascii() and subject.isdigit() else 0
            if issuer == ISSUER and 1 <= user_id <= MAX_ID and isinstance(not_before, int):
                return Claims(user_id, family_id, expires * 1000, not_before * 1000)
    return None


def new_refresh_token() -> str:
    """Return 256 random bits, as 43 characters for a URL or JSON."""
    return secrets.token_urlsafe(32)


async def next_refresh_token(keys: SigningKeys, refresh_token: str) -> str:
    """Return the token that replaces this one, as `made_secret` makes it. Raises Unavailable."""
    return urlsafe_b64encode(await made_secret(keys, "refresh token", refresh_token)).decode().rstrip("=")


async def made_secret(keys: SigningKeys, purpose: str, text: str) -> bytes:
    """Return 256 bits made of this text for this purpose. Raises Unavailable.

    They are the same at each call, until another key signs, so a repeated request returns them again although the store
    has only their digest. Without the private key they are as unpredictable as random bits.
    """
    _, key = await keys.newest()
    return _made_with(key, purpose, text)


def link_secret(key: OKPKey) -> bytes:
    """Return 256 bits made of a signing key, with which all processes sign links of files."""
    return _made_with(key, "file links", "")


def _made_with(key: OKPKey, purpose: str, text: str) -> bytes:
    secret = f"{purpose} {key.as_dict(private=True)['d']}".encode()
    return hmac.digest(secret, text.encode(), "sha256")


def new_family_id() -> str:
    """Return the id of a new sign-in: 128 random bits, as 22 characters."""
    return secrets.token_urlsafe(16)


def digest(refresh_token: str) -> bytes:
    """Return the digest under which a refresh token is stored. 256 random bits need no salt or slow hash."""
    return hashlib.sha256(refresh_token.encode()).digest()
