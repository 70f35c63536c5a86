from collections.abc import Awaitable, Callable
from typing import Any

import purerpc

from rookery.v1.archive_pb2 import *

class ArchiveServiceServicer(purerpc.Servicer):
    async def ListChats(self, request: ListChatsRequest, /) -> Any: ...
    async def GetChat(self, request: GetChatRequest, /) -> Any: ...
    async def ListMessages(self, request: ListMessagesRequest, /) -> Any: ...
    async def GetMessage(self, request: GetMessageRequest, /) -> Any: ...
    @property
    def service(self) -> purerpc.Service: ...

class ArchiveServiceStub:
    def __init__(self, channel: Any) -> None: ...
    ListChats: Callable[[ListChatsRequest], Awaitable[ListChatsResponse]]
    GetChat: Callable[[GetChatRequest], Awaitable[GetChatResponse]]
    ListMessages: Callable[[ListMessagesRequest], Awaitable[ListMessagesResponse]]
    GetMessage: Callable[[GetMessageRequest], Awaitable[GetMessageResponse]]
