"""gRPC's standard health service, which reports the health of the process."""

# The generated base class calls every request `input_message`:
# pyright: reportIncompatibleMethodOverride=false

from collections.abc import Iterable

import trio

from shared.rpc.server.methods import stream_handler
from shared.rpc.standard.health_grpc import HealthServicer
from shared.rpc.standard.health_pb2 import (
    HealthCheckRequest,
    HealthCheckResponse,
    HealthListRequest,
    HealthListResponse,
)
from shared.rpc.status import RpcError, Status
from shared.rpc.streams import ServerStream
from shared.telemetry.health import Health


class HealthService(HealthServicer):
    """`grpc.health.v1`: the server as a whole (the empty name) and each of its services have the process's health."""

    def __init__(self, health: Health, services: Iterable[str]) -> None:
        self._health = health
        self._names = frozenset(["", *services])

    async def Check(self, request: HealthCheckRequest) -> HealthCheckResponse:
        if request.service not in self._names:
            raise RpcError(Status.NOT_FOUND, "there is no such service")
        return _response(await self._health.ready())

    async def List(self, request: HealthListRequest) -> HealthListResponse:
        response = _response(await self._health.ready())
        return HealthListResponse(statuses=dict.fromkeys(self._names, response))

    @stream_handler
    async def Watch(self, stream: ServerStream[HealthCheckRequest, HealthCheckResponse]) -> None:
        request = await stream.receive()
        if request is None:
            raise RpcError(Status.UNIMPLEMENTED, "Watch takes one message")
        if request.service not in self._names:
            await stream.send(HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN))
            await trio.sleep_forever()  # the standard does not end it: the service may be added later
        ready = await self._health.ready()
        while True:
            await stream.send(_response(ready))
            ready = await self._health.wait_for_change(ready)


def _response(ready: bool) -> HealthCheckResponse:
    return HealthCheckResponse(status=HealthCheckResponse.SERVING if ready else HealthCheckResponse.NOT_SERVING)
