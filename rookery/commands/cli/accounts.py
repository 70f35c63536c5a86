"""The command groups `rookery user` and `rookery invite`."""

import sys

import click

from rookery.commands.cli.common import json_option, load_started, read_password, run


@click.group()
def user() -> None:
    """Manage accounts: add, find, suspend, restore, sign out, delete, reset passwords, and make admins."""


@user.command("add")
@click.argument("name")
@click.option("--display-name", help="The name that others see.  [default: NAME]")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
def add_user(name: str, display_name: str | None, password_stdin: bool) -> None:
    """Create the account NAME. Rookery may be running."""
    from rookery.commands.accounts import add_account

    settings = load_started()
    password = read_password(sys.stdin if password_stdin else None, confirm=True)
    account = run(add_account, settings, name, password, display_name)
    click.echo(f"{account.name} is user {account.user_id}")


@user.command("admin")
@click.argument("name")
@click.option("--revoke", is_flag=True, help="Revoke the admin role instead; it ends with the next request of NAME.")
def make_admin(name: str, revoke: bool) -> None:
    """Make NAME an admin, who may use the page /admin and its API."""
    from rookery.commands import admin

    run(admin.revoke_admin if revoke else admin.make_admin, load_started(), name)


@user.command("find")
@click.argument("part")
@json_option
def find_users(part: str, as_json: bool) -> None:
    """List the accounts with PART in their name or display name, and which are admins or suspended."""
    from rookery.commands import admin

    run(admin.find, load_started(), part, as_json)


@user.command("suspend")
@click.argument("name")
@click.option("--reason", required=True, help="The reason, shown to other admins.")
def suspend_user(name: str, reason: str) -> None:
    """Suspend NAME: end all their sessions within a second, and refuse sign-ins. Others may still write to them."""
    from rookery.commands import admin

    run(admin.suspend, load_started(), name, reason)


@user.command("restore")
@click.argument("name")
def restore_user(name: str) -> None:
    """Restore NAME, who was suspended."""
    from rookery.commands import admin

    run(admin.restore, load_started(), name)


@user.command("sign-out")
@click.argument("name")
def sign_out_user(name: str) -> None:
    """End all sign-ins of NAME, and with them all sessions."""
    from rookery.commands import admin

    run(admin.sign_out, load_started(), name)


@user.command("reset-password")
@click.argument("name")
def reset_password(name: str) -> None:
    """Print a link with which NAME sets a new password, once, within a day. It replaces an earlier link."""
    from rookery.commands import admin

    run(admin.reset_password, load_started(), name)


@user.command("delete")
@click.argument("name")
@click.confirmation_option(prompt="Delete the account for ever?")
def delete_user(name: str) -> None:
    """Delete NAME for ever: end all sessions, clear the profile, and refuse messages. Others keep their chats.

    The name is not used again. If the command was interrupted, repeat it. The account stays a member of its groups
    until a BFF starts, within 24 hours, or an admin deletes it over HTTP, too (docs/admin.md).
    """
    from rookery.commands import admin

    run(admin.delete, load_started(), name)


@click.group()
def invite() -> None:
    """Manage invites: links with which people create accounts while sign_up is invite."""


@invite.command("create")
@click.option("--uses", type=int, default=1, show_default=True, help="Accounts that can be created with it.")
@click.option("--days", type=int, default=7, show_default=True, help="Days until it expires.")
def create_invite(uses: int, days: int) -> None:
    """Print a link with which accounts can be created."""
    from rookery.commands import admin

    run(admin.create_invite, load_started(), uses, days)


@invite.command("list")
@json_option
def list_invites(as_json: bool) -> None:
    """List the invites that have not expired, without their secrets."""
    from rookery.commands import admin

    run(admin.list_invites, load_started(), as_json)


@invite.command("revoke")
@click.argument("invite_id", metavar="ID")
def revoke_invite(invite_id: str) -> None:
    """Make the link of an invite invalid. Accounts that were created with it stay."""
    from rookery.commands import admin

    run(admin.revoke_invite, load_started(), invite_id)


COMMANDS = (user, invite)
