"""`rookery keys`: lists, rotates and retires the keys that sign access tokens. Rookery may be running."""

from datetime import UTC, datetime

import click

from rookery.commands.admin import log_acts, system_user
from rookery.commands.configuration import DEFAULT, current
from rookery.serve.engines import open_accounts, open_configuration
from shared.accounts.administration import record_act
from shared.accounts.audit import Act
from shared.accounts.store import SigningKey
from shared.accounts.tokens import KEY_REST, KEYS_MAX_AGE, new_signing_key
from shared.configuration.model import LONGEST_TOKEN_SECONDS
from shared.configuration.protocol import KEPT_CHANGES
from shared.contract.ids import wall_clock_ms
from shared.settings import Settings

TAKES_OVER_SECONDS = KEY_REST + KEYS_MAX_AGE
"""Seconds after its creation from which on every process signs with a new key."""


async def list_keys(settings: Settings) -> None:
    """Print the keys, newest first: id, time of creation, and state. Raises Unavailable."""
    async with open_accounts(settings) as accounts:
        keys = await accounts.signing_keys()
    lifetime = await _token_lifetime(settings, keys[0]) if keys else 0
    for key in keys:
        click.echo(f"{key.key_id}  {_moment(key.created_at_ms)}  {_role(key, keys[0], lifetime)}")


async def rotate(settings: Settings) -> None:
    """Create a new key, and print when it takes effect. Raises Unavailable."""
    log_acts()
    key = new_signing_key(wall_clock_ms())
    async with open_accounts(settings) as accounts:
        await record_act(accounts, system_user(), Act.ROTATE_KEYS, key.key_id)
        await accounts.add_signing_key(key)
    seconds = TAKES_OVER_SECONDS + await _token_lifetime(settings, key)
    click.echo(
        f"{key.key_id} signs within {TAKES_OVER_SECONDS:.0f} seconds; older keys can be retired in {seconds:.0f}"
    )


async def retire(settings: Settings, key_id: str, now: bool) -> None:
    """Remove a key, so that its tokens are rejected. Raises ClickException if it is still needed, and Unavailable."""
    log_acts()
    async with open_accounts(settings) as accounts:
        keys = await accounts.signing_keys()
        if key_id not in (key.key_id for key in keys):
            raise click.ClickException(f"there is no key {key_id}: `rookery keys list` shows them")
        if key_id == keys[0].key_id:
            raise click.ClickException(f"{key_id} is the newest key, which signs: run `rookery keys rotate` first")
        lifetime = await _token_lifetime(settings, keys[0])
        if (seconds := _needed_for(keys[0], lifetime)) > 0 and not now:
            raise click.ClickException(
                f"tokens that {key_id} signed may be valid for {seconds:.0f} more seconds: retire it after that or, "
                "if it was stolen, with --now: then clients refresh their tokens, and some are refused for a minute"
            )
        await record_act(accounts, system_user(), Act.RETIRE_KEY, key_id, "now" if now else "")
        await accounts.remove_signing_key(key_id)
    click.echo(f"{key_id} is retired: every process rejects its tokens within {KEYS_MAX_AGE:.0f} seconds")


def _role(key: SigningKey, newest: SigningKey, lifetime: float) -> str:
    """The state of the key as text."""
    if key == newest:
        return "signs"
    seconds = _needed_for(newest, lifetime)
    return f"accepted, needed for {seconds:.0f} more seconds" if seconds > 0 else "accepted, can be retired"


def _needed_for(newest: SigningKey, lifetime: float) -> float:
    """Seconds for which tokens of older keys may still be valid; negative if none is."""
    age = (wall_clock_ms() - newest.created_at_ms) / 1000
    return TAKES_OVER_SECONDS + lifetime - age


async def _token_lifetime(settings: Settings, newest: SigningKey) -> float:
    """The longest lifetime, in seconds, of tokens of older keys that may still be valid: the present value, or a former
    one that ended less than a lifetime before the newest key was created."""
    async with open_configuration(settings) as store:
        present = (await current(store)).access_token_seconds
        changes = await store.history(limit=KEPT_CHANGES)
    since_ms = newest.created_at_ms - LONGEST_TOKEN_SECONDS * 1000
    former = [each.old for each in changes if each.key == "access_token_seconds" and each.at_ms > since_ms]
    return max([present, *(DEFAULT.access_token_seconds if old is None else int(old) for old in former)])


def _moment(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec="seconds")
