from collections.abc import Awaitable, Callable
from typing import Any

import purerpc

from rookery.v1.group_service_pb2 import *

class GroupServiceServicer(purerpc.Servicer):
    async def ChangeGroup(self, request: ChangeGroupRequest, /) -> Any: ...
    @property
    def service(self) -> purerpc.Service: ...

class GroupServiceStub:
    def __init__(self, channel: Any) -> None: ...
    ChangeGroup: Callable[[ChangeGroupRequest], Awaitable[ChangeGroupResponse]]
