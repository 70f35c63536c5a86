"""`rookery files`: the sweep of files that nobody can need."""

import click

from messaging.archive.sweep import Sweep, number_of_partitions
from rookery.serve.engines import open_accounts, open_chats, open_own_files, platform_of
from shared.settings import Settings


async def sweep(settings: Settings) -> None:
    """Sweep all files now, and print the numbers. Rookery may be running, or not."""
    configured = settings.kafka.partitions if "kafka" in settings.engines else settings.log.partitions
    async with open_chats(settings) as chats, open_accounts(settings) as accounts, open_own_files(settings) as files:
        partitions = await number_of_partitions(chats, configured)
        swept = await Sweep(chats, accounts, files, partitions, platform_of(settings)).run()
    click.echo(f"{swept.forgotten} files deleted, which no message uses")
    click.echo(f"{swept.condemned - swept.revived} more can't be sent any more, and are deleted by a later sweep")
    click.echo(f"{swept.avatars} squares of pictures deleted, which no user and no group has")
    click.echo(f"{swept.bytes} keys and {swept.uploads} uploads without a file deleted")
