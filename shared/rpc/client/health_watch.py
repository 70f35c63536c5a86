"""What a server says of itself: a watch of the standard health service, grpc.health.v1, on one connection."""

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
"""Seconds: a watch that has ended is begun again at random within this time, then within twice the time."""

LONGEST_PAUSE = 10.0
"""Seconds that it grows to."""

log = structlog.get_logger(__name__)


class HealthWatch:
    """Tells what the server says of a service, each time it says something: None if it serves, else why not.

    A server without a health service serves. A watch that ends otherwise is begun again after a pause; until then, what
    was said last holds, but a server that has said nothing does not serve.
    """

    def __init__(
        self,
        connection: ClientConnection,
        service: str,
        prepared: Callable[[OutgoingCall], OutgoingCall],
        heard: Callable[[str | None], None],
    ) -> None:
        self._connection = connection
        self._service = service
        self._prepared = prepared
        self._heard = heard
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._has_spoken = False

    async def run(self) -> None:
        """Watch until cancelled, or until it is known that there is no health service."""
        while True:
            await trio.lowlevel.checkpoint_if_cancelled()
            try:
                await self._watch()
                reason = "it ended the watch"
            except trio.TooSlowError:
                reason = "it does not answer"
            except RpcError as error:
                if error.status is Status.UNIMPLEMENTED:
                    self._heard(None)
                    return
                reason = str(error)
            except (
                Exception
            ) as error:  # supervision: a function that prepares calls may raise anything, and the watch must go on
                log.error("rpc_health_watch_failed", exc_info=error)
                reason = "it can't be asked"
            if not self._has_spoken:
                self._heard(f"its health is not known: {reason}")
            await trio.sleep(self._backoff.next())

    async def _watch(self) -> None:
        """One watch, to its end. Raises TooSlowError if the first answer is not there in time, or RpcError."""
        call = OutgoingCall("grpc.health.v1.Health", "Watch", HealthCheckResponse, math.inf, ())
        stream = self._connection.start_call(self._prepared(call))
        try:
            with trio.fail_after(self._connection.limits.connect_timeout) as patience:
                await stream.send(HealthCheckRequest(service=self._service))
                await stream.end()
                while (answer := await stream.receive()) is not None:
                    patience.deadline = math.inf
                    self._has_spoken = True
                    self._backoff.reset()
                    self._heard(_verdict(answer))
        finally:
            stream.close()


def _verdict(answer: HealthCheckResponse) -> str | None:
    if answer.status == HealthCheckResponse.SERVING:
        return None
    return f"it is {HealthCheckResponse.ServingStatus.Name(answer.status)}"
