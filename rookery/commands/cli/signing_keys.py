"""The command group `rookery keys`."""

import click

from rookery.commands.cli.common import load_started, run


@click.group()
def keys() -> None:
    """Manage the keys that sign access tokens. The newest key signs; tokens of every key are accepted."""


@keys.command("list")
def list_keys() -> None:
    """List the keys, newest first: id, time of creation, and state."""
    from rookery.commands import keys

    run(keys.list_keys, load_started())


@keys.command("rotate")
def rotate_keys() -> None:
    """Create a new key. Running processes sign with it after about a minute."""
    from rookery.commands import keys

    run(keys.rotate, load_started())


@keys.command("retire")
@click.argument("key_id")
@click.option("--now", is_flag=True, help="Retire it even if tokens that it signed are still valid; they end then.")
def retire_key(key_id: str, now: bool) -> None:
    """Reject tokens signed with KEY_ID. Running processes follow within a minute."""
    from rookery.commands import keys

    run(keys.retire, load_started(), key_id, now)


COMMANDS = (keys,)
