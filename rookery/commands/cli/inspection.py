"""Commands that show the state of the platform: its processes, the audit log, and the check of the set-up."""

import sys

import click

from rookery.commands.cli.common import json_option, limit_option, load_started, run


@click.command()
@json_option
def processes(as_json: bool) -> None:
    """List the running processes: readiness, sessions, partitions and lag."""
    from rookery.commands import admin

    run(admin.show_processes, load_started(), as_json)


@click.command()
@limit_option
@json_option
def audit(limit: int, as_json: bool) -> None:
    """Print the newest actions of admins on the page, in the API and in commands, oldest first."""
    from rookery.commands import admin

    run(admin.show_audit, load_started(), limit, as_json)


@click.command()
def doctor() -> None:
    """Check the set-up and print a remedy for each problem."""
    from rookery.commands.doctor import examine

    sys.exit(run(examine))


COMMANDS = (processes, audit, doctor)
