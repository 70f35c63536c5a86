from collections.abc import Awaitable, Callable
from typing import Any

import purerpc

from shared.rpc.standard.reflection_v1alpha_pb2 import *

class ServerReflectionServicer(purerpc.Servicer):
    def ServerReflectionInfo(self, stream: Any, /) -> Any: ...
    @property
    def service(self) -> purerpc.Service: ...

class ServerReflectionStub:
    def __init__(self, channel: Any) -> None: ...
    ServerReflectionInfo: Callable[..., Any]
