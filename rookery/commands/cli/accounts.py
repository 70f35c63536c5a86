"""The command group `rookery user`."""

import sys

import click

from rookery.commands.cli.common import json_option, load_settings, read_password, run


@click.group()
def user() -> None:
    """Manage accounts: add, find, suspend, restore, sign out, and make admins."""


@user.command("add")
@click.argument("name")
@click.option("--display-name", help="The name that others see.  [default: NAME]")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def add_user(name: str, display_name: str | None, password_stdin: bool) -> None:
    """Create the account NAME. Rookery may be running."""
    from rookery.commands.accounts import add_account

    settings = load_settings()
    password = read_password(sys.stdin if password_stdin else None, confirm=True)
    account = run(add_account, settings, name, password, display_name)
    click.echo(f"{account.name} is user {account.user_id}")


@user.command("admin")
@click.argument("name")
@click.option("--revoke", is_flag=True, help="Revoke the admin role instead; it ends with the next request of NAME.")
def make_admin(name: str, revoke: bool) -> None:
    """Make NAME an admin, who may use the page /admin and its API."""
    from rookery.commands import admin

    run(admin.revoke_admin if revoke else admin.make_admin, load_settings(), name)


@user.command("find")
@click.argument("part")
@json_option
def find_users(part: str, as_json: bool) -> None:
    """List the accounts with PART in their name or display name, and which are admins or suspended."""
    from rookery.commands import admin

    run(admin.find, load_settings(), part, as_json)


@user.command("suspend")
@click.argument("name")
@click.option("--reason", required=True, help="The reason, shown to other admins.")
def suspend_user(name: str, reason: str) -> None:
    """Suspend NAME: end all their sessions within a second, and refuse sign-ins. Others may still write to them."""
    from rookery.commands import admin

    run(admin.suspend, load_settings(), name, reason)


@user.command("restore")
@click.argument("name")
def restore_user(name: str) -> None:
    """Restore NAME, who was suspended."""
    from rookery.commands import admin

    run(admin.restore, load_settings(), name)


@user.command("sign-out")
@click.argument("name")
def sign_out_user(name: str) -> None:
    """End all sign-ins of NAME, and with them all sessions."""
    from rookery.commands import admin

    run(admin.sign_out, load_settings(), name)


COMMANDS = (user,)
