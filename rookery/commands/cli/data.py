"""Commands on stored data: backups of the data folder, dead letters, and files."""

from functools import partial
from pathlib import Path

import click

from rookery.commands.cli.common import load_settings, load_started, run


@click.command("dead-letters")
@click.option("--limit", type=click.IntRange(1, 10_000), default=20, show_default=True)
def dead_letters(limit: int) -> None:
    """Print the newest dead letters (log records that could not be processed), one line of JSON each."""
    from rookery.commands.dead_letters import show

    run(show, load_started(), limit)


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--without-files", is_flag=True, help="Copy the databases only: you copy the folder `files` afterwards.")
def backup(folder: Path, without_files: bool) -> None:
    """Copy the data folder to the new folder FOLDER. Rookery may be running."""
    from rookery.commands.backup import back_up

    for line in run(partial(back_up, with_files=not without_files), load_started(), folder):
        click.echo(line)


@click.command("restore")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
def restore_backup(folder: Path) -> None:
    """Copy the backup in FOLDER to the data folder, which must be empty or missing. Rookery must be stopped."""
    from rookery.commands.backup import restore

    for line in run(restore, load_settings(), folder):
        click.echo(line)


@click.group()
def files() -> None:
    """Manage the files that users have uploaded."""


@files.command("sweep")
def sweep_files() -> None:
    """Delete unneeded data: uploads that have ended, files that no message uses, and bytes without a file.

    The archive sweeps a part of all files every hour; this command sweeps all of them now. A file is deleted in two
    sweeps, an hour or more apart, between which Rookery must run.
    """
    from rookery.commands.files import sweep

    run(sweep, load_started())


COMMANDS = (dead_letters, backup, restore_backup, files)
