"""The users of a load, written to the account store: without a slow password hash for each.

Only this module of `rookery.load` needs the extra `server`.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from rookery.load.accounts import account_name, in_pairs
from rookery.load.sessions import LoadError, LoadUser, for_each
from rookery.serve.folder import COMMAND_GENERATOR
from shared.accounts.store import AccountStore, Family, User
from shared.accounts.tokens import PasswordHasher, TokenIssuer, digest, new_family_id, new_refresh_token
from shared.contract.ids import SnowflakeGenerator, wall_clock_ms

STORED_AT_ONCE = 256
"""Users without a sign-in that one transaction stores, at most."""

OpenAccounts = Callable[[], AbstractAsyncContextManager[AccountStore]]
"""Opens the account store."""

TOKEN_SECONDS = 24 * 3600
"""Longer than the longest run, so that no token expires within one."""


async def make_users(open_accounts: OpenAccounts, count: int, password: str) -> list[LoadUser]:
    """Store the users that do not exist, with the password, and issue tokens for all. Raises LoadError."""
    async with open_accounts() as accounts:
        password_hash = await PasswordHasher().hash(password)
        ids = SnowflakeGenerator(COMMAND_GENERATOR)
        issuer = TokenIssuer(accounts)

        async def make(name: str) -> tuple[int, str]:
            return await _make_user(accounts, issuer, await ids.next(), name, password_hash)

        return in_pairs(await for_each(make, [account_name(number) for number in range(count)]))


async def make_members(open_accounts: OpenAccounts, numbers: Sequence[int], password: str) -> list[int]:
    """Store the users with these numbers that do not exist, with the password, and return the ids of all.
    Raises LoadError."""
    async with open_accounts() as accounts:
        password_hash = await PasswordHasher().hash(password)
        ids = SnowflakeGenerator(COMMAND_GENERATOR)

        async def make(number: int) -> int:
            return await _add_user(accounts, await ids.next(), account_name(number), password_hash)

        return await for_each(make, numbers, at_once=STORED_AT_ONCE)


async def _make_user(
    accounts: AccountStore, issuer: TokenIssuer, user_id: int, name: str, password_hash: str
) -> tuple[int, str]:
    """Return the id of the user with this name, created if needed, and a token."""
    user_id, now_ms = await _add_user(accounts, user_id, name, password_hash), wall_clock_ms()
    family = Family(new_family_id(), user_id, "load", now_ms)
    await accounts.start_family(family, digest(new_refresh_token()), now_ms + TOKEN_SECONDS * 1000)
    return user_id, (await issuer.issue(user_id, family.family_id, TOKEN_SECONDS)).token


async def _add_user(accounts: AccountStore, user_id: int, name: str, password_hash: str) -> int:
    """Return the id of the user with this name, created with this id if needed."""
    if await accounts.add_user(User(user_id, name, name, "", 1, wall_clock_ms()), password_hash):
        return user_id
    credentials = await accounts.credentials(name)
    if credentials is None:
        raise LoadError(f"the user {name} can't be created")
    return credentials.user_id
