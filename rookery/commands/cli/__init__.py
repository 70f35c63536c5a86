"""The command `rookery`: declares every command with its options.

A command imports its work when it runs, so that `rookery --help` and `rookery --version` load no part of the platform.
"""

import click

from rookery.commands.cli import accounts, clients, data, inspection, live_configuration, serving, signing_keys
from rookery.commands.errors import CommandGroup


@click.group(cls=CommandGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rookery", message="%(prog)s %(version)s")
def main() -> None:
    """Rookery: a self-hosted chat platform for teams.

    Settings are read from environment variables (such as ROOKERY_DATA, the data folder), then from rookery.toml; the
    rest are defaults.
    """


for group in (serving, data, signing_keys, accounts, inspection, live_configuration, clients):
    for command in group.COMMANDS:
        main.add_command(command)
