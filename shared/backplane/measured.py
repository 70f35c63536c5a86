"""A backplane whose publishing is measured: the log's latency, and its failures."""

import math
from collections.abc import Sequence

import trio

from shared.backplane.protocol import Backplane, Done, Record
from shared.contract.errors import Unavailable
from shared.telemetry.metrics.catalogue import PUBLISH, PUBLISH_FAILURES, PUBLISHED_RECORDS


class MeasuredLog:
    """Wraps a backplane and observes `publish`. For the Trio thread."""

    def __init__(self, backplane: Backplane) -> None:
        self._publish = backplane.publish
        # Attributes, not properties: the hot path reads them several times for each message.
        self.partitions = backplane.partitions
        self.destination = backplane.destination
        self.withdraw = backplane.withdraw
        self.consume = backplane.consume
        self.end_offset = backplane.end_offset
        self.offset_at = backplane.offset_at
        self.committed_offset = backplane.committed_offset
        self.dead_letter = backplane.dead_letter
        self.dead_letters = backplane.dead_letters

    def publish(self, records: Sequence[Record], done: Done, *, until: float = math.inf) -> None:
        """Publish, and observe the time until the acknowledgement, in seconds; count the records, or the failure."""
        began = trio.current_time()

        def measured(result: Sequence[int] | Exception) -> None:
            PUBLISH.observe(trio.current_time() - began)
            if isinstance(result, Exception):
                PUBLISH_FAILURES.inc()
            else:
                PUBLISHED_RECORDS.inc(by=len(records))
            done(result)

        try:
            self._publish(records, measured, until=until)
        except Unavailable:
            PUBLISH_FAILURES.inc()
            raise
