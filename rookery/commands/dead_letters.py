"""`rookery dead-letters`: shows the records that could not be used and were set aside."""

import base64
import json

import click

from rookery.serve.engines import open_backplane
from shared.settings import Settings


async def show(settings: Settings, limit: int) -> None:
    """Print the newest, oldest first: coordinates, who could not use it, why, and its bytes in base64.

    The embedded log is open in one process at a time, so that Rookery must not be running on it.
    """
    async with open_backplane(settings) as backplane:
        for letter in await backplane.dead_letters(limit):
            record = letter.record
            click.echo(
                json.dumps(
                    {
                        "partition": record.partition,
                        "offset": record.offset,
                        "at_ms": record.at_ms,
                        "group": letter.group,
                        "reason": letter.reason,
                        "value": base64.b64encode(record.value).decode(),
                    }
                )
            )
