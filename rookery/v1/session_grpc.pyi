from collections.abc import Awaitable, Callable
from typing import Any

import purerpc

from rookery.v1.session_pb2 import *

class SessionServiceServicer(purerpc.Servicer):
    def Connect(self, stream: Any, /) -> Any: ...
    @property
    def service(self) -> purerpc.Service: ...

class SessionServiceStub:
    def __init__(self, channel: Any) -> None: ...
    Connect: Callable[..., Any]
