"""A watch of a server's standard health service, grpc.health.v1, on one connection."""

import math
from collections.abc import Callable

import structlog
import trio

from shared.rpc.client.backoff import Backoff
from shared.rpc.client.connection import ClientConnection
from shared.rpc.protocol import OutgoingCall
from shared.rpc.standard.health_pb2 import HealthCheckRequest, HealthCheckResponse
from shared.rpc.status import RpcError, Status

FIRST_PAUSE = 0.2
"""Seconds: the bound of the random pause before an ended watch is restarted; it doubles with each further one."""

LONGEST_PAUSE = 10.0
"""Seconds: the largest such bound."""

log = structlog.get_logger(__name__)


class HealthWatch:
    """Calls `on_change` with each reported health of a service: None if it serves, else the reason.

    A server without a health service counts as serving. A watch that ends otherwise is restarted after a pause, during
    which the last reported health holds; a server that has reported none does not serve.
    """

    def __init__(
        self,
        connection: ClientConnection,
        service: str,
        prepared: Callable[[OutgoingCall], OutgoingCall],
        on_change: Callable[[str | None], None],
    ) -> None:
        self._connection = connection
        self._service = service
        self._prepared = prepared
        self._on_change = on_change
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._has_reported = False

    async def run(self) -> None:
        """Watch until cancelled, or until the server turns out to have no health service."""
        while True:
            await trio.lowlevel.checkpoint_if_cancelled()
            try:
                await self._watch()
                reason = "it ended the watch"
            except trio.TooSlowError:
                reason = "it does not answer"
            except RpcError as error:
                if error.status is Status.UNIMPLEMENTED:
                    self._on_change(None)
                    return
                reason = str(error)
            except Exception as error:  # supervision point: a fault of a `prepare` function fails the watch alone
                log.error("rpc_health_watch_failed", exc_info=error)
                reason = "it can't be watched"
            if not self._has_reported:
                self._on_change(f"its health is not known: {reason}")
            await trio.sleep(self._backoff.next())

    async def _watch(self) -> None:
        """Watch once, to the end. Raises RpcError, or TooSlowError if the first response is late."""
        call = OutgoingCall("grpc.health.v1.Health", "Watch", HealthCheckResponse, math.inf, ())
        stream = self._connection.start_call(self._prepared(call))
        try:
            with trio.fail_after(self._connection.limits.connect_timeout) as timeout:
                await stream.send(HealthCheckRequest(service=self._service))
                await stream.end()
                while (answer := await stream.receive()) is not None:
                    timeout.deadline = math.inf
                    self._has_reported = True
                    self._backoff.reset()
                    self._on_change(_verdict(answer))
        finally:
            stream.close()


def _verdict(answer: HealthCheckResponse) -> str | None:
    if answer.status == HealthCheckResponse.SERVING:
        return None
    return f"it is {HealthCheckResponse.ServingStatus.Name(answer.status)}"
