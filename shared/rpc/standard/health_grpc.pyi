from collections.abc import Awaitable, Callable
from typing import Any

import purerpc

from shared.rpc.standard.health_pb2 import *

class HealthServicer(purerpc.Servicer):
    async def Check(self, request: HealthCheckRequest, /) -> Any: ...
    async def List(self, request: HealthListRequest, /) -> Any: ...
    def Watch(self, stream: Any, /) -> Any: ...
    @property
    def service(self) -> purerpc.Service: ...

class HealthStub:
    def __init__(self, channel: Any) -> None: ...
    Check: Callable[[HealthCheckRequest], Awaitable[HealthCheckResponse]]
    List: Callable[[HealthListRequest], Awaitable[HealthListResponse]]
    Watch: Callable[..., Any]
