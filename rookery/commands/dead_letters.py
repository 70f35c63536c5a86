"""`rookery dead-letters`: print the records that a consumer group could not process."""

import base64
import json

import click

from rookery.serve.engines import open_backplane
from shared.settings import Settings


async def show(settings: Settings, limit: int) -> None:
    """Print the newest `limit`, oldest first, one JSON object per line: position, time, group, reason, traceparent
    ("" if not traced) and the value in base64.

    One process at a time can open the embedded log, so Rookery must not be running on it.
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
                        "traceparent": record.traceparent,
                        "value": base64.b64encode(record.value).decode(),
                    }
                )
            )
