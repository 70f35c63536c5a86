"""Counters of the servers, read from their `/metrics`."""

from collections.abc import Sequence
from pathlib import Path

import httpx

from rookery.client.errors import reason_of
from rookery.client.trust import client_tls
from rookery.load.sessions import LoadError

RECORDS = "rookery_published_records_total"
WRITES = 'rookery_store_seconds_count{operation="record",store="chats"}'
"""Each writes the events that the archive has read since the one before."""
ROSTERS = "rookery_roster_bytes"


async def read_counters(urls: Sequence[str], ca_file: Path | None) -> dict[str, float]:
    """Return the values of the counters above, added up over the servers. Raises LoadError."""
    totals: dict[str, float] = {RECORDS: 0, WRITES: 0, ROSTERS: 0}
    async with httpx.AsyncClient(verify=client_tls(ca_file, "http/1.1"), timeout=30) as http:
        for url in urls:
            try:
                text = (await http.get(url)).raise_for_status().text
            except httpx.HTTPError as error:
                raise LoadError(f"{url} returns no metrics: {reason_of(error)}") from error
            for line in text.splitlines():
                name, _, value = line.rpartition(" ")
                if name in totals:
                    totals[name] += float(value)
    return totals
